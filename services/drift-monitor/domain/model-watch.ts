import type { FeatureRow } from '#lib/statistics/build-reference-profile.ts';
import { type ModelReference, unitScore } from '#lib/statistics/model-reference.ts';
import {
  type DegradationPolicy,
  type DegradationState,
  type DegradationVerdict,
  NO_PRODUCTION,
  watchPerformance,
} from '#lib/statistics/performance-degradation.ts';
import { addMoments, NO_VALUES, type UnitMoments } from '#lib/statistics/unit-moments.ts';
import { murmur2 } from '#lib/kernel/partition.ts';
import { NO_STREAK, type WindowStreak } from './drift-decider.ts';
import { type FloodPolicy, type FloodState, NO_FLOOD, passFlood } from './flood-gate.ts';
import { type JudgePolicy, judgeWindow, type WindowJudgement } from './judge-window.ts';
import type { Observation } from './observation.ts';
import {
  assignToWindows,
  NO_WINDOWS,
  type Standing,
  STANDINGS,
  windowOf,
  type WindowPolicy,
  type WindowState,
} from './observation-windows.ts';
import { type WindowSnapshot, WindowSketch } from './window-sketch.ts';

export interface WatchSettings extends WindowPolicy, JudgePolicy, FloodPolicy {
  readonly performanceMargin: number;
  readonly windowsBetweenFalseDegradations: number;
}

/** What is counted of a version, over all time. `unknownVersion`: taken while no reference was stored. */
export const COUNTERS = [...STANDINGS, 'sampledOut', 'malformed', 'unknownVersion'] as const;
export type Counter = (typeof COUNTERS)[number];
export type Counters = Readonly<Record<Counter, number>>;

/** JSON; its size does not grow with the observations. */
export interface WatchState {
  readonly windows: WindowState;
  /** Labels have a gate of their own: one that comes late belongs to an observation that was taken. */
  readonly flood: { readonly answers: FloodState; readonly labels: FloodState };
  readonly streak: WindowStreak;
  /** Observations of each open window, by its begin: taken, and thinned out. */
  readonly open: Readonly<Record<string, { readonly taken: number; readonly sampledOut: number }>>;
  /** Scores since the last window was judged. */
  readonly scores: UnitMoments;
  readonly performance: DegradationState;
  readonly counters: Counters;
}

/** What has to be stored to go on after a restart, by another process too. */
export interface StoredWatch {
  readonly state: WatchState;
  readonly sketches: Readonly<Record<string, WindowSnapshot>>;
  readonly referenceRevision: number | null;
  readonly windowMs: number;
}

export interface TakenObservation {
  readonly observation: Observation;
  readonly features: FeatureRow;
}

/** What is stored of an observation that came before. */
export interface StoredAnswer {
  readonly prediction: string;
  readonly label: string | null;
}

export interface JudgedWindow {
  readonly startMs: number;
  readonly endMs: number;
  readonly taken: number;
  readonly sampledOut: number;
  /** Null: no reference to compare with. */
  readonly judgement: WindowJudgement | null;
  /** Null: no performance to compare with. `scores`: how many are new. */
  readonly performance: (DegradationVerdict & { readonly scores: number; readonly production: UnitMoments }) | null;
}

export interface Taking {
  /** New ones, to be stored. */
  readonly stored: readonly Observation[];
  /** Labels that came later, to be stored with their observations. */
  readonly labels: readonly { readonly observationId: string; readonly label: string }[];
  readonly counts: Readonly<Record<Standing, number>>;
  /** Windows that closed, oldest first. */
  readonly judged: readonly JudgedWindow[];
}

const NO_COUNTS = Object.fromEntries(COUNTERS.map((counter) => [counter, 0])) as unknown as Counters;

const NEW_WATCH: WatchState = {
  windows: NO_WINDOWS,
  flood: { answers: NO_FLOOD, labels: NO_FLOOD },
  streak: NO_STREAK,
  open: {},
  scores: NO_VALUES,
  performance: NO_PRODUCTION,
  counters: NO_COUNTS,
};

