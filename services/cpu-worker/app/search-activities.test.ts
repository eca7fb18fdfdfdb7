import { Value } from '#typebox/value';
import { describe, expect, test } from 'vitest';
import { ACTIVITIES, type ActivityInput, type ActivityOutput } from '#lib/contracts/activities.ts';
import { nextConfiguration } from '#lib/search-space/sampler.ts';
import type { SearchSpace } from '#lib/search-space/search-space.ts';
import type { Trial } from '#lib/search-space/trial.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { generateTrialConfigs } from './generate-trial-configs.ts';
import { selectBestTrial } from './select-best-trial.ts';

const SPACE: SearchSpace = {
  parameters: [
    { name: 'learningRate', type: 'float', min: 1e-5, max: 1e-1, log: true },
    { name: 'lora.r', type: 'categorical', choices: [4, 8, 16] },
  ],
};
const GRID: SearchSpace = {
  parameters: [
    { name: 'r', type: 'categorical', choices: [4, 8] },
    { name: 'layers', type: 'int', min: 1, max: 3 },
  ],
};

type Input = ActivityInput<'generate_trial_configs'>;

const platform = {} as WorkerPlatform;
const context = <I>(input: I, signal = new AbortController().signal): ActivityContext<I> =>
  ({ input, signal, progress: () => undefined }) as unknown as ActivityContext<I>;

async function generate(given: Input): Promise<ActivityOutput<'generate_trial_configs'>> {
  expect(Value.Errors(ACTIVITIES.generate_trial_configs.input, given)).toEqual([]);
  const output = await generateTrialConfigs(platform, context(given));
  expect(Value.Errors(ACTIVITIES.generate_trial_configs.output, output)).toEqual([]);
  return output;
}

/** Better the nearer the learning rate is to 1e-3. */
const completed = (number: number, configuration: Trial['configuration']): Trial => ({
  number,
  configuration,
  outcome: 'completed',
  value: Math.abs(Math.log10(Number(configuration['learningRate'])) + 3),
  lastReport: null,
});

async function historyOf(length: number): Promise<Trial[]> {
  const { configurations } = await generate({
    space: SPACE,
    sampler: { type: 'random' },
    direction: 'minimize',
    seed: 1,
    history: [],
    firstTrial: 0,
    count: length,
  });
  return configurations.map((configuration, number) => completed(number, configuration));
}

