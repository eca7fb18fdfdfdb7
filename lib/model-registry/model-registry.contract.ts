import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LINEAGE, type ModelRegistryHarness, newVersion, PROJECT, withCode } from './model-registry-harness.ts';
import { metrics, refusedMetrics, runs } from './model-registry-runs.contract.ts';
import { type Lineage, type ModelRegistry, type NewModelVersion, OPTIONAL_LINEAGE } from './port.ts';

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
    refusedMetrics(() => registry);
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

  test('MR-3: what only aligned models have comes back when it was given, and is absent when not', async () => {
    const aligned = { ...LINEAGE, rewardModelDigest: 'a'.repeat(64), safetyReportDigest: '9'.repeat(64) };
    const { rewardModelDigest: _, ...dpo } = aligned;
    for (const [key, given] of Object.entries({ ppo: aligned, dpo, plain: LINEAGE })) {
      const created = await registry().createVersion(newVersion('aligned', key, { lineage: given }));
      expect(created.lineage).toEqual(given);
      expect((await registry().getVersion(PROJECT, 'aligned', created.version))?.lineage).toEqual(given);
    }
  });

  test.each(OPTIONAL_LINEAGE)('MR-3: an empty %s is refused and stores nothing', async (field) => {
    for (const value of ['', '  ', null]) {
      const lineage = { ...LINEAGE, [field]: value } as Lineage;
      await expect(registry().createVersion(newVersion('not-aligned', 'a', { lineage }))).rejects.toMatchObject({
        code: 'ValidationFailed',
        fields: [{ pointer: `/lineage/${field}` }],
      });
    }
    expect(await registry().listVersions(PROJECT, 'not-aligned', { limit: 10 })).toEqual([]);
  });

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
