import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { DatasetFormat, ResolvedDataset } from '#lib/contracts/jobs.ts';
import { trainingDataTags } from '../domain/training-data-tags.ts';
import { type CpuLane, cpuLane } from './cpu-lane-harness.ts';

type Input = ActivityInput<'assemble_training_data'>;
type Output = ActivityOutput<'assemble_training_data'>;

let lane: CpuLane;
beforeEach(async () => {
  lane = await cpuLane();
});
afterEach(() => lane.close());

async function uploaded(body: string, format: DatasetFormat, name = 'news'): Promise<ResolvedDataset> {
  const bytes = Buffer.from(body);
  const sha256 = sha256Of(bytes);
  const { key } = await lane.store.put(`datasets/demo/${name}/${sha256}`, bytes);
  return { name, version: 4, format, key, sha256, bytes: bytes.length };
}

const sha256Of = (body: string | Uint8Array): string => createHash('sha256').update(body).digest('hex');
const texts = (...all: string[]): Promise<ResolvedDataset> =>
  uploaded(all.map((text) => `${JSON.stringify({ text })}\n`).join(''), 'jsonl_text');

const input = (dataset: ResolvedDataset, change: Partial<Input> = {}): Input => ({
  jobId: 'job-1',
  project: 'demo',
  dataset,
  mode: 'full',
  minimumRows: 1,
  exclude: [],
  former: null,
  ...change,
});

const assemble = (given: Input): Promise<Output> => lane.run('assemble_training_data', given);

const bodyOf = async ({ dataset }: Output): Promise<string> => (await lane.store.get(dataset.key)).toString('utf8');
const rowsIn = async (output: Output): Promise<string[]> =>
  (await bodyOf(output))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { text: string }).text);
const manifestOf = async ({ rowManifest }: Output): Promise<string[]> =>
  (await lane.store.get(rowManifest.key)).toString('utf8').trimEnd().split('\n');

describe('assembled training data', () => {
  test('holds each row of the dataset once, in its order, and a hash of each', async () => {
    const output = await assemble(input(await texts('one', 'two', ' one ', '', 'three')));
    expect(output).toMatchObject({ rows: 3, excludedRows: 0, knownRows: 0 });
    expect(await rowsIn(output)).toEqual(['one', 'two', 'three']);
    expect(await manifestOf(output)).toEqual(['one', 'two', 'three'].map(sha256Of).sort());
    const body = await lane.store.get(output.dataset.key);
    expect(output.dataset).toEqual({
      name: 'news',
      version: 4,
      format: 'jsonl_text',
      key: `datasets-assembled/demo/${sha256Of(body)}/data.jsonl`,
      sha256: sha256Of(body),
      bytes: body.length,
    });
    expect(sha256Of(await lane.store.get(output.rowManifest.key))).toBe(output.rowManifest.digest);
  });

  test('has no row of an excluded set, whatever format and white space it has there', async () => {
    const exclude = [
      await uploaded('one  \r\n\n\nsomething else\n', 'text', 'held-out'),
      await uploaded('{"prompt":"two ","completion":"and a half"}\n', 'jsonl_prompt_completion', 'questions'),
      await texts('e\u0301'),
    ];
    const output = await assemble(input(await texts('one', 'two and a half', 'two', '\u00e9', 'four'), { exclude }));
    expect(await rowsIn(output)).toEqual(['two', 'four']);
    expect(output).toMatchObject({ rows: 2, excludedRows: 3 });
    const manifest = await manifestOf(output);
    for (const row of ['one', 'two and a half', '\u00e9']) expect(manifest).not.toContain(sha256Of(row));
  });

  test('is the same object when an attempt runs twice, and leaves nothing in the workspace but the datasets', async () => {
    const given = input(await texts('one', 'two'), { exclude: [await texts('two')] });
    const first = await assemble(given);
    expect(await assemble(given)).toEqual(first);
    const stored: string[] = [];
    for await (const { key } of lane.store.list('datasets-assembled/')) stored.push(key);
    expect(stored.sort()).toEqual([first.dataset.key, first.rowManifest.key].sort());
    expect(await readdir(join(lane.root, 'workspace'))).toEqual(['datasets']);
  });

  test('of plain text is read again as the same documents', async () => {
    const body = `${'a line of the first document\n'.repeat(90)}\nsecond\n\n\nthird\n\fsecond\n\n\nfourth`;
    const output = await assemble(input(await uploaded(body, 'text'), { exclude: [await texts('third')] }));
    expect(output).toMatchObject({ rows: 3, excludedRows: 1 });
    // Assembled once more it is the same file: its documents are the same.
    const again = await assemble(input(output.dataset));
    expect(again.dataset).toEqual(output.dataset);
    expect(again.rowManifest).toEqual(output.rowManifest);
  });

  test('of prompts and completions keeps where they meet', async () => {
    const body = '{"prompt":"Q: 1+1? A:","completion":" 2","source":"x"}\n';
    const output = await assemble(input(await uploaded(body, 'jsonl_prompt_completion')));
    expect(await bodyOf(output)).toBe('{"prompt":"Q: 1+1? A:","completion":" 2"}\n');
  });

  test('of pairs of preference is refused, and so is a malformed row', async () => {
    await expect(
      assemble(input(await uploaded('{"chosen":"a","rejected":"b"}\n', 'jsonl_preferences'))),
    ).rejects.toMatchObject({
      code: 'DatasetFormatUnfit',
    });
    await expect(assemble(input(await uploaded('{"text":"a"}\n{"txt":1}\n', 'jsonl_text')))).rejects.toMatchObject({
      code: 'DatasetMalformedLine',
    });
  });

  test('with fewer rows than asked for is refused for good, with the figures', async () => {
    const given = input(await texts('one', 'two', 'three'), { exclude: [await texts('one')], minimumRows: 3 });
    await expect(assemble(given)).rejects.toMatchObject({
      code: 'TooFewTrainingRows',
      retryable: false,
      details: { rows: 2, excludedRows: 1, knownRows: 0, minimumRows: 3 },
    });
  });
});

