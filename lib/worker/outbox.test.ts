import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { EventOutbox } from './outbox.ts';

const message = (key: string): OutgoingMessage => ({ topic: 't', key, headers: {}, value: new Uint8Array() });

/** A bus that takes a batch whole or not at all, as the real one does; `outcomes` says how each publish goes. */
function fakeBus(outcomes: readonly ('ok' | 'down')[] = []) {
  const published: string[] = [];
  let calls = 0;
  const publish = async (batch: readonly OutgoingMessage[]): Promise<void> => {
    await Promise.resolve();
    if (outcomes[calls++] === 'down') throw new TrainyardError('ServiceUnavailable', 'down');
    if (batch.some((m) => m.key === 'huge')) throw new TrainyardError('MessageTooLarge', 'huge');
    published.push(...batch.map((m) => m.key));
  };
  return { published, publish, calls: () => calls };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('the outbox', () => {
  it('publishes what is added in one turn as one batch, in order', async () => {
    const bus = fakeBus();
    const outbox = new EventOutbox(bus, () => undefined);
    for (const key of ['a', 'b', 'c']) outbox.add(message(key));
    await vi.runAllTimersAsync();
    expect(bus.published).toEqual(['a', 'b', 'c']);
    expect(bus.calls()).toBe(1);
  });

  it('loses nothing and keeps the order, however often the bus is away', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('ok' as const, 'down' as const), { maxLength: 15 }),
        fc.array(fc.nat(3), { maxLength: 20 }),
        async (outcomes, pauses) => {
          const bus = fakeBus(outcomes);
          const outbox = new EventOutbox(bus, () => undefined);
          for (const [i, pause] of pauses.entries()) {
            outbox.add(message(String(i)));
            await vi.advanceTimersByTimeAsync(pause * 100);
          }
          await vi.runAllTimersAsync();
          expect(bus.published).toEqual(pauses.map((_, i) => String(i)));
        },
      ),
      { numRuns: 50 },
    );
  });

  it('drops a message that the bus will never take, says so, and publishes the others in order', async () => {
    const bus = fakeBus();
    const trouble: unknown[] = [];
    const outbox = new EventOutbox(bus, (error) => trouble.push(error));
    for (const key of ['a', 'huge', 'b', 'huge', 'c']) outbox.add(message(key));
    await vi.runAllTimersAsync();
    outbox.add(message('d'));
    await vi.runAllTimersAsync();
    expect(bus.published).toEqual(['a', 'b', 'c', 'd']);
    expect(trouble.at(-1)).toMatchObject({ code: 'MessageTooLarge' });
  });

  it('flush resolves when everything is published', async () => {
    const bus = fakeBus(['down', 'down']);
    const outbox = new EventOutbox(bus, () => undefined);
    outbox.add(message('a'));
    const flushed = outbox.flush(10_000);
    await vi.advanceTimersByTimeAsync(1_000);
    await flushed;
    expect(bus.published).toEqual(['a']);
  });

  it('flush gives up after its bound when the bus stays away', async () => {
    const bus = fakeBus(Array.from({ length: 1_000 }, () => 'down' as const));
    const outbox = new EventOutbox(bus, () => undefined);
    outbox.add(message('a'));
    const flushed = outbox.flush(1_000);
    await vi.advanceTimersByTimeAsync(1_001);
    await flushed;
    await vi.runAllTimersAsync();
    const calls = bus.calls();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(bus.calls()).toBe(calls);
  });
});
