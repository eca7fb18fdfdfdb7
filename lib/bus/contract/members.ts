import { expect, test } from 'vitest';
import { eventually } from '../../../test/support/eventually.ts';
import { PartitionLostError, type ReceivedMessage, type TopicPartition } from '../port.ts';
import { after, message, receive, type Scene, settle, textOf, WITHIN_MS } from './scene.ts';

const numbered = (topic: string, count: number, partition?: number) =>
  Array.from({ length: count }, (_, i) => message(topic, `k${i}`, `${i}`, partition));

/** Who has which partition. */
export function sharingRules(scene: () => Scene): void {
  test('BUS-3, BUS-5: members share the partitions, and a partition number is with one member for all topics', async () => {
    const bus = await scene().connect();
    const topics = [await scene().topic(bus, 4), await scene().topic(bus, 4)];
    const members = [await scene().subscribe(bus, topics), await scene().subscribe(await scene().connect(), topics)];
    await settle(members, 8);
    for (const member of members) {
      const numbersOf = (topic: string | undefined): number[] =>
        member
          .assignment()
          .filter((p) => p.topic === topic)
          .map((p) => p.partition)
          .sort((a, b) => a - b);
      expect(numbersOf(topics[0])).toEqual(numbersOf(topics[1]));
      expect(numbersOf(topics[0])).toHaveLength(2);
    }
  });

  test('a rebalance is told before the first message of a new partition, and awaited', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await bus.publish(numbered(topic, 10));
    const told: string[] = [];
    const onRebalance = async (change: { assigned: readonly TopicPartition[] }): Promise<void> => {
      await new Promise((resolve) => setImmediate(resolve));
      told.push(...change.assigned.map((p) => `${p.topic}/${p.partition}`));
    };
    const subscription = await scene().subscribe(bus, [topic], { onRebalance });
    await eventually(
      async () => {
        const batch = await subscription.poll({ maxMessages: 10, maxWaitMs: 200 });
        for (const m of batch) expect(told).toContain(`${m.topic}/${m.partition}`);
        return batch.length > 0;
      },
      { withinMs: WITHIN_MS, everyMs: 0 },
    );
  });

  test('a member that closes hands over at once, and closing again changes nothing', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 4);
    const [stays, leaves] = [await scene().subscribe(bus, [topic]), await scene().subscribe(bus, [topic])];
    await settle([stays, leaves], 4);
    const began = performance.now();
    await leaves.close();
    await leaves.close();
    expect(await leaves.poll({ maxMessages: 1, maxWaitMs: 0 })).toEqual([]);
    await settle([stays], 4);
    // Far less than the session timeout of 6 s; Kafka needs 1.2 s (facts/kafka-and-registry.md).
    expect(performance.now() - began).toBeLessThan(3_000);
  });
}

/** Partitions that move while somebody works on them. */
export function handoverRules(scene: () => Scene): void {
  test('a member that joins while 100 messages are in flight loses nothing', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 4);
    await bus.publish(numbered(topic, 100));
    const first = await scene().subscribe(bus, [topic]);
    const inFlight = await receive(first, 100);
    const second = await scene().subscribe(await scene().connect(), [topic]);
    const processed = new Set<string>();
    const work = async (member: typeof first, batch: readonly ReceivedMessage[]): Promise<void> => {
      for (const m of batch)
        await member.commit([after(m)]).then(
          () => processed.add(textOf(m)),
          (error: unknown) => {
            if (!(error instanceof PartitionLostError)) throw error;
          },
        );
    };
    await settle([first, second], 4);
    await second.rewind();
    await work(first, inFlight);
    await eventually(
      async () => {
        for (const member of [first, second]) await work(member, await member.poll({ maxMessages: 50, maxWaitMs: 50 }));
        if (processed.size < 100) throw new Error(`${processed.size} of 100 processed`);
      },
      { withinMs: WITHIN_MS, everyMs: 0 },
    );
    const lag = await bus.lag(scene().groupId);
    expect(lag.map((row) => row.endOffset - row.nextOffset)).toEqual([0, 0, 0, 0]);
  });

  test('BUS-3: a commit for a partition that moved to another member is refused and stores nothing', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await bus.publish([...numbered(topic, 5, 0), ...numbered(topic, 5, 1)]);
    const first = await scene().subscribe(bus, [topic]);
    await receive(first, 10);
    const second = await scene().subscribe(await scene().connect(), [topic]);
    await settle([first, second], 2);
    const moved = second.assignment().map((p) => ({ ...p, nextOffset: 5 }));
    const kept = first.assignment().map((p) => ({ ...p, nextOffset: 4 }));
    await expect(first.commit(moved)).rejects.toBeInstanceOf(PartitionLostError);
    await expect(first.commit([...moved, ...kept])).rejects.toMatchObject({ partitions: second.assignment() });
    expect((await bus.lag(scene().groupId)).map((row) => row.nextOffset)).toEqual([0, 0]);
    await first.commit(kept);
    expect((await bus.lag(scene().groupId)).map((row) => row.nextOffset).sort((a, b) => a - b)).toEqual([0, 4]);
  });

  test('after a refused commit the next poll begins at the committed positions, so that nothing of the batch is skipped', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await bus.publish([...numbered(topic, 5, 0), ...numbered(topic, 5, 1)]);
    const first = await scene().subscribe(bus, [topic]);
    const batch = await receive(first, 10);
    const second = await scene().subscribe(await scene().connect(), [topic]);
    await settle([first, second], 2);
    await expect(first.commit(batch.map(after))).rejects.toBeInstanceOf(PartitionLostError);
    expect((await receive(first, 5)).map((m) => m.offset)).toEqual([0, 1, 2, 3, 4]);
  });
}
