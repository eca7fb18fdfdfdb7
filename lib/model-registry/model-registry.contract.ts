import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Lineage, MetricPoint, ModelRegistry, NewModelVersion, RunRecord } from './port.ts';

/** One empty registry. */
export interface ModelRegistryHarness {
  /** Another client of the same registry, as in another process. */
  open(): ModelRegistry;
  close(): Promise<void>;
}

const PROJECT = 'demo';

const LINEAGE: Lineage = {
  jobId: 'job-1',
  runId: 'run-1',
  datasetName: 'tales',
  datasetVersion: '3',
  datasetDigest: 'd'.repeat(64),
  configDigest: 'c'.repeat(64),
  codeCommit: '0123abc',
  baseModelDigest: 'b'.repeat(64),
  evaluationReportDigest: 'e'.repeat(64),
  manifestDigest: 'f'.repeat(64),
};

const newVersion = (name: string, sourceKey: string, changes: Partial<NewModelVersion> = {}): NewModelVersion => ({
  project: PROJECT,
  name,
  sourceKey,
  manifestKey: `artifacts/${sourceKey}/manifest.json`,
  lineage: { ...LINEAGE, jobId: sourceKey },
  tags: { method: 'lora' },
  ...changes,
});

const run = (runId: string, changes: Partial<RunRecord> = {}): RunRecord => ({
  runId,
  project: PROJECT,
  jobId: 'job-1',
  params: { learningRate: '0.001' },
  tags: { method: 'lora' },
  artifactUris: ['artifacts/job-1/manifest.json'],
  ...changes,
});

const withCode = (code: string): unknown => expect.objectContaining({ code });

/** The rules that every model registry keeps (numbers as in `port.ts`). Every test has models and runs of its own. */
export function modelRegistryContract(name: string, factory: () => Promise<ModelRegistryHarness>): void {
  describe(`model registry contract: ${name}`, () => {
    let harness: ModelRegistryHarness;
    let registry: ModelRegistry;
    beforeAll(async () => {
      harness = await factory();
      registry = harness.open();
    });
    afterAll(() => harness.close());

    versions(() => registry);
    races(
      () => harness,
      () => registry,
    );
    lineage(() => registry);
    stages(() => registry);
    runs(() => registry);
    metrics(
      () => harness,
      () => registry,
    );
    listings(() => registry);

    test('check answers for a registry that serves', async () => {
      await expect(registry.check()).resolves.toBeUndefined();
    });
  });
}

function versions(registry: () => ModelRegistry): void {
  test('MR-2: versions count from 1 in stage dev and come back as they were given', async () => {
    const before = Date.now();
    const first = await registry().createVersion(newVersion('counted', 'a'));
    const { sourceKey: _, ...given } = newVersion('counted', 'a');
    expect(first).toEqual({ ...given, version: 1, stage: 'dev', createdAt: first.createdAt });
    expect(new Date(first.createdAt).toISOString()).toBe(first.createdAt);
    expect(Math.abs(Date.parse(first.createdAt) - before)).toBeLessThan(60_000);
    expect(await registry().createVersion(newVersion('counted', 'b'))).toMatchObject({ version: 2, stage: 'dev' });
    expect(await registry().createVersion(newVersion('other', 'a'))).toMatchObject({ version: 1 });
    expect(await registry().createVersion(newVersion('counted', 'a', { project: 'other' }))).toMatchObject({
      version: 1,
    });
    expect(await registry().getVersion(PROJECT, 'counted', 1)).toEqual(first);
  });

  test('MR-1: a known source key gives back the existing version unchanged', async () => {
    const first = await registry().createVersion(newVersion('retried', 'a'));
    await registry().setStage(PROJECT, 'retried', 1, 'staging');
    const again = newVersion('retried', 'a', { manifestKey: 'other/manifest.json', tags: {} });
    expect(await registry().createVersion(again)).toEqual({ ...first, stage: 'staging' });
    expect(await registry().createVersion(newVersion('retried', 'b'))).toMatchObject({ version: 2 });
  });

  test('what does not exist is null', async () => {
    await registry().createVersion(newVersion('known', 'a'));
    expect(await registry().getVersion(PROJECT, 'known', 2)).toBeNull();
    expect(await registry().getVersion(PROJECT, 'known', 0)).toBeNull();
    expect(await registry().getVersion(PROJECT, 'unknown', 1)).toBeNull();
    expect(await registry().getVersion('other-project', 'known', 1)).toBeNull();
    expect(await registry().resolve(PROJECT, 'unknown', 'latest')).toBeNull();
    expect(await registry().getRun(PROJECT, 'unknown')).toBeNull();
    expect(await registry().metrics(PROJECT, 'unknown')).toEqual([]);
  });

  test('setTags merges into the tags of one version, and says NotFound', async () => {
    await registry().createVersion(newVersion('tagged', 'a'));
    await registry().createVersion(newVersion('tagged', 'b'));
    const tagged = await registry().setTags(PROJECT, 'tagged', 1, { reviewed: 'yes', method: 'full' });
    expect(tagged.tags).toEqual({ method: 'full', reviewed: 'yes' });
    expect(await registry().getVersion(PROJECT, 'tagged', 1)).toEqual(tagged);
    expect((await registry().getVersion(PROJECT, 'tagged', 2))?.tags).toEqual({ method: 'lora' });
    await expect(registry().setTags(PROJECT, 'tagged', 3, { a: 'b' })).rejects.toEqual(withCode('NotFound'));
  });
}

