import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ActivityInput } from '#lib/contracts/activities.ts';
import { uploadFolder } from '#lib/object-store/manifest.ts';
import { type CpuLane, cpuLane } from './cpu-lane-harness.ts';

let lane: CpuLane;
beforeEach(async () => {
  lane = await cpuLane();
});
afterEach(() => lane.close());

async function input(change: Partial<ActivityInput<'register_model'>> = {}): Promise<ActivityInput<'register_model'>> {
  const folder = await mkdtemp(join(tmpdir(), 'trainyard-model-'));
  await writeFile(join(folder, 'config.json'), '{"n_layer":1,"n_head":2,"n_embd":32,"n_positions":64}');
  const createdBy = { jobId: 'job-1', activity: 'run_training', epoch: 1 };
  const { manifestKey, digest } = await uploadFolder(lane.store, folder, 'artifacts/demo/job-1/output-e1', {
    createdBy,
  });
  await rm(folder, { recursive: true });
  return {
    jobId: 'job-1',
    project: 'demo',
    name: 'tales',
    runId: 'run-job-1',
    technique: 'full',
    artifacts: { manifestKey, digest },
    dataset: {
      name: 'news',
      version: 4,
      format: 'jsonl_text',
      key: 'datasets/demo/news/x',
      sha256: 'd'.repeat(64),
      bytes: 10,
    },
    base: { kind: 'config', config: { layers: 1, heads: 2, embeddingSize: 32, contextLength: 64 } },
    configDigest: 'c'.repeat(64),
    codeCommit: '0123abc',
    report: { key: 'reports/r.json', digest: 'e'.repeat(64) },
    vocabularySize: 300,
    ...change,
  };
}

const tagsOf = (version: number) => lane.registry.versions.get(`demo/tales/${version}`)?.tags;

test('a version says which dataset file it was trained on', async () => {
  const { version } = await lane.run('register_model', await input());
  expect(tagsOf(version)).toEqual({
    technique: 'full',
    'trainyard.job': 'job-1',
    'trainyard.datasetKey': 'datasets/demo/news/x',
    'trainyard.datasetFormat': 'jsonl_text',
    architecture: '{"layers":1,"heads":2,"embeddingSize":32,"contextLength":64,"vocabularySize":300}',
  });
});

test('a version of a retrain also says which rows it knows', async () => {
  const rowManifest = { key: 'datasets-assembled/demo/a/rows.txt', digest: 'a'.repeat(64) };
  const { version } = await lane.run('register_model', await input({ rowManifest }));
  expect(tagsOf(version)).toMatchObject({
    'trainyard.rowManifestKey': rowManifest.key,
    'trainyard.rowManifestDigest': rowManifest.digest,
  });
});

test('what the tags say is what an incremental retrain reads', async () => {
  const body = Buffer.from('{"text":"one"}\n{"text":"two"}\n');
  const stored = await lane.store.put('datasets/demo/news/y', body);
  const dataset = {
    name: 'news',
    version: 4,
    format: 'jsonl_text',
    key: stored.key,
    sha256: stored.sha256,
    bytes: body.length,
  } as const;
  const first = {
    jobId: 'job-1',
    project: 'demo',
    dataset,
    mode: 'full',
    minimumRows: 1,
    exclude: [],
    former: null,
  } as const;
  const assembled = await lane.run('assemble_training_data', { ...first, exclude: [] });
  const { version } = await lane.run(
    'register_model',
    await input({ dataset: assembled.dataset, rowManifest: assembled.rowManifest }),
  );
  const again = lane.run('assemble_training_data', {
    ...first,
    exclude: [],
    mode: 'incremental',
    former: { name: 'tales', version },
  });
  await expect(again).rejects.toMatchObject({ code: 'TooFewTrainingRows', details: { rows: 0, knownRows: 2 } });
});