/**
 * One model version's production against its reference: observations in, judged windows out. The state changes with every call; after a commit that
 * failed throw it away and restore what is stored. Use: `admit` a batch, look up what is known of what it returns, `take` that.
 */
export class ModelWatch {
  readonly #id: string;
  readonly #reference: (ModelReference & { readonly revision: number }) | null;
  readonly #settings: WatchSettings;
  readonly #sketches = new Map<number, WindowSketch>();
  #state: WatchState;

  /** `id` seeds the samples: the same observations in the same order give the same windows. */
  constructor(
    id: string,
    reference: (ModelReference & { readonly revision: number }) | null,
    settings: WatchSettings,
    stored: StoredWatch | null,
  ) {
    this.#id = id;
    this.#reference = reference;
    this.#settings = settings;
    this.#state = stored?.state ?? NEW_WATCH;
    if (stored === null) return;
    const sameReference = stored.referenceRevision === (reference?.revision ?? null);
    if (!sameReference || stored.windowMs !== settings.windowMs) this.#beginAnew(sameReference);
    else if (reference !== null)
      for (const [start, snapshot] of Object.entries(stored.sketches))
        this.#sketches.set(Number(start), WindowSketch.restore(reference.profile, snapshot));
  }

  get state(): WatchState {
    return this.#state;
  }

  /** When the clock may close the oldest open window, epoch ms; null: none is open. */
  get dueAtMs(): number | null {
    const [oldest] = this.#state.windows.open;
    return oldest === undefined ? null : oldest + this.#settings.windowMs + this.#settings.latenessMs;
  }

