import { describe, expect, it } from 'vitest';
import { expiredEntries } from './workspace-retention.ts';

describe('expiredEntries', () => {
  it('names what did not change for longer than the retention, and nothing at its very edge', () => {
    const entries = [
      { path: 'old', changedAtMs: 0 },
      { path: 'edge', changedAtMs: 100 },
      { path: 'young', changedAtMs: 900 },
    ];
    expect(expiredEntries(entries, 900, 1_000)).toEqual(['old']);
  });
});