function races(harness: () => ModelRegistryHarness, registry: () => ModelRegistry): void {
  test('MR-1: 32 racing calls with one source key make one version', async () => {
    const clients = [harness().open(), harness().open()];
    const created = await Promise.all(
      Array.from({ length: 32 }, (_, n) => (clients[n % 2] ?? registry()).createVersion(newVersion('raced', 'same'))),
    );
    expect(new Set(created.map(({ version }) => version))).toEqual(new Set([1]));
    expect(await registry().listVersions(PROJECT, 'raced', { limit: 10 })).toHaveLength(1);
  });

  test('MR-2: 16 racing calls with different source keys make versions 1 to 16', async () => {
    const clients = [harness().open(), harness().open()];
    const created = await Promise.all(
      Array.from({ length: 16 }, (_, n) =>
        (clients[n % 2] ?? registry()).createVersion(newVersion('gapless', `s${n}`)),
      ),
    );
    const numbers = created.map(({ version }) => version).sort((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: 16 }, (_, n) => n + 1));
    for (const version of created)
      expect(await registry().getVersion(PROJECT, 'gapless', version.version)).toEqual(version);
  });

  test('MR-2: racing calls that are half retries leave no gap', async () => {
    const keys = Array.from({ length: 24 }, (_, n) => `s${n % 6}`);
    const created = await Promise.all(keys.map((key) => harness().open().createVersion(newVersion('mixed', key))));
    expect(new Set(created.map(({ version }) => version))).toEqual(new Set([1, 2, 3, 4, 5, 6]));
  });

  test('MR-5: racing promotions of eight versions leave one in prod and the others archived or as they were', async () => {
    for (let n = 1; n <= 8; n++) await registry().createVersion(newVersion('promoted', `s${n}`));
    const promotions = Array.from({ length: 8 }, (_, n) =>
      harness()
        .open()
        .setStage(PROJECT, 'promoted', n + 1, 'prod'),
    );
    await Promise.all(promotions);
    const stages = (await registry().listVersions(PROJECT, 'promoted', { limit: 10 })).map(({ stage }) => stage);
    expect(stages.toSorted()).toEqual([...Array.from({ length: 7 }, () => 'archived'), 'prod']);
  });
}

function lineage(registry: () => ModelRegistry): void {
  test.each(Object.keys(LINEAGE) as (keyof Lineage)[])(
    'MR-3: a lineage without %s is refused and stores nothing',
    async (field) => {
      for (const value of ['', '  ', undefined, null]) {
        const broken = { ...LINEAGE, [field]: value } as Lineage;
        const creation = registry().createVersion(newVersion('no-lineage', 'a', { lineage: broken }));
        await expect(creation).rejects.toMatchObject({
          code: 'ValidationFailed',
          fields: [{ pointer: `/lineage/${field}` }],
        });
      }
      expect(await registry().listVersions(PROJECT, 'no-lineage', { limit: 10 })).toEqual([]);
      expect((await registry().listModels(PROJECT, { limit: 1_000 })).map((model) => model.name)).not.toContain(
        'no-lineage',
      );
    },
  );

  test.each<[string, Partial<NewModelVersion>, string]>([
    ['no source key', { sourceKey: '' }, '/sourceKey'],
    ['no manifest key', { manifestKey: '' }, '/manifestKey'],
    ['no project', { project: '' }, '/project'],
    ['a slash in its name', { name: 'org/name' }, '/name'],
    ['a tag of 5,001 characters', { tags: { big: 'x'.repeat(5_001) } }, '/tags/big'],
    ['a tag name that MLflow refuses', { tags: { 'a#b': 'x' } }, '/tags/a#b'],
  ])('a version with %s is refused, naming the field', async (_what, changes, pointer) => {
    await expect(registry().createVersion(newVersion('invalid', 'a', changes))).rejects.toMatchObject({
      code: 'ValidationFailed',
      fields: [{ pointer }],
    });
  });
}

