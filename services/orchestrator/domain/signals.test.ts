import { describe, expect, it } from 'vitest';
import { parseSignal } from './signals.ts';

/** One of each, as it comes. */
const GOOD: Readonly<Record<string, object>> = {
  pause: { reason: 'Pruned' },
  resume: { reason: null },
  retry: {},
  'approval.vote': { approval: 'release', decision: 'approve', comment: null, digest: 'd' },
  'approval.void': { approval: 'release', reason: 'the report changed' },
  'child.reported': {
    child: 'trial-0',
    points: [
      { step: 5, value: 1.5 },
      { step: 10, value: null },
    ],
  },
  'child.paused': { child: 'trial-0', step: 20, gpuSeconds: 1.5 },
  'child.resumed': { child: 'trial-0' },
  'child.ended': { child: 'trial-0', jobId: 'j', status: 'FAILED', result: null, error: { code: 'X' }, gpuSeconds: 0 },
  'canary.verdict': { outcome: 'inconclusive', reports: [{}] },
};

describe('a signal', () => {
  it.each(Object.entries(GOOD))('%s is read as it was sent', (signal, data) => {
    expect(parseSignal(signal, JSON.stringify(data))).toEqual({ signal, data });
  });

  it.each(['', 'stop', 'child.started', 'constructor', '__proto__', 'toString'])(
    'of the unknown name "%s" is refused',
    (signal) => {
      expect(() => parseSignal(signal, '{}')).toThrow(SyntaxError);
    },
  );

  it.each(Object.keys(GOOD))('%s that is no JSON is refused', (signal) => {
    expect(() => parseSignal(signal, '{')).toThrow(SyntaxError);
    expect(() => parseSignal(signal, '')).toThrow(SyntaxError);
  });

  it.each(Object.entries(GOOD).filter(([signal]) => !['pause', 'resume', 'retry'].includes(signal)))(
    '%s without one of its members is refused, and the member is named',
    (signal, data) => {
      for (const member of Object.keys(data)) {
        const { [member as never]: _left, ...rest } = data;
        expect(() => parseSignal(signal, JSON.stringify(rest))).toThrow(new RegExp(`${signal}.*${member}`, 's'));
      }
    },
  );

  it.each([
    ['pause', { reason: 7 }],
    ['pause', { reason: 'x'.repeat(2_001) }],
    ['resume', []],
    ['retry', null],
    ['approval.vote', { ...GOOD['approval.vote'], decision: 'maybe' }],
    ['child.reported', { child: 'trial-0', points: [{ step: -1, value: 1 }] }],
    ['child.reported', { child: 'trial-0', points: [{ step: 1.5, value: 1 }] }],
    ['child.reported', { child: 'trial-0', points: [{ step: 1, value: 'NaN' }] }],
    ['child.ended', { ...GOOD['child.ended'], status: 'RUNNING' }],
    ['child.ended', { ...GOOD['child.ended'], status: 'constructor' }],
    ['canary.verdict', { outcome: 'perhaps', reports: [] }],
  ])('%s with %j is refused', (signal, data) => {
    expect(() => parseSignal(signal, JSON.stringify(data))).toThrow(SyntaxError);
  });
});
