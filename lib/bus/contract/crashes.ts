import { expect, test } from 'vitest';
import { message, receive, type Scene, settle, textOf } from './scene.ts';

/** Members that die or freeze without a word: real processes, real signals. */
export function crashRules(scene: () => Scene): void {
  test('BUS-6: the partitions of a killed member, with all it did not commit, go to the others after its session', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await bus.publish(Array.from({ length: 20 }, (_, i) => message(topic, `k${i}`, `${i}`)));
    const victim = scene().spawnMember([topic]);
    await victim.received(20);
    victim.kill();
    const heir = await scene().subscribe(bus, [topic], { sessionTimeoutMs: scene().shortSessionMs * 2 });
    const received = await receive(heir, 20);
    expect(new Set(received.map(textOf)).size).toBe(20);
  });

  test('BUS-3, BUS-6: a frozen member loses its partitions; when it wakes its commit is refused and it joins again', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await bus.publish(Array.from({ length: 20 }, (_, i) => message(topic, `k${i}`, `${i}`)));
    const frozen = scene().spawnMember([topic]);
    const positions = await frozen.received(20);
    frozen.freeze();
    const heir = await scene().subscribe(bus, [topic], { sessionTimeoutMs: scene().shortSessionMs * 2 });
    await receive(heir, 20);
    await settle([heir], 2);
    const ends = (await bus.lag(scene().groupId)).map((row) => ({ topic, partition: row.partition, nextOffset: 1 }));
    await heir.commit(ends);
    frozen.thaw();
    expect(await frozen.commit(positions)).toBe('lost');
    expect((await bus.lag(scene().groupId)).map((row) => row.nextOffset)).toEqual([1, 1]);
    await frozen.assigned(2);
    await settle([heir], 1);
  });
}
