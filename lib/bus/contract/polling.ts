import { expect, test } from 'vitest';
import { eventually } from '../../../test/support/eventually.ts';
import { message, receive, type Scene, settle, textOf, WITHIN_MS } from './scene.ts';

/** What is refused, before anything is written. */
export function refusalRules(scene: () => Scene): void {
  test('a message above 1 MiB is refused and nothing of its batch is written; one just below passes', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 1);
    const large = { topic, key: 'k', headers: {}, value: new Uint8Array(1_048_577) };
    await expect(bus.publish([message(topic, 'k', 'small'), large])).rejects.toMatchObject({ code: 'MessageTooLarge' });
    await bus.publish([{ ...large, value: new Uint8Array(1_048_576 - 1_024) }]);
    const [only] = await receive(await scene().subscribe(bus, [topic]), 1);
    expect(only).toMatchObject({ offset: 0 });
    expect(only?.value.length).toBe(1_048_576 - 1_024);
  });

  test('a topic or partition that does not exist is refused', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await expect(bus.publish([message(`${topic}-absent`, 'k', 'v')])).rejects.toMatchObject({ code: 'NotFound' });
    await expect(scene().subscribe(bus, [`${topic}-absent`])).rejects.toMatchObject({ code: 'NotFound' });
    await expect(bus.publish([message(topic, 'k', 'v', 2)])).rejects.toMatchObject({ code: 'ValidationFailed' });
  });

  test('creating topics is idempotent, also in parallel, and another partition count is refused', async () => {
    const [one, two] = [await scene().connect(), await scene().connect()];
    const topic = await scene().topic(one, 2);
    const specs = [topic, `${topic}-b`, `${topic}-c`].map((t) => ({ topic: t, partitions: 2, retentionMs: 60_000 }));
    await Promise.all([one.ensureTopics(specs), two.ensureTopics([...specs].reverse()), one.ensureTopics(specs)]);
    await expect(one.ensureTopics([{ topic, partitions: 3, retentionMs: 60_000 }])).rejects.toMatchObject({
      code: 'StateConflict',
    });
    await expect(one.check()).resolves.toBeUndefined();
  });
}

/** How much a poll returns, and when. */
export function pollingRules(scene: () => Scene): void {
  test('a poll returns at most maxMessages, and no message twice', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 3);
    await bus.publish(Array.from({ length: 40 }, (_, i) => message(topic, `${i}`, `${i}`)));
    const subscription = await scene().subscribe(bus, [topic]);
    const seen: string[] = [];
    await eventually(
      async () => {
        const batch = await subscription.poll({ maxMessages: 7, maxWaitMs: 200 });
        expect(batch.length).toBeLessThanOrEqual(7);
        seen.push(...batch.map(textOf));
        return seen.length >= 40;
      },
      { withinMs: WITHIN_MS, everyMs: 0 },
    );
    expect(new Set(seen).size).toBe(40);
    expect(await subscription.poll({ maxMessages: 7, maxWaitMs: 0 })).toEqual([]);
  });

  test('a large backlog in one partition does not keep back the others', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    await bus.publish([
      ...Array.from({ length: 2_000 }, (_, i) => message(topic, 'k', `${i}`, 0)),
      message(topic, 'k', 'other', 1),
    ]);
    const subscription = await scene().subscribe(bus, [topic]);
    await settle([subscription], 2);
    await subscription.rewind();
    const early = await receive(subscription, 600, 100);
    expect(early.map(textOf)).toContain('other');
  });

  test('a waiting poll gets a new message within 500 ms, waits no longer than told, and ends at once on wake', async () => {
    const bus = await scene().connect();
    const topic = await scene().topic(bus, 2);
    const subscription = await scene().subscribe(bus, [topic], { from: 'end' });
    await settle([subscription], 2);
    const began = performance.now();
    expect(await subscription.poll({ maxMessages: 10, maxWaitMs: 150 })).toEqual([]);
    expect(performance.now() - began).toBeGreaterThanOrEqual(140);
    expect(performance.now() - began).toBeLessThan(1_500);

    const waiting = subscription.poll({ maxMessages: 10, maxWaitMs: 15_000 });
    await (await scene().connect()).publish([message(topic, 'k', 'news')]);
    const published = performance.now();
    expect((await waiting).map(textOf)).toEqual(['news']);
    expect(performance.now() - published).toBeLessThan(500);

    const woken = subscription.poll({ maxMessages: 10, maxWaitMs: 15_000 });
    subscription.wake();
    const wokenAt = performance.now();
    expect(await woken).toEqual([]);
    expect(performance.now() - wokenAt).toBeLessThan(1_000);
  });
}
