import { describe, expect, it } from 'vitest';
import { consoleLine } from './console-lines.ts';

const now = new Date('2026-11-24T03:00:00Z');

describe('the console of the supervisor', () => {
  it('shows a crash in one line: who, how, after which time, and when it is back', () => {
    const exit = { code: null, signal: 'SIGKILL' } as const;
    const event = {
      type: 'process_crashed',
      name: 'gpu-worker',
      pid: 7,
      exit,
      afterMs: 12_345,
      restartInMs: 250,
    } as const;
    expect(consoleLine(event, now)).toBe(
      '  gpu-worker     ended by SIGKILL after 12.3 s at 2026-11-24T03:00:00.000Z; starts again in 0.25 s',
    );
    const failed = { ...event, exit: { code: null, signal: null, error: 'no such file\nand more' } };
    expect(consoleLine(failed, now)).toMatch(/failed \(no such file\) after/);
    expect(consoleLine({ ...event, restartInMs: null }, now)).toMatch(/; given up$/);
    expect(consoleLine({ ...event, exit: { code: 3, signal: null } }, now)).toMatch(/ended with exit code 3/);
  });

  it('says when a service hung, for how long and how it showed', () => {
    const reason = 'no answer within 5000 ms';
    const event = { type: 'process_hung', name: 'gateway', pid: 7, silentMs: 15_210, reason } as const;
    expect(consoleLine(event, now)).toBe(
      '  gateway        gave no sign of life for 15.2 s (no answer within 5000 ms): killed',
    );
  });

  it('says when a service had to be killed', () => {
    const event = { type: 'process_stopped', name: 'gateway', exit: { code: null, signal: 'SIGKILL' } } as const;
    expect(consoleLine({ ...event, killed: true }, now)).toMatch(/did not stop in time: killed/);
    expect(consoleLine({ ...event, killed: false }, now)).toMatch(/stopped$/);
  });
});