  snapshot(): StoredWatch {
    const sketches = Object.fromEntries([...this.#sketches].map(([start, sketch]) => [start, sketch.snapshot()]));
    const { windowMs } = this.#settings;
    return { state: this.#state, sketches, referenceRevision: this.#reference?.revision ?? null, windowMs };
  }

  /** What a decision made of the streak. */
  setStreak(streak: WindowStreak): void {
    this.#state = { ...this.#state, streak };
  }

  /** What a flood leaves of a batch. */
  admit(batch: readonly TakenObservation[]): TakenObservation[] {
    const open = { ...this.#state.open };
    const flood = { ...this.#state.flood };
    let sampledOut = 0;
    const admitted = batch.filter(({ observation }) => {
      const start = windowOf(this.#settings, observation.observedAtMs);
      const gate = observation.label === null ? 'answers' : 'labels';
      const step = passFlood(this.#settings, flood[gate], start, observation.observationId);
      flood[gate] = step.state;
      if (step.taken) return true;
      sampledOut++;
      const counted = open[start];
      if (counted !== undefined) open[start] = { ...counted, sampledOut: counted.sampledOut + 1 };
      return false;
    });
    const counters = { ...this.#state.counters, sampledOut: this.#state.counters.sampledOut + sampledOut };
    this.#state = { ...this.#state, flood, open, counters };
    return admitted;
  }

  /** Folds admitted observations in; an empty batch lets the clock close windows. `known`: what is stored under the batch's ids. */
  take(
    batch: readonly TakenObservation[],
    known: ReadonlyMap<string, StoredAnswer>,
    now: { readonly nowMs: number; readonly caughtUp: boolean },
  ): Taking {
    const observations = batch.map(({ observation }) => observation);
    const assignment = assignToWindows(this.#settings, this.#state.windows, observations, known, now);
    const stored: Observation[] = [];
    const labels: { observationId: string; label: string }[] = [];
    const answers = new Map<string, string>();
    const open = { ...this.#state.open };
    let scores = this.#state.scores;
    for (const [at, { observation, standing, windowStartMs }] of assignment.assigned.entries()) {
      const { observationId, label } = observation;
      if (standing === 'inTime' || standing === 'outOfOrder' || standing === 'tooLate') {
        stored.push(observation);
        answers.set(observationId, observation.prediction);
        scores = this.#scored(scores, observation);
      } else if (standing === 'lateLabel' && label !== null) {
        labels.push({ observationId, label });
        const prediction = answers.get(observationId) ?? known.get(observationId)?.prediction ?? '';
        if (this.#reference?.performance?.by.measure === 'accuracy')
          scores = this.#scored(scores, { prediction, label, score: null });
      }
      if (windowStartMs === null) continue;
      open[windowStartMs] = { sampledOut: 0, ...open[windowStartMs], taken: (open[windowStartMs]?.taken ?? 0) + 1 };
      this.#sketch(windowStartMs)?.observe((batch[at] as TakenObservation).features);
    }
    this.#count(assignment.counts, stored.length);
    this.#state = { ...this.#state, windows: assignment.state, open, scores };
    return { stored, labels, counts: assignment.counts, judged: assignment.closed.map((start) => this.#close(start)) };
  }

  #scored(scores: UnitMoments, answer: Pick<Observation, 'prediction' | 'label' | 'score'>): UnitMoments {
    const by = this.#reference?.performance?.by;
    const score = by === undefined ? null : unitScore(by, answer);
    return score === null ? scores : addMoments(scores, { count: 1, sum: score, sumOfSquares: score * score });
  }

  #sketch(startMs: number): WindowSketch | null {
    if (this.#reference === null) return null;
    const there = this.#sketches.get(startMs);
    if (there !== undefined) return there;
    const made = new WindowSketch(this.#reference.profile, murmur2(`${this.#id}/${startMs}`));
    this.#sketches.set(startMs, made);
    return made;
  }

  #count(counts: Readonly<Record<Standing, number>>, stored: number): void {
    const counters: Record<Counter, number> = { ...this.#state.counters };
    for (const standing of STANDINGS) counters[standing] += counts[standing];
    if (this.#reference === null) counters.unknownVersion += stored;
    this.#state = { ...this.#state, counters };
  }

  #close(startMs: number): JudgedWindow {
    const sketch = this.#sketches.get(startMs);
    this.#sketches.delete(startMs);
    const { [startMs]: counted = { taken: 0, sampledOut: 0 }, ...open } = this.#state.open;
    const { counters } = this.#state;
    this.#state = {
      ...this.#state,
      open,
      counters: { ...counters, malformed: counters.malformed + (sketch?.malformed ?? 0) },
    };
    const judgement = sketch === undefined ? null : judgeWindow(sketch, this.#settings);
    const endMs = startMs + this.#settings.windowMs;
    return { startMs, endMs, ...counted, judgement, performance: this.#judgePerformance() };
  }

  #judgePerformance(): JudgedWindow['performance'] {
    const performance = this.#reference?.performance ?? null;
    if (performance === null) return null;
    const { by, count, sum, sumOfSquares } = performance;
    const policy: DegradationPolicy = {
      reference: { count, sum, sumOfSquares },
      higherIsBetter: by.measure === 'accuracy' || by.higherIsBetter,
      margin: this.#settings.performanceMargin,
      alpha: this.#settings.falseDiscoveryRate,
      batchesBetweenFalseAlarms: this.#settings.windowsBetweenFalseDegradations,
    };
    const { scores } = this.#state;
    const { state, verdict } = watchPerformance(policy, this.#state.performance, scores);
    this.#state = { ...this.#state, performance: state, scores: NO_VALUES };
    return { ...verdict, scores: scores.count, production: state.production };
  }

  /** What was sketched against another reference, or in windows of another length, says nothing now. */
  #beginAnew(sameReference: boolean): void {
    const { windows, streak } = this.#state;
    this.#state = {
      ...this.#state,
      windows: { ...windows, open: [] },
      open: {},
      streak: { ...NO_STREAK, lastWindowEndMs: streak.lastWindowEndMs },
      ...(sameReference ? {} : { scores: NO_VALUES, performance: NO_PRODUCTION }),
    };
  }
}
