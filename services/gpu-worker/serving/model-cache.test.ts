import { expect, it } from 'vitest';
import { ModelCache } from './model-cache.ts';

it('keeps what was used last, never more than its size, and releases the rest', async () => {
  const log: string[] = [];
  const cache = new ModelCache(2, async (key) => {
    log.push(`+${key}`);
    return {
      release: async () => {
        log.push(`-${key}`);
      },
    };
  });
  for (const key of ['a', 'b', 'a', 'c', 'a', 'b']) await cache.get(key);
  expect(log).toEqual(['+a', '+b', '-b', '+c', '-c', '+b']);
});

it('what could not be made is tried again', async () => {
  let tries = 0;
  const cache = new ModelCache(1, async () => {
    if (++tries === 1) throw new Error('no');
    return { release: async () => undefined };
  });
  await expect(cache.get('a')).rejects.toThrow('no');
  await cache.get('a');
  expect(tries).toBe(2);
});
