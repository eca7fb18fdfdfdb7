import { expect, test } from 'vitest';
import { type ModelRegistryHarness, PROJECT, run, withCode } from './model-registry-harness.ts';
import type { MetricPoint, ModelRegistry, RunRecord } from './port.ts';

const curve = (count: number, name = 'loss'): MetricPoint[] =>
  Array.from({ length: count }, (_, step) => ({ name, step, value: 1 / (step + 3) }));

export function runs(registry: () => ModelRegistry): void {
  test('MR-4: a run comes back as given, and the same call again changes nothing', async () => {
    await registry().upsertRun(run('run-a'));
    await registry().upsertRun(run('run-a'));
    expect(await registry().getRun(PROJECT, 'run-a')).toEqual(run('run-a'));
    expect(await registry().getRun('other-project', 'run-a')).toBeNull();
  });

  test('a later call merges params and tags and replaces the addresses', async () => {
    await registry().upsertRun(run('run-b'));
    await registry().upsertRun(
      run('run-b', { params: { batchSize: '8' }, tags: { method: 'full' }, artifactUris: ['x', 'y'] }),
    );
    expect(await registry().getRun(PROJECT, 'run-b')).toEqual(
      run('run-b', {
        params: { learningRate: '0.001', batchSize: '8' },
        tags: { method: 'full' },
        artifactUris: ['x', 'y'],
      }),
    );
  });

  test('a param that changes its value, or another job, is StateConflict and stores nothing', async () => {
    await registry().upsertRun(run('run-c'));
    const changed = run('run-c', { params: { learningRate: '0.1', batchSize: '8' }, tags: { method: 'full' } });
    await expect(registry().upsertRun(changed)).rejects.toEqual(withCode('StateConflict'));
    await expect(registry().upsertRun(run('run-c', { jobId: 'job-2' }))).rejects.toEqual(withCode('StateConflict'));
    expect(await registry().getRun(PROJECT, 'run-c')).toEqual(run('run-c'));
  });

  test('32 racing calls of one run leave one run', async () => {
    await Promise.all(Array.from({ length: 32 }, () => registry().upsertRun(run('run-d'))));
    expect(await registry().getRun(PROJECT, 'run-d')).toEqual(run('run-d'));
  });

  test.each<[string, Partial<RunRecord>, string]>([
    ['a param of 6,001 characters', { params: { long: 'x'.repeat(6_001) } }, '/params/long'],
    ['a param name that MLflow refuses', { params: { 'a/b#': 'x' } }, '/params/a~1b#'],
    ['an empty address', { artifactUris: ['a', ''] }, '/artifactUris/1'],
    ['no job', { jobId: '' }, '/jobId'],
  ])('a run with %s is refused, naming the field', async (_what, changes, pointer) => {
    await expect(registry().upsertRun(run('run-e', changes))).rejects.toMatchObject({
      code: 'ValidationFailed',
      fields: [{ pointer }],
    });
    expect(await registry().getRun(PROJECT, 'run-e')).toBeNull();
  });
}

export function metrics(harness: () => ModelRegistryHarness, registry: () => ModelRegistry): void {
  test('MR-4: points come back by name and step, bit for bit', async () => {
    await registry().upsertRun(run('metrics-a'));
    const values = [0.1, -1.7976931348623157e308, 5e-324, 1 / 3, 0, 123_456_789.123_456_79];
    await registry().logMetrics(PROJECT, 'metrics-a', [
      ...values.map((value, step) => ({ name: 'loss', step: 5 - step, value })),
      { name: 'eval/bits per-byte', step: 10, value: 2 },
    ]);
    expect(await registry().metrics(PROJECT, 'metrics-a')).toEqual([
      { name: 'eval/bits per-byte', step: 10, value: 2 },
      ...values.toReversed().map((value, step) => ({ name: 'loss', step, value })),
    ]);
  });

  test('MR-4: batches of 5,000 points again and again, raced, change nothing', async () => {
    await registry().upsertRun(run('metrics-b'));
    const points = [...curve(5_000), ...curve(5_000, 'accuracy')];
    const batches = [points.slice(0, 5_000), points.slice(5_000), points.slice(2_500, 7_500), points];
    // In opposite orders, so that calls which lock point by point would meet in a deadlock.
    await Promise.all(
      batches.flatMap((batch) => [
        harness().open().logMetrics(PROJECT, 'metrics-b', batch),
        harness().open().logMetrics(PROJECT, 'metrics-b', batch.toReversed()),
      ]),
    );
    for (const batch of batches) await registry().logMetrics(PROJECT, 'metrics-b', batch);
    expect(await registry().metrics(PROJECT, 'metrics-b')).toEqual([...curve(5_000, 'accuracy'), ...curve(5_000)]);
  });

  test('MR-4: the last value of a step wins, in one call and over calls', async () => {
    await registry().upsertRun(run('metrics-c'));
    await registry().logMetrics(PROJECT, 'metrics-c', [
      { name: 'loss', step: 1, value: 1 },
      { name: 'loss', step: 1, value: 2 },
    ]);
    expect(await registry().metrics(PROJECT, 'metrics-c')).toEqual([{ name: 'loss', step: 1, value: 2 }]);
    await registry().logMetrics(PROJECT, 'metrics-c', [{ name: 'loss', step: 1, value: 3 }]);
    expect(await registry().metrics(PROJECT, 'metrics-c')).toEqual([{ name: 'loss', step: 1, value: 3 }]);
  });
}

export function refusedMetrics(registry: () => ModelRegistry): void {
  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'a value of %d is refused with the name and step of the metric, and the whole call stores nothing',
    async (value) => {
      const runId = `metrics-${value}`;
      await registry().upsertRun(run(runId));
      const points = [...curve(3), { name: 'perplexity', step: 7, value }];
      await expect(registry().logMetrics(PROJECT, runId, points)).rejects.toMatchObject({
        code: 'ValidationFailed',
        message: expect.stringContaining('perplexity at step 7') as string,
        fields: [{ pointer: '/3/value' }],
      });
      expect(await registry().metrics(PROJECT, runId)).toEqual([]);
    },
  );

  test('a negative or broken step and a name that MLflow refuses are ValidationFailed', async () => {
    await registry().upsertRun(run('metrics-d'));
    for (const point of [
      { name: 'loss', step: -1, value: 1 },
      { name: 'loss', step: 0.5, value: 1 },
      { name: '', step: 1, value: 1 },
      { name: 'loss#', step: 1, value: 1 },
    ])
      await expect(registry().logMetrics(PROJECT, 'metrics-d', [point])).rejects.toEqual(withCode('ValidationFailed'));
  });

  test('metrics of a run that was never upserted are NotFound; no points are fine', async () => {
    await expect(registry().logMetrics(PROJECT, 'no-run', curve(1))).rejects.toEqual(withCode('NotFound'));
    await registry().upsertRun(run('metrics-e'));
    await registry().logMetrics(PROJECT, 'metrics-e', []);
    expect(await registry().metrics(PROJECT, 'metrics-e')).toEqual([]);
  });
}