describe('incremental training data', () => {
  const former = { name: 'tales', version: 3 };
  const incremental = (dataset: ResolvedDataset, change: Partial<Input> = {}): Input =>
    input(dataset, { mode: 'incremental', former, ...change });

  test('leaves out the rows of the row manifest of the version in production, and the next ones leave out both', async () => {
    const first = await assemble(input(await texts('one', 'two')));
    register(3, first);
    const second = await assemble(incremental(await texts('one', 'two', 'three')));
    expect(await rowsIn(second)).toEqual(['three']);
    expect(second).toMatchObject({ rows: 1, knownRows: 2 });
    register(4, second);
    const third = await assemble(
      incremental(await texts('one', 'two', 'three', 'four'), { former: { name: 'tales', version: 4 } }),
    );
    expect(await rowsIn(third)).toEqual(['four']);
    expect(await manifestOf(third)).toEqual(['one', 'two', 'three', 'four'].map(sha256Of).sort());
  });

  test('without a row manifest leaves out the rows of the dataset the version was trained on', async () => {
    const old = await uploaded('one\n\n\ntwo\n', 'text', 'old');
    const tags = { 'trainyard.datasetKey': old.key, 'trainyard.datasetFormat': old.format };
    lane.registry.add('tales', 3, { tags, datasetDigest: old.sha256 });
    lane.registry.away = 2;
    expect(await rowsIn(await assemble(incremental(await texts('two', 'three'))))).toEqual(['three']);
  });

  test('of a model without a version is all of it, and so are full data of one that has a version', async () => {
    register(3, await assemble(input(await texts('one'))));
    expect(await rowsIn(await assemble(incremental(await texts('one', 'two'), { former: null })))).toEqual([
      'one',
      'two',
    ]);
    expect(await rowsIn(await assemble(input(await texts('one', 'two'), { former })))).toEqual(['one', 'two']);
  });

  test('of a version that does not say what it was trained on is refused for good', async () => {
    lane.registry.add('tales', 3);
    await expect(assemble(incremental(await texts('one')))).rejects.toMatchObject({
      code: 'TrainingDataUnknown',
      retryable: false,
    });
    await expect(
      assemble(incremental(await texts('one'), { former: { name: 'tales', version: 9 } })),
    ).rejects.toMatchObject({ code: 'NotFound', retryable: false });
  });

  test('of the very file that the version was trained on is nothing', async () => {
    const same = await texts('one', 'two');
    lane.registry.add('tales', 3, { datasetDigest: same.sha256 });
    await expect(assemble(incremental(same))).rejects.toMatchObject({
      code: 'TooFewTrainingRows',
      details: { rows: 0, knownRows: 2 },
    });
  });

  test('with a damaged row manifest is refused', async () => {
    const body = Buffer.from('not a hash\n');
    const { key } = await lane.store.put('datasets-assembled/demo/x/rows.txt', body);
    const tags = { 'trainyard.rowManifestKey': key, 'trainyard.rowManifestDigest': sha256Of(body) };
    lane.registry.add('tales', 3, { tags });
    await expect(assemble(incremental(await texts('one')))).rejects.toMatchObject({ code: 'ManifestInvalid' });
  });

  /** As `register_model` does. */
  function register(version: number, { dataset, rowManifest }: Output): void {
    lane.registry.add('tales', version, {
      tags: trainingDataTags({ dataset, rowManifest }),
      datasetDigest: dataset.sha256,
    });
  }
});