function stages(registry: () => ModelRegistry): void {
  test('MR-5: promoting to prod archives the former one, and again changes nothing', async () => {
    for (const key of ['a', 'b']) await registry().createVersion(newVersion('staged', key));
    await registry().setStage(PROJECT, 'staged', 1, 'prod');
    const promoted = await registry().setStage(PROJECT, 'staged', 2, 'prod');
    expect(promoted).toMatchObject({ version: 2, stage: 'prod' });
    expect(await registry().getVersion(PROJECT, 'staged', 1)).toMatchObject({ stage: 'archived' });
    expect(await registry().setStage(PROJECT, 'staged', 2, 'prod')).toEqual(promoted);
    expect(await registry().getVersion(PROJECT, 'staged', 1)).toMatchObject({ stage: 'archived' });
    // Rollback: the previous one is promoted back.
    expect(await registry().setStage(PROJECT, 'staged', 1, 'prod')).toMatchObject({ version: 1, stage: 'prod' });
    expect(await registry().getVersion(PROJECT, 'staged', 2)).toMatchObject({ stage: 'archived' });
  });

  test('stages of other models are untouched', async () => {
    for (const name of ['one', 'two']) {
      await registry().createVersion(newVersion(name, 'a'));
      await registry().setStage(PROJECT, name, 1, 'prod');
    }
    expect(await registry().resolve(PROJECT, 'one', 'prod')).toMatchObject({ stage: 'prod' });
  });

  test('an alias is a stage (its newest version) or latest; anything else is null', async () => {
    for (const key of ['a', 'b', 'c', 'd']) await registry().createVersion(newVersion('alias', key));
    await registry().setStage(PROJECT, 'alias', 2, 'prod');
    await registry().setStage(PROJECT, 'alias', 1, 'staging');
    const resolved = async (alias: string): Promise<number | undefined> =>
      (await registry().resolve(PROJECT, 'alias', alias))?.version;
    expect(await resolved('dev')).toBe(4);
    expect(await resolved('staging')).toBe(1);
    expect(await resolved('prod')).toBe(2);
    expect(await resolved('latest')).toBe(4);
    expect(await resolved('archived')).toBeUndefined();
    for (const alias of ['Prod', 'v1', '1', '', 'champion']) expect(await resolved(alias)).toBeUndefined();
    await registry().setStage(PROJECT, 'alias', 4, 'archived');
    expect(await resolved('dev')).toBe(3);
    expect(await resolved('latest')).toBe(4);
  });

  test('a stage of an absent version is NotFound and archives nothing; an unknown stage is ValidationFailed', async () => {
    await registry().createVersion(newVersion('absent', 'a'));
    await registry().setStage(PROJECT, 'absent', 1, 'prod');
    await expect(registry().setStage(PROJECT, 'absent', 2, 'prod')).rejects.toEqual(withCode('NotFound'));
    await expect(registry().setStage(PROJECT, 'no-model', 1, 'prod')).rejects.toEqual(withCode('NotFound'));
    expect(await registry().getVersion(PROJECT, 'absent', 1)).toMatchObject({ stage: 'prod' });
    const unknown = registry().setStage(PROJECT, 'absent', 1, 'production' as 'prod');
    await expect(unknown).rejects.toEqual(withCode('ValidationFailed'));
  });
}

function runs(registry: () => ModelRegistry): void {
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

function metrics(harness: () => ModelRegistryHarness, registry: () => ModelRegistry): void {
  const curve = (count: number, name = 'loss'): MetricPoint[] =>
    Array.from({ length: count }, (_, step) => ({ name, step, value: 1 / (step + 3) }));

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
    await Promise.all(batches.map((batch) => harness().open().logMetrics(PROJECT, 'metrics-b', batch.toReversed())));
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

function listings(registry: () => ModelRegistry): void {
  test('models are listed by name in pages, with their newest version', async () => {
    const project = 'listed';
    for (const name of ['b', 'a-1', 'a', 'a.1', 'a1', 'B'])
      await registry().createVersion(newVersion(name, 'x', { project }));
    await registry().createVersion(newVersion('a', 'y', { project }));
    const all = await registry().listModels(project, { limit: 1_000 });
    expect(all.map(({ name }) => name)).toEqual(['B', 'a', 'a-1', 'a.1', 'a1', 'b']);
    expect(all[1]).toEqual({ name: 'a', latestVersion: 2, versions: 2 });
    const first = await registry().listModels(project, { limit: 4 });
    const rest = await registry().listModels(project, { limit: 4, after: first.at(-1)?.name ?? '' });
    expect([...first, ...rest]).toEqual(all);
    expect(await registry().listModels('nobody', { limit: 10 })).toEqual([]);
  });

  test('versions are listed newest first in pages', async () => {
    for (let n = 1; n <= 7; n++) await registry().createVersion(newVersion('paged', `s${n}`));
    const numbers = async (page: { limit: number; before?: number }): Promise<number[]> =>
      (await registry().listVersions(PROJECT, 'paged', page)).map(({ version }) => version);
    expect(await numbers({ limit: 3 })).toEqual([7, 6, 5]);
    expect(await numbers({ limit: 3, before: 5 })).toEqual([4, 3, 2]);
    expect(await numbers({ limit: 3, before: 2 })).toEqual([1]);
    expect(await numbers({ limit: 3, before: 1 })).toEqual([]);
  });

  test.each([0, -1, 1.5, 1_001])('a page of %d is ValidationFailed', async (limit) => {
    await expect(registry().listModels(PROJECT, { limit })).rejects.toEqual(withCode('ValidationFailed'));
    await expect(registry().listVersions(PROJECT, 'x', { limit })).rejects.toEqual(withCode('ValidationFailed'));
  });
}
