import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hpoInput } from '../../../../test/support/flows/flow-inputs.ts';
import { trialResult } from '../../../../test/support/flows/flow-outputs.ts';
import { startOf, Story } from '../../../../test/support/flows/story.ts';
import { foldFacts } from '../../../../test/support/given-when-then.ts';
import type { WorkflowState } from '../workflow-state.ts';
import { workflowRegistry } from '../workflows/registry.ts';
import type { WorkflowContext } from '../workflows/workflow-types.ts';
import type { SweepState } from './sweep-state.ts';

const STEPS = [20, 40, 60, 80, 100];
const registry = workflowRegistry();

const sweepOf = (state: WorkflowState): SweepState | null =>
  ((state.machine.context as WorkflowContext<unknown>).coordination?.['searching']?.state as SweepState | undefined) ??
  null;

/** What runs outside of the search: how far each trial is, and whether it was told to stop. */
interface World {
  readonly at: Map<number, number>;
  readonly resting: Set<number>;
  readonly ended: Set<number>;
  readonly revived: Set<number>;
}

/** A curve that depends on nothing but the trial: some cross, some are equal, one is never a number. */
const valueAt = (trial: number, step: number): number | null =>
  trial % 7 === 3 ? null : ((trial * 37) % 11) + 100 / step + ((trial * 13) % 5) * (step / 200);

/** Everything that may happen next, in one order. */
function possible(story: Story, world: World): (() => void)[] {
  const next: (() => void)[] = [];
  for (const entry of Object.values(story.state.activities)) {
    if (entry.state === 'queued' && story.state.paused === undefined)
      next.push(() => story.answer(entry.request.activityId));
  }
  const sweep = sweepOf(story.state);
  if (story.machineState !== 'searching' || sweep === null) return next;
  for (const { number, standing } of sweep.trials) {
    const child = `trial-${number}`;
    if (world.ended.has(number)) continue;
    const done = world.at.get(number) ?? 0;
    const step = STEPS[done];
    if (standing === 'pruned' && world.resting.has(number)) {
      next.push(() => {
        world.resting.delete(number);
        world.revived.add(number);
        story.childResumed(child);
      });
      continue;
    }
    if (standing === 'pruned')
      next.push(() => {
        world.resting.add(number);
        story.childPaused(child, STEPS[done - 1] ?? 0);
      });
    else if (step !== undefined)
      next.push(() => {
        world.at.set(number, done + 1);
        story.reported(child, [step, valueAt(number, step)]);
      });
    // A worker died: the points since the last checkpoint come again.
    if (done > 0) next.push(() => story.reported(child, [STEPS[done - 1] ?? 0, valueAt(number, STEPS[done - 1] ?? 1)]));
    if (step === undefined)
      next.push(() => {
        world.ended.add(number);
        story.childEnded(child, 'COMPLETED', trialResult(valueAt(number, 100)));
      });
    else if (number % 5 === 4)
      next.push(() => {
        world.ended.add(number);
        story.childEnded(child, 'FAILED', null, { code: 'X' });
      });
  }
  next.push(() => (story.state.paused === undefined ? story.pause() : story.resume()));
  return next;
}

const settings = fc.record({
  trials: fc.integer({ min: 1, max: 9 }),
  maxConcurrent: fc.integer({ min: 1, max: 9 }),
  sampler: fc.constantFrom(
    { type: 'random' as const },
    { type: 'tpe' as const, startupTrials: 2, candidates: 4 },
    { type: 'grid' as const },
  ),
  pruning: fc.constantFrom(
    { strategy: 'none' as const },
    { strategy: 'liveMedian' as const, warmUpSteps: 20, everySteps: 20, minimumTrials: 2 },
    { strategy: 'livePercentile' as const, drop: 0.5, warmUpSteps: 20, everySteps: 20, minimumTrials: 2 },
    { strategy: 'median' as const, warmUpSteps: 0, everySteps: 1, startupTrials: 1, minimumPeers: 1 },
    { strategy: 'asha' as const, minimumSteps: 20, reductionFactor: 2 },
  ),
});
const SPACE = { parameters: [{ name: 'batchSize', type: 'int' as const, min: 1, max: 6 }] };
const picks = fc.array(fc.nat(10_000), { minLength: 5, maxLength: 120 });

/** A search in a random order of events; `restart` says before which of them everything in memory is lost. */
function run(
  spec: object,
  chosen: readonly number[],
  each: (story: Story, world: World) => void = () => undefined,
): Story {
  const story = new Story(startOf('hpo', hpoInput({ space: SPACE, ...spec })));
  const world: World = { at: new Map(), resting: new Set(), ended: new Set(), revived: new Set() };
  for (const pick of chosen) {
    const next = possible(story, world);
    if (next.length === 0 || story.status !== null) break;
    next[pick % next.length]?.();
    each(story, world);
  }
  return story;
}

