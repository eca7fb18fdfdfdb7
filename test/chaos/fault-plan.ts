import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';

/** What is struck. `trainer` is a training program, the child of a GPU worker. */
export const TARGETS = [
  'gateway',
  'orchestrator',
  'cpu-worker',
  'gpu-worker',
  'drift-monitor',
  'trainer',
  'postgres',
  'kafka',
  'schema-registry',
  's3',
  'mlflow',
] as const;
export type Target = (typeof TARGETS)[number];

/**
 * How: `kill` is SIGKILL, and the supervisor starts it again; `pause` SIGSTOP and SIGCONT before anybody may notice; `freeze` the same
 * for longer than leases and sessions, so that it wakes as a zombie; `hang` is never continued: the supervisor (or the stall
 * rule, of a trainer) ends it; `outage` is SIGKILL of a peer, which is down for a while and then started again.
 */
export type Action = 'kill' | 'pause' | 'freeze' | 'hang' | 'outage';

export type FaultKind = `${Target} ${Action}`;

export interface Fault {
  readonly number: number;
  readonly target: Target;
  readonly action: Action;
  /** Quiet time before it, from when everything is ready again, ms. */
  readonly gapMs: number;
  /** Of pause, freeze and outage, ms; 0 for the others. */
  readonly lastsMs: number;
  /** In [0, 1): which of several processes of the target. */
  readonly choice: number;
}

export const kindOf = ({ target, action }: Pick<Fault, 'target' | 'action'>): FaultKind => `${target} ${action}`;

const ACTIONS: Readonly<Record<Target, readonly Action[]>> = {
  gateway: ['kill', 'freeze', 'hang'],
  orchestrator: ['kill', 'pause', 'freeze', 'hang'],
  'cpu-worker': ['kill', 'pause', 'freeze', 'hang'],
  'gpu-worker': ['kill', 'pause', 'freeze', 'hang'],
  'drift-monitor': ['kill', 'freeze'],
  trainer: ['kill', 'pause', 'hang'],
  postgres: ['kill', 'freeze'],
  kafka: ['outage', 'freeze'],
  'schema-registry': ['outage'],
  s3: ['outage'],
  mlflow: ['outage'],
};

/** Every kind of fault on these targets, in a fixed order. */
export const kindsOn = (targets: readonly Target[]): FaultKind[] =>
  targets.flatMap((target) => ACTIONS[target].map((action): FaultKind => `${target} ${action}`));

/** Leases end after 3 s, sessions of the bus after 4 to 6 s (site.ts): a pause stays below, a freeze goes beyond. */
const LASTS_MS: Readonly<Record<Action, readonly [number, number]>> = {
  kill: [0, 0],
  pause: [300, 1_500],
  freeze: [6_500, 8_500],
  hang: [0, 0],
  outage: [1_000, 8_000],
};

const GAP_MS = [1_000, 4_000] as const;

/** One fault in this many comes together with the one before it, while that one still lasts. */
const TOGETHER_ONE_IN = 6;

/**
 * Faults without end, in groups that happen at the same time: mostly alone, some in pairs of different targets. The same seed and kinds give the
 * same sequence. Every kind comes once before any comes again.
 */
export function* faultGroups(seed: number, kinds: readonly FaultKind[]): Generator<readonly Fault[], never> {
  const random = mulberry32(seed);
  const bag = bagOf(kinds, random);
  for (let number = 1; ; ) {
    const first = faultOf(number++, bag(), random);
    const paired = random.next() * TOGETHER_ONE_IN < 1;
    if (!paired) {
      yield [first];
      continue;
    }
    const second = faultOf(number++, bag(), random);
    // Two signals to one process would be another kind of fault than either.
    if (second.target === first.target) {
      yield [first];
      yield [second];
    } else yield [first, { ...second, gapMs: Math.min(second.gapMs, 1_000) }];
  }
}

/** Draws all kinds in a random order, then all of them in another one, and so on. */
function bagOf(kinds: readonly FaultKind[], random: RandomStream): () => FaultKind {
  let bag: FaultKind[] = [];
  return () => {
    if (bag.length === 0) bag = shuffled(kinds, random);
    const kind = bag.pop();
    if (kind === undefined) throw new Error('no kind of fault to draw from');
    return kind;
  };
}

function faultOf(number: number, kind: FaultKind, random: RandomStream): Fault {
  const [target, action] = kind.split(' ') as [Target, Action];
  const between = ([least, most]: readonly [number, number]): number =>
    Math.round(least + random.next() * (most - least));
  return { number, target, action, gapMs: between(GAP_MS), lastsMs: between(LASTS_MS[action]), choice: random.next() };
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], random: RandomStream): T[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = Math.floor(random.next() * (last + 1));
    [result[last], result[other]] = [result[other] as T, result[last] as T];
  }
  return result;
}
