import { expect, test } from 'vitest';
import type { ReceivedMessage } from '../port.ts';
import { after, message, receive, type Scene, settle, textOf } from './scene.ts';

const numbered = (topic: string, count: number, partition?: number) =>
  Array.from({ length: count }, (_, i) => message(topic, `k${i}`, `${i}`, partition));

/** Where a group begins and what comes again. */
export function positionRules(scene: () => Scene): void {
  test('a new group begins at the beginning or at the end, as it asks; one with a position goes on there', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 1);
    await bus.publish(numbered(topic, 3));
    const late = await scene().subscribe(bus, [topic], { from: 'end', groupId: `${scene().groupId}-end` });
    await settle([late], 1);
    await bus.publish([message(topic, 'k', 'new')]);
    const [first] = await receive(late, 1);
    expect(textOf(first as ReceivedMessage)).toBe('new');
    const early = await scene().subscribe(bus, [topic]);
    expect(await receive(early, 4)).toHaveLength(4);
    await late.commit([after(first as ReceivedMessage)]);
    await late.close();
    await bus.publish([message(topic, 'k', 'newer')]);
    const again = await scene().subscribe(bus, [topic], { from: 'end', groupId: `${scene().groupId}-end` });
    expect((await receive(again, 1)).map(textOf)).toEqual(['newer']);
  });

  test('two groups read the same topic independently', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    const groups = ['x', 'y'].map((name) => `${scene().groupId}-${name}`);
    const [x, y] = await Promise.all(groups.map((groupId) => scene().subscribe(bus, [topic], { groupId })));
    await bus.publish(numbered(topic, 20));
    const both = await Promise.all([x, y].map(async (member) => (member === undefined ? [] : receive(member, 20))));
    expect(both.map((messages) => messages.length)).toEqual([20, 20]);
  });

  test('BUS-1, BUS-4: after a restart everything above the committed position comes again, nothing below it', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await bus.publish([...numbered(topic, 10, 0), ...numbered(topic, 10, 1)]);
    const before = await scene().subscribe(bus, [topic]);
    await receive(before, 20);
    await before.commit([{ topic, partition: 0, nextOffset: 6 }]);
    await before.close();
    const received = await receive(await scene().subscribe(bus, [topic]), 14);
    expect(received.filter((m) => m.partition === 0).map((m) => m.offset)).toEqual([6, 7, 8, 9]);
    expect(received.filter((m) => m.partition === 1)).toHaveLength(10);
  });

  test('rewind goes back to the committed position of every partition', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await bus.publish([...numbered(topic, 5, 0), ...numbered(topic, 5, 1)]);
    const subscription = await scene().subscribe(bus, [topic]);
    await receive(subscription, 10);
    await subscription.commit([{ topic, partition: 1, nextOffset: 3 }]);
    await subscription.rewind();
    const again = await receive(subscription, 7);
    expect(again.filter((m) => m.partition === 0).map((m) => m.offset)).toEqual([0, 1, 2, 3, 4]);
    expect(again.filter((m) => m.partition === 1).map((m) => m.offset)).toEqual([3, 4]);
  });
}

/** Pausing, and what lag tells. */
export function progressRules(scene: () => Scene): void {
  test('a paused partition delivers nothing and loses nothing; the others go on', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    const subscription = await scene().subscribe(bus, [topic]);
    await settle([subscription], 2);
    subscription.pause([{ topic, partition: 0 }]);
    await bus.publish([...numbered(topic, 5, 0), ...numbered(topic, 5, 1)]);
    expect((await receive(subscription, 5)).map((m) => m.partition)).toEqual([1, 1, 1, 1, 1]);
    expect(await subscription.poll({ maxMessages: 10, maxWaitMs: 100 })).toEqual([]);
    expect(subscription.assignment()).toHaveLength(2);
    const waiting = receive(subscription, 5);
    subscription.resume([{ topic, partition: 0 }]);
    expect((await waiting).map((m) => m.offset)).toEqual([0, 1, 2, 3, 4]);
  });

  test('lag tells committed position and end of every partition', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await bus.publish([...numbered(topic, 5, 0), ...numbered(topic, 8, 1)]);
    const subscription = await scene().subscribe(bus, [topic]);
    await receive(subscription, 13);
    await subscription.commit([
      { topic, partition: 0, nextOffset: 5 },
      { topic, partition: 1, nextOffset: 2 },
    ]);
    const { groupId } = scene();
    expect((await bus.lag(groupId)).sort((a, b) => a.partition - b.partition)).toEqual([
      { groupId, topic, partition: 0, nextOffset: 5, endOffset: 5 },
      { groupId, topic, partition: 1, nextOffset: 2, endOffset: 8 },
    ]);
    expect(await bus.lag(`${groupId}-unknown`)).toEqual([]);
  });
}
