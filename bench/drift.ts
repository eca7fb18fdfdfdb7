import { mulberry32 } from '#lib/kernel/random.ts';
import {
  buildReferenceProfile,
  DEFAULT_BINS,
  DEFAULT_MAX_CATEGORIES,
  DEFAULT_SAMPLE,
  type FeatureRow,
} from '#lib/statistics/build-reference-profile.ts';
import { type JudgePolicy, judgeWindow } from '../services/drift-monitor/domain/judge-window.ts';
import type { ReferenceProfile } from '#lib/statistics/reference-profile.ts';
import { WindowSketch } from '../services/drift-monitor/domain/window-sketch.ts';
import { serviceSpeed } from './drift-service.ts';
import type { Benchmark } from './support/benchmark.ts';
import { machineBusyMs, machineKind, memoryOf, requireLinux } from './support/machine.ts';
import { print, printGoal, printTable, type Row } from './support/report.ts';

const NOMINAL = 0.01;
const POLICY: JudgePolicy = { falseDiscoveryRate: NOMINAL, minimumObservations: 100, smallestDistance: 0 };
const DIGEST = '0'.repeat(64);

export const drift: Benchmark = {
  name: 'drift',
  summary: 'false alarms and power of the drift monitor; observations a second and memory of one core with 50 features',
  options: {
    windows: { standard: 10_000, summary: 'windows without drift, spread over the references' },
    references: { standard: 20, summary: 'profiles, each of training rows of its own' },
    rows: { standard: 40_000, summary: 'training rows of a profile' },
    window: { standard: 600, summary: 'observations of a window' },
    observations: { standard: 400_000, summary: 'observations for the speed' },
    'service-observations': {
      standard: 100_000,
      summary: 'observations through the service; then three times as many',
    },
    seed: { standard: 1, summary: 'seed of everything random' },
  },
  run: async (options) => {
    requireLinux();
    print(`drift\n${machineKind()}\n`);
    const size = { rows: options.number('rows'), window: options.number('window'), seed: options.number('seed') };
    falseAlarms(size, options.number('windows'), options.number('references'));
    power(size);
    const wide = wideRows(size.seed);
    speed(options.number('observations'), wide);
    await serviceSpeed(options.number('service-observations'), wide.profile, wide.messages);
  },
};

interface Size {
  readonly rows: number;
  readonly window: number;
  readonly seed: number;
}

type Draw = () => number;
type Shift = (row: Record<string, unknown>) => void;

/** Eight continuous features of different shapes and two categorical ones; `visits` is a count with many ties and apart from the rest. */
function example(random: Draw, shift: Shift = () => undefined): Record<string, unknown> {
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const row: Record<string, unknown> = {
    normal: normal(),
    wide: 100 * normal(),
    skewed: Math.exp(normal()),
    uniform: random(),
    peaked: random() ** 4,
    waiting: -Math.log(1 - random()),
    sum: random() + random() + random(),
    twoHills: normal() + (random() < 0.3 ? 6 : 0),
    language: ['en', 'de', 'fr', 'es', 'it'][Math.floor(5 * random() ** 2)],
    device: random() < 0.8 ? 'phone' : 'desk',
  };
  shift(row);
  return row;
}

const withTies = (random: Draw): FeatureRow => ({ visits: Math.floor(-4 * Math.log(1 - random())) });

function profileOf(rows: Iterable<FeatureRow>, seed: number): ReferenceProfile {
  const verdict = buildReferenceProfile(rows, {
    datasetDigest: DIGEST,
    seed,
    sampleSize: DEFAULT_SAMPLE,
    bins: DEFAULT_BINS,
    maxCategories: DEFAULT_MAX_CATEGORIES,
  });
  if (!verdict.ok) throw new Error(verdict.reason);
  return verdict.profile;
}

function* repeat<T>(count: number, make: () => T): Generator<T> {
  for (let i = 0; i < count; i++) yield make();
}

/** Alarms per window and per test, over all references and for each. */
function falseAlarms(size: Size, windows: number, references: number): void {
  const random = mulberry32(size.seed);
  const draw = (): number => random.next();
  const perReference: number[] = [];
  const tests = { 'kolmogorov-smirnov': [0, 0], 'chi-square': [0, 0], 'stability index': [0, 0], ties: [0, 0] };
  const count = (test: [number, number] | number[], p: number | null): void => {
    test[0] = (test[0] ?? 0) + 1;
    if (p !== null && p <= NOMINAL) test[1] = (test[1] ?? 0) + 1;
  };
  const each = Math.ceil(windows / references);
  for (let at = 0; at < references; at++) {
    const profile = profileOf(
      repeat(size.rows, () => example(draw)),
      at,
    );
    const ties = profileOf(
      repeat(size.rows, () => withTies(draw)),
      at,
    );
    let alarms = 0;
    for (let window = 0; window < each; window++) {
      const [sketch, tied] = [new WindowSketch(profile, window), new WindowSketch(ties, window)];
      for (let i = 0; i < size.window; i++) {
        sketch.observe(example(draw));
        tied.observe(withTies(draw));
      }
      const { drifted, features } = judgeWindow(sketch, POLICY);
      if (drifted.length > 0) alarms++;
      for (const feature of features) {
        if (feature.test !== 'not tested') count(tests[feature.test], feature.pValue);
        count(tests['stability index'], feature.stabilityPValue);
      }
      count(tests.ties, judgeWindow(tied, POLICY).features[0]?.pValue ?? null);
    }
    perReference.push(alarms / each);
  }
  const total = perReference.reduce((sum, rate) => sum + rate, 0) / references;
  const sorted = perReference.toSorted((a, b) => a - b);
  print(
    `without drift: ${each * references} windows of ${size.window} observations, 10 features, against ${references} references of ${size.rows} rows; nominal 1 %`,
  );
  const rows: Row[] = [{ '': 'a window alarms (10 features, FDR)', 'alarms %': percent(total) }];
  for (const [test, [all = 0, alarms = 0]] of Object.entries(tests))
    rows.push({
      '': test === 'ties' ? 'kolmogorov-smirnov, a count with ties' : test,
      'alarms %': percent(alarms / all),
    });
  printTable(rows);
  print(
    `one reference: from ${percent(sorted[0] ?? NaN)} to ${percent(sorted.at(-1) ?? NaN)} % over ${each} windows each; chance alone makes ${percent(Math.sqrt((NOMINAL * 0.99) / each))} of standard deviation`,
  );
  printGoal('false alarms at nominal 1 %, at least', 100 * total, '%', { atLeast: 0.8 });
  printGoal('false alarms at nominal 1 %, at most', 100 * total, '%', { atMost: 1.2 });
}