describe('a search in any order of reports, ends, pauses and revivals', () => {
  it('never runs more trials than it may, but for those that people revived', () => {
    fc.assert(
      fc.property(settings, picks, (spec, chosen) => {
        run(spec, chosen, (story, world) => {
          const trials = sweepOf(story.state)?.trials ?? [];
          const busy = trials.filter(
            ({ standing, atRest }) => standing === 'running' || (standing === 'pruned' && !atRest),
          );
          expect(busy.length).toBeLessThanOrEqual(spec.maxConcurrent + world.revived.size);
          expect(trials.length).toBeLessThanOrEqual(spec.trials);
          expect(trials.map(({ number }) => number)).toEqual(trials.map((_, n) => n));
        });
      }),
    );
  });

  it('asks for configurations only when a slot is free, one question at a time', () => {
    fc.assert(
      fc.property(settings, picks, (spec, chosen) => {
        run(spec, chosen, (story) => {
          const open = Object.values(story.state.activities).filter(
            ({ request, state }) => request.name === 'generate_trial_configs' && state === 'queued',
          );
          expect(open.length).toBeLessThanOrEqual(1);
          expect(open.length === 1).toBe(sweepOf(story.state)?.asking === true && story.status === null);
        });
      }),
    );
  });

  it('starts every trial once and tells each pruned one to pause once for each time it was pruned', () => {
    fc.assert(
      fc.property(settings, picks, (spec, chosen) => {
        const story = run(spec, chosen);
        const started = story.effects.flatMap((effect) => (effect.type === 'startChild' ? [effect.childId] : []));
        expect(new Set(started).size).toBe(started.length);
        const told = story.effects.flatMap((effect) =>
          effect.type === 'signal' && effect.signal === 'pause' && effect.data.reason === 'Pruned'
            ? [effect.workflowId]
            : [],
        );
        const prunings = sweepOf(story.state)?.prunings ?? [];
        expect(told).toEqual(prunings.map(({ trial }) => `wf-under-test~trial-${trial}`));
        expect(new Set(told).size).toBe(told.length);
      }),
    );
  });

  it('folds to the same bytes from a stored state at every prefix', () => {
    fc.assert(
      fc.property(settings, picks, (spec, chosen) => {
        const { facts, state } = run(spec, chosen);
        const whole = JSON.stringify(state);
        for (let length = 1; length < facts.length; length++) {
          const stored = JSON.parse(JSON.stringify(foldFacts(registry, facts.slice(0, length)))) as WorkflowState;
          expect(JSON.stringify(foldFacts(registry, facts.slice(length), stored))).toBe(whole);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('gives the same trials and the same pruned set with 20 restarts at random points as with none', () => {
    fc.assert(
      fc.property(
        settings,
        picks,
        fc.array(fc.nat(10_000), { minLength: 20, maxLength: 20 }),
        (spec, chosen, kills) => {
          const { facts, state } = run(spec, chosen);
          const at = new Set(kills.map((kill) => kill % facts.length));
          let restarted: WorkflowState | null = null;
          for (const [n, fact] of facts.entries()) {
            if (at.has(n) && restarted !== null) restarted = JSON.parse(JSON.stringify(restarted)) as WorkflowState;
            restarted = foldFacts(workflowRegistry(), [fact], restarted);
          }
          const of = (from: WorkflowState | null) => {
            const sweep = from === null ? null : sweepOf(from);
            return { trials: sweep?.trials, prunings: sweep?.prunings, children: from?.children, finish: from?.finish };
          };
          expect(JSON.stringify(of(restarted))).toBe(JSON.stringify(of(state)));
        },
      ),
    );
  });

  it('comes to an end when everything it waits for has happened', () => {
    fc.assert(
      fc.property(settings, picks, (spec, chosen) => {
        const story = new Story(startOf('hpo', hpoInput({ space: SPACE, ...spec })));
        const world: World = { at: new Map(), resting: new Set(), ended: new Set(), revived: new Set() };
        // A random beginning, then always the first thing that is still to happen, without reviving and pausing for ever.
        for (const pick of chosen.slice(0, 20)) {
          const next = possible(story, world);
          if (story.machineState === 'searching') next[pick % next.length]?.();
        }
        if (story.state.paused !== undefined) story.resume();
        for (let turns = 0; story.machineState === 'searching' && turns < 500; turns++) settle(story, world);
        expect(story.machineState).not.toBe('searching');
      }),
    );
  });
});

/** One thing that must happen sooner or later: an answer, a rest, a point, an end. */
function settle(story: Story, world: World): void {
  const open = Object.values(story.state.activities).find(({ state }) => state === 'queued');
  if (open !== undefined) return void story.answer(open.request.activityId);
  for (const { number, standing, atRest } of sweepOf(story.state)?.trials ?? []) {
    if (world.ended.has(number) || (standing === 'pruned' && atRest)) continue;
    const done = world.at.get(number) ?? 0;
    const step = STEPS[done];
    if (standing === 'pruned') {
      world.resting.add(number);
      return void story.childPaused(`trial-${number}`, STEPS[done - 1] ?? 0);
    }
    if (step === undefined) {
      world.ended.add(number);
      return void story.childEnded(`trial-${number}`, 'COMPLETED', trialResult(valueAt(number, 100)));
    }
    world.at.set(number, done + 1);
    return void story.reported(`trial-${number}`, [step, valueAt(number, step)]);
  }
}
