import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { ObservationBuffer } from './observation-buffer.ts';

const message = (n: number): OutgoingMessage => ({ topic: 't', key: String(n), headers: {}, value: new Uint8Array() });
const keys = (messages: readonly OutgoingMessage[]): number[] => messages.map(({ key }) => Number(key));

describe('an observation buffer', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('publishes in the background, in order, in batches of bounded size', async () => {
    const published: number[][] = [];
    const buffer = new ObservationBuffer(
      { publish: async (messages) => void published.push(keys(messages)) },
      { onDropped: () => expect.unreachable() },
    );
    for (let i = 0; i < 1_200; i++) buffer.add(message(i));
    expect(published).toEqual([]);
    await vi.advanceTimersByTimeAsync(250);
    expect(published.map(({ length }) => length)).toEqual([500, 500, 200]);
    expect(published.flat()).toEqual(Array.from({ length: 1_200 }, (_, i) => i));
    expect(buffer.size).toBe(0);
  });

  it('is bounded while the bus is away, counts what it drops, and publishes the rest when it is back', async () => {
    const published: number[] = [];
    let [away, dropped] = [true, 0];
    const buffer = new ObservationBuffer(
      {
        publish: async (messages) => {
          if (away) throw new Error('away');
          published.push(...keys(messages));
        },
      },
      { onDropped: (count) => (dropped += count), maxBuffered: 10 },
    );
    for (let i = 0; i < 15; i++) buffer.add(message(i));
    await vi.advanceTimersByTimeAsync(5_000);
    expect([buffer.size, dropped, published.length]).toEqual([10, 5, 0]);
    away = false;
    await vi.advanceTimersByTimeAsync(1_500);
    expect(published).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('publishes what is left when it closes, and counts what the bus does not take then', async () => {
    const published: number[] = [];
    let dropped = 0;
    const onDropped = (count: number): void => void (dropped += count);
    const good = new ObservationBuffer(
      { publish: async (messages) => void published.push(...keys(messages)) },
      { onDropped },
    );
    good.add(message(1));
    await good.close();
    good.add(message(2));
    expect([published, dropped]).toEqual([[1], 1]);
    const bad = new ObservationBuffer({ publish: () => Promise.reject(new Error('away')) }, { onDropped });
    bad.add(message(3));
    await bad.close();
    expect(dropped).toBe(2);
  });
});