const SHIFTS: Readonly<Record<string, Shift>> = {
  'normal + 0.1 sd': (row) => (row['normal'] = Number(row['normal']) + 0.1),
  'normal + 0.2 sd': (row) => (row['normal'] = Number(row['normal']) + 0.2),
  'normal + 0.3 sd': (row) => (row['normal'] = Number(row['normal']) + 0.3),
  'normal x 1.3': (row) => (row['normal'] = Number(row['normal']) * 1.3),
  'all numbers + 2 %': (row) => {
    for (const name of Object.keys(row)) if (typeof row[name] === 'number') row[name] *= 1.02;
  },
};

function power(size: Size): void {
  const windows = 300;
  const random = mulberry32(size.seed + 1);
  const draw = (): number => random.next();
  const profile = profileOf(
    repeat(size.rows, () => example(draw)),
    1,
  );
  print(`\nwith drift: share of ${windows} windows that alarm`);
  const rows: Row[] = Object.entries(SHIFTS).map(([what, shift]) => {
    let [alarms, wrong] = [0, 0];
    for (let window = 0; window < windows; window++) {
      const sketch = new WindowSketch(profile, window);
      for (let i = 0; i < size.window; i++) sketch.observe(example(draw, shift));
      const { drifted } = judgeWindow(sketch, POLICY);
      if (drifted.length > 0) alarms++;
      if (drifted.some((feature) => feature !== 'normal')) wrong++;
    }
    return { drift: what, 'alarms %': percent(alarms / windows), 'another feature %': percent(wrong / windows) };
  });
  printTable(rows);
}

interface WideRows {
  readonly profile: ReferenceProfile;
  /** Features as JSON. */
  readonly messages: readonly string[];
}

/** 40 numbers and 10 texts a row. */
function wideRows(seed: number): WideRows {
  const random = mulberry32(seed + 2);
  const wide = (): FeatureRow => {
    const row: Record<string, unknown> = {};
    for (let i = 0; i < 40; i++) row[`number${i}`] = Math.round(1e6 * random.next()) / 1e3;
    for (let i = 0; i < 10; i++) row[`text${i}`] = `value-${Math.floor(12 * random.next() ** 2)}`;
    return row;
  };
  const profile = profileOf(repeat(20_000, wide), 1);
  return { profile, messages: [...repeat(5_000, () => JSON.stringify(wide()))] };
}

/** As the service does it, without bus and database: parse the features' JSON, observe, judge when the window is full. */
function speed(observations: number, { profile, messages }: WideRows): void {
  const perWindow = 20_000;
  const memory: number[] = [];
  let [judgedMs, snapshotBytes] = [0, 0];
  let sketch = new WindowSketch(profile, 0);
  const busyMs = machineBusyMs();
  const cpu = process.cpuUsage();
  const begin = performance.now();
  for (let n = 1; n <= observations; n++) {
    sketch.observe(JSON.parse(messages[n % messages.length] as string) as FeatureRow);
    if (n % perWindow !== 0) continue;
    const judging = performance.now();
    judgeWindow(sketch, POLICY);
    judgedMs += performance.now() - judging;
    snapshotBytes = JSON.stringify(sketch.snapshot()).length;
    sketch = new WindowSketch(profile, n);
    memory.push(memoryOf(process.pid).rssMb);
  }
  const seconds = (performance.now() - begin) / 1_000;
  const used = process.cpuUsage(cpu);
  const cpuSeconds = (used.user + used.system) / 1e6;
  const others = (machineBusyMs() - busyMs) / 1_000 / seconds - cpuSeconds / seconds;
  const windows = Math.floor(observations / perWindow);
  print(
    `\nspeed: ${observations} observations of 50 features (${messages[0]?.length} bytes of JSON), ${windows} windows judged; other load ${others.toFixed(2)} cores`,
  );
  print(
    `judging a window: ${(judgedMs / windows).toFixed(1)} ms; profile ${(JSON.stringify(profile).length / 1e6).toFixed(1)} MB, snapshot of a full window ${(snapshotBytes / 1e3).toFixed(0)} kB`,
  );
  print(`RSS after each window, MB: ${memory.map((mb) => mb.toFixed(0)).join(' ')}`);
  printGoal('observations a second of one core, windows alone', observations / seconds, '/s', { atLeast: 20_000 });
  const [half, end] = [memory[Math.floor(memory.length / 2)] ?? NaN, memory.at(-1) ?? NaN];
  printGoal('growth of the memory over the second half', end - half, 'MB', { atMost: 10 });
}

const percent = (share: number): string => (100 * share).toFixed(2);
