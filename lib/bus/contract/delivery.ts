import { expect, test } from 'vitest';
import { partitionOf } from '#lib/kernel/partition.ts';
import { message, receive, type Scene, textOf } from './scene.ts';

/** What a subscription sees of what was published. */
export function deliveryRules(scene: () => Scene): void {
  test('a message arrives with the key, headers and bytes it was published with, empty and non-ASCII ones included', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 1);
    const every = Uint8Array.from({ length: 256 }, (_, i) => i);
    const headers = { ce_id: '1', empty: '', clé: 'Zug № 9 🚂 "quoted" \\ \n \u0001' };
    await bus.publish([
      { topic, key: 'naïve 🔑', headers, value: every },
      { topic, key: '', headers: {}, value: new Uint8Array() },
    ]);
    const subscription = await scene().subscribe(bus, [topic]);
    const [first, second] = await receive(subscription, 2);
    expect(first).toMatchObject({ topic, partition: 0, key: 'naïve 🔑', headers });
    expect(Buffer.from(first?.value ?? []).equals(every)).toBe(true);
    expect(second).toMatchObject({ key: '', headers: {} });
    expect(second?.value.length).toBe(0);
  });

  test('an explicit partition overrides that of the key', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 3);
    await bus.publish([0, 1, 2].map((p) => message(topic, 'same key', `${p}`, p)));
    const received = await receive(await scene().subscribe(bus, [topic]), 3);
    for (const m of received) expect(textOf(m)).toBe(`${m.partition}`);
  });

  test('a batch of 1,000 messages over three topics arrives whole', async () => {
    const bus = await scene().connect();
    const topics = [await scene().topic(bus, 1), await scene().topic(bus, 4), await scene().topic(bus, 7)];
    await bus.publish(Array.from({ length: 1_000 }, (_, i) => message(topics[i % 3] ?? '', `${i}`, `${i}`)));
    const received = await receive(await scene().subscribe(bus, topics), 1_000, 300);
    expect(new Set(received.map(textOf)).size).toBe(1_000);
  });
}

/** BUS-2: order per partition, thus per key. */
export function orderRules(scene: () => Scene): void {
  test('BUS-2: a key always has the same partition, the one of Kafka, and messages of a key keep their order', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 4);
    const keys = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (let round = 0; round < 3; round++)
      await bus.publish([0, 1].flatMap((half) => keys.map((key) => message(topic, key, `${round * 2 + half}`))));
    const received = await receive(await scene().subscribe(bus, [topic]), 36, 7);
    for (const key of keys) {
      const own = received.filter((m) => m.key === key);
      expect(own.map(textOf)).toEqual(['0', '1', '2', '3', '4', '5']);
      expect(new Set(own.map((m) => m.partition))).toEqual(new Set([partitionOf(key, 4)]));
    }
  });

  test('offsets of a partition grow with its order', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await bus.publish(Array.from({ length: 50 }, (_, i) => message(topic, `${i}`, `${i}`)));
    const received = await receive(await scene().subscribe(bus, [topic]), 50, 9);
    for (const partition of [0, 1]) {
      const offsets = received.filter((m) => m.partition === partition).map((m) => m.offset);
      expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
    }
  });

  test('four producers at once keep the order of each key', async () => {
    const topic = await scene().topic(await scene().connect(), 3);
    const produce = async (name: string): Promise<void> => {
      const bus = await scene().connect();
      for (let i = 0; i < 20; i++)
        await bus.publish(Array.from({ length: 5 }, (_, j) => message(topic, `${name}${j % 2}`, `${i * 5 + j}`)));
    };
    const reader = await scene().subscribe(await scene().connect(), [topic]);
    const [received] = await Promise.all([receive(reader, 400, 50), ...['p', 'q', 'r', 's'].map(produce)]);
    for (const key of new Set(received.map((m) => m.key))) {
      const values = received.filter((m) => m.key === key).map((m) => Number(textOf(m)));
      expect(values).toEqual([...values].sort((a, b) => a - b));
    }
  });
}
