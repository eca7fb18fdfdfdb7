import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Observation } from './observation.ts';
import {
  assignToWindows,
  type KnownObservation,
  NO_WINDOWS,
  type WindowPolicy,
  type WindowState,
} from './observation-windows.ts';

const policy: WindowPolicy = { windowMs: 100, latenessMs: 50 };
const NOTHING: ReadonlyMap<string, KnownObservation> = new Map();
const BUSY = { nowMs: 1e12, caughtUp: false };

const at = (observedAtMs: number, more: Partial<Observation> = {}): Observation => ({
  observationId: `o${observedAtMs}`,
  project: 'demo',
  model: 'm',
  modelVersion: 1,
  observedAtMs,
  featuresJson: '{}',
  prediction: '',
  score: null,
  label: null,
  routingUnit: null,
  ...more,
});

const take = (batch: readonly Observation[], state: WindowState = NO_WINDOWS, known = NOTHING, now = BUSY) =>
  assignToWindows(policy, state, batch, known, now);

describe('observations in windows', () => {
  it('count in the window of the time they were observed, in order or not', () => {
    const { assigned, counts } = take([at(10), at(120), at(90), at(130)]);
    expect(assigned.map(({ windowStartMs }) => windowStartMs)).toEqual([0, 100, 0, 100]);
    expect(counts).toMatchObject({ inTime: 3, outOfOrder: 1, tooLate: 0 });
  });

  it('a window closes when its end and the lateness have passed, and takes nothing any more', () => {
    const first = take([at(10), at(149)]);
    expect(first.closed).toEqual([]);
    const second = take([at(150), at(20)], first.state);
    expect(second.closed).toEqual([0]);
    expect(second.state.open).toEqual([100]);
    expect(second.assigned[1]).toMatchObject({ standing: 'tooLate', windowStartMs: null });
  });

  it('a second report is a duplicate, in the batch or from before', () => {
    const known = new Map([['stored', { label: null }]]);
    const { counts, assigned } = take([at(10), at(10), at(11, { observationId: 'stored' })], NO_WINDOWS, known);
    expect(counts).toMatchObject({ inTime: 1, duplicate: 2 });
    expect(assigned.slice(1).every(({ windowStartMs }) => windowStartMs === null)).toBe(true);
  });

  it('a label that comes later is one, once; another label changes nothing', () => {
    const labelled = (label: string) => at(10, { label });
    const { counts } = take([at(10), labelled('yes'), labelled('yes'), labelled('no')]);
    expect(counts).toMatchObject({ inTime: 1, lateLabel: 1, duplicate: 1, conflictingLabel: 1 });
  });

  it('a late label is taken when its window is long closed', () => {
    const known = new Map([['o10', { label: null }]]);
    const { counts, closed } = take(
      [at(10, { label: 'yes' })],
      { watermarkMs: 9_000, newestMs: 9_000, open: [8_900] },
      known,
    );
    expect(counts.lateLabel).toBe(1);
    expect(closed).toEqual([]);
  });

  it('a bare label whose observation is not there is counted and makes no observation; the observation itself may still come', () => {
    const bare = at(10, { label: 'yes' });
    const { counts, assigned, state } = take([bare, at(10, { prediction: 'yes' })]);
    expect(counts).toMatchObject({ orphanLabel: 1, inTime: 1 });
    expect(assigned[0]?.windowStartMs).toBeNull();
    expect(state.open).toEqual([0]);
    expect(take([at(10, { label: 'yes', prediction: 'yes' })]).counts).toMatchObject({ orphanLabel: 0, inTime: 1 });
  });

  it('a clock that runs ahead does not close the windows of the others', () => {
    const now = { nowMs: 60, caughtUp: false };
    const { closed, state } = take([at(10), at(300)], NO_WINDOWS, NOTHING, now);
    expect(closed).toEqual([]);
    expect(take([at(55)], state, NOTHING, now).counts.outOfOrder).toBe(1);
  });

  it('the last window of a model that fell silent is closed by the clock, but not while a backlog is read', () => {
    const { state } = take([at(10)], NO_WINDOWS, NOTHING, { nowMs: 5_000, caughtUp: false });
    expect(take([], state, NOTHING, { nowMs: 5_000, caughtUp: false }).closed).toEqual([]);
    expect(take([], state, NOTHING, { nowMs: 5_000, caughtUp: true }).closed).toEqual([0]);
    expect(take([], NO_WINDOWS, NOTHING, { nowMs: 5_000, caughtUp: true }).state).toEqual(NO_WINDOWS);
  });

  it('every observation counts once, no window closes twice, and few are open, however the stream is cut into batches', () => {
    const stream = fc.array(fc.tuple(fc.nat(40), fc.nat(80), fc.nat(30)), { maxLength: 80 });
    fc.assert(
      fc.property(stream, fc.integer({ min: 1, max: 10 }), (steps, size) => {
        let clock = 0;
        const all = steps.map(([forward, back, id]) => {
          clock += forward;
          return at(Math.max(0, clock - back), { observationId: `o${id}` });
        });
        const inBatchesOf = (length: number) => {
          let state = NO_WINDOWS;
          const known = new Map<string, KnownObservation>();
          const [closed, places]: [number[], (number | null)[]] = [[], []];
          for (let from = 0; from < all.length; from += length) {
            const step = take(all.slice(from, from + length), state, known);
            for (const { observation, windowStartMs } of step.assigned) {
              if (!known.has(observation.observationId)) known.set(observation.observationId, { label: null });
              places.push(windowStartMs);
            }
            closed.push(...step.closed);
            state = JSON.parse(JSON.stringify(step.state)) as WindowState;
            expect(state.open.length).toBeLessThanOrEqual(policy.latenessMs / policy.windowMs + 2);
          }
          return { closed, places };
        };
        const { closed, places } = inBatchesOf(size);
        expect(new Set(closed).size).toBe(closed.length);
        expect(places).toEqual(inBatchesOf(1).places);
      }),
    );
  });
});
