import { expect, it } from 'vitest';
import { eventually } from '../../../test/support/eventually.ts';
import { PartitionLostError, type Position } from '../port.ts';
import { PositionCommitter } from './position-committer.ts';

const at = (nextOffset: number, partition = 0): Position => ({ topic: 'topic', partition, nextOffset });

it('a batch without positions, as of a lease that ran out, does not end the storing of later ones', async () => {
  const stored: number[] = [];
  const committer = new PositionCommitter(async (positions) => void stored.push(...positions.map((p) => p.nextOffset)));
  committer.add([]);
  committer.add([at(7)]);
  await eventually(() => expect(stored).toEqual([7]));
  committer.add([]);
  await eventually(() => {
    committer.add([at(8)]);
    expect(stored).toContain(8);
  });
  await committer.close();
});

it('a position that cannot be stored is tried again, unless a newer one took its place or its partition is lost', async () => {
  const asked: Position[][] = [];
  const committer = new PositionCommitter(async (positions) => {
    asked.push([...positions]);
    if (asked.length === 1) throw new Error('the broker is away');
    if (asked.length === 2) throw new PartitionLostError([at(0, 1)]);
  });
  committer.add([at(1), at(5, 1)]);
  await eventually(() => expect(asked).toHaveLength(1));
  committer.add([at(2)]);
  await eventually(() => expect(asked).toHaveLength(3), { withinMs: 5_000 });
  expect(asked).toEqual([[at(1), at(5, 1)], [at(2), at(5, 1)], [at(2)]]);
  await committer.close();
});