describe('generate_trial_configs', () => {
  const tpe = { type: 'tpe', startupTrials: 10, candidates: 24 } as const;

  test('gives what the sampler gives one at a time, each seeing those before it as running', async () => {
    const history = await historyOf(15);
    const given: Input = {
      space: SPACE,
      sampler: tpe,
      direction: 'minimize',
      seed: 3,
      history,
      firstTrial: 15,
      count: 4,
    };
    const output = await generate(given);
    expect(output.exhausted).toBeNull();
    const seen: Trial[] = [...history];
    for (const [at, configuration] of output.configurations.entries()) {
      const { space, sampler, direction, seed } = given;
      const trialNumber = 15 + at;
      const next = nextConfiguration({ space, sampler, direction, seed, history: seen, trialNumber });
      expect(next).toEqual({ ok: true, configuration });
      seen.push({ number: trialNumber, configuration, outcome: 'running', value: null, lastReport: null });
    }
    // Asked for one by one without telling of the others, the last would be another one.
    const blind = await generate({ ...given, firstTrial: 18, count: 1 });
    expect(blind.configurations[0]).not.toEqual(output.configurations[3]);
  });

  test('is a function of its input, and asking in two calls is asking in one', async () => {
    const given: Input = {
      space: SPACE,
      sampler: tpe,
      direction: 'maximize',
      seed: 9,
      history: await historyOf(12),
      firstTrial: 12,
      count: 3,
    };
    const once = await generate(given);
    expect(await generate(given)).toEqual(once);
    const first = await generate({ ...given, count: 1 });
    const running = { number: 12, outcome: 'running', value: null, lastReport: null } as const;
    const history = [...given.history, { ...running, configuration: first.configurations[0] ?? {} }];
    const rest = await generate({ ...given, history, firstTrial: 13, count: 2 });
    expect([...first.configurations, ...rest.configurations]).toEqual(once.configurations);
  });

  test('of a grid ends where the grid ends, and says so', async () => {
    const given: Input = {
      space: GRID,
      sampler: { type: 'grid' },
      direction: 'minimize',
      seed: 1,
      history: [],
      firstTrial: 4,
      count: 10,
    };
    expect(await generate(given)).toEqual({
      configurations: [
        { r: 8, layers: 2 },
        { r: 8, layers: 3 },
      ],
      exhausted: 'GridExhausted',
    });
    expect(await generate({ ...given, count: 2 })).toMatchObject({ exhausted: null });
    expect(await generate({ ...given, firstTrial: 6 })).toEqual({ configurations: [], exhausted: 'GridExhausted' });
  });

  test('refuses a space that means nothing, by field', async () => {
    const space: SearchSpace = { parameters: [{ name: 'x', type: 'float', min: 2, max: 1 }] };
    const given: Input = {
      space,
      sampler: { type: 'random' },
      direction: 'minimize',
      seed: 1,
      history: [],
      firstTrial: 0,
      count: 1,
    };
    const error: unknown = await generateTrialConfigs(platform, context(given)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'ValidationFailed', retryable: false });
    expect(error).toHaveProperty('fields.0.pointer', expect.stringContaining('/parameters/0'));
  });

  test('stops when it is asked to', async () => {
    const given: Input = {
      space: SPACE,
      sampler: { type: 'random' },
      direction: 'minimize',
      seed: 1,
      history: [],
      firstTrial: 0,
      count: 5,
    };
    const stopped = generateTrialConfigs(platform, context(given, AbortSignal.abort(new Error('lease lost'))));
    await expect(stopped).rejects.toThrow('lease lost');
  });
});

describe('select_best_trial', () => {
  const select = async (history: readonly Trial[], direction: 'minimize' | 'maximize' = 'minimize') => {
    const given = { space: SPACE, direction, history: [...history] };
    const output = await selectBestTrial(platform, context(given));
    expect(Value.Errors(ACTIVITIES.select_best_trial.output, output)).toEqual([]);
    return output as ActivityOutput<'select_best_trial'> & {
      importance: { parameter: string; varianceExplained: number | null }[];
      parallelCoordinates: { lines: { trial: number; positions: (number | null)[] }[]; omittedLines: number };
    };
  };

  test('gives the best trial, what mattered, and the data of a picture', async () => {
    const history = await historyOf(40);
    const { best, importance, parallelCoordinates } = await select(history);
    expect(best?.value).toBe(Math.min(...history.map(({ value }) => value ?? Number.POSITIVE_INFINITY)));
    expect(importance[0]?.parameter).toBe('learningRate');
    expect(parallelCoordinates.lines.map(({ trial }) => trial)).toEqual(history.map(({ number }) => number));
    expect(parallelCoordinates.omittedLines).toBe(0);
    for (const position of parallelCoordinates.lines.flatMap(({ positions }) => positions))
      expect(String(position).length).toBeLessThanOrEqual(6);
  });

  test('gives none when nothing completed', async () => {
    const history = (await historyOf(3)).map((trial): Trial => ({ ...trial, outcome: 'failed', value: null }));
    expect((await select(history)).best).toBeNull();
    expect((await select([])).best).toBeNull();
  });

  test('of a huge search leaves out the lines of the worst trials, so that the answer fits', async () => {
    const configuration = { learningRate: 1e-3, 'lora.r': 8 };
    const history = Array.from(
      { length: 4_000 },
      (_, number): Trial => ({ ...completed(number, configuration), value: number }),
    );
    const { best, parallelCoordinates } = await select(history, 'maximize');
    expect(best?.number).toBe(3_999);
    const { lines, omittedLines } = parallelCoordinates;
    expect(lines.length + omittedLines).toBe(4_000);
    expect(omittedLines).toBeGreaterThan(0);
    expect(lines[0]?.trial).toBe(omittedLines);
    expect(JSON.stringify(parallelCoordinates).length).toBeLessThan(200_000);
  });
});
