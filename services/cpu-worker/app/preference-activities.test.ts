import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { TokenRowFormat } from '#lib/contracts/preference-dataset.ts';
import { readTokenRows } from '#lib/datasets/row-folder-reader.ts';
import { FileObjectStore } from '#lib/object-store/file-store.ts';
import { downloadFolder, uploadFolder } from '#lib/object-store/manifest.ts';
import { bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { loadTokenizer, tokenizerJson } from '#lib/text/tokenizer.ts';
import type { Activity, ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { cpuActivities } from './activities.ts';

const WORDS = ['calm', 'storm', 'whale', 'ship', 'captain', 'harbour', 'sail', 'wind'];
const json = trainedTokenizer();
const tokenizer = loadTokenizer(json);

let root: string;
let store: FileObjectStore;
let activities: Record<string, Activity>;
let base: ActivityInput<'preprocess_preferences'>['base'];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'trainyard-preferences-'));
  store = new FileObjectStore({ root: join(root, 'objects') });
  const platform: Omit<WorkerPlatform, 'registry' | 'log'> = { store, workspaceDir: root, workspaceMarginBytes: 0 };
  const log = { info: () => undefined, warn: () => undefined };
  // These activities ask no registry.
  activities = cpuActivities({ ...platform, log } as unknown as WorkerPlatform, {
    stages: () => Promise.resolve(new Map()),
  });
  const folder = await mkdtemp(join(root, 'base-'));
  await writeFile(join(folder, 'tokenizer.json'), json);
  const createdBy = { jobId: 'earlier', activity: 'a', epoch: 1 };
  const { manifestKey, digest } = await uploadFolder(store, folder, 'base', { createdBy });
  base = { name: 'base', version: 1, weights: { manifestKey, digest } };
});

afterAll(() => rm(root, { recursive: true, force: true }));

function trainedTokenizer(): string {
  const trainer = bpeTrainer();
  for (const a of WORDS) for (const b of WORDS) trainer.add(`The ${a} and the ${b}.`);
  return tokenizerJson(trainer.train(300));
}

/** Rows of all four shapes, 24 prompts with two pairs each. */
function goodRows(): object[] {
  return Array.from({ length: 48 }, (_, at) => {
    const subject = `${WORDS[at % 8]} and the ${WORDS[(at * 3 + Math.floor(at / 8)) % 8]} ${at % 24}`;
    const [good, bad] = [`good ${at}`, `bad ${at}`];
    const asked = { role: 'user', content: `Tell of the ${subject}` };
    const answer = (content: string) => ({ role: 'assistant', content });
    switch (at % 4) {
      case 0:
        return { prompt: `The ${subject}`, chosen: ` ${good}`, rejected: ` ${bad}` };
      case 1:
        return { chosen: `The ${subject} ${good}`, rejected: `The ${subject} ${bad}` };
      case 2:
        return { prompt: [asked], chosen: [answer(good)], rejected: [answer(bad)] };
      default:
        return { chosen: [asked, answer(good)], rejected: [asked, answer(bad)] };
    }
  });
}

async function dataset(rows: readonly unknown[], format = 'jsonl_preferences') {
  const body = rows.map((row) => `${typeof row === 'string' ? row : JSON.stringify(row)}\n`).join('');
  const sha256 = createHash('sha256').update(body).digest('hex');
  const key = `datasets/${sha256}`;
  await store.put(key, Buffer.from(body), { sha256 });
  return { name: 'pairs', version: 1, format, key, sha256, bytes: body.length };
}

async function run<Output>(
  name: 'validate_preference_data' | 'preprocess_preferences',
  input: unknown,
  change: Partial<ActivityContext> = {},
): Promise<Output> {
  const activity = activities[name];
  if (activity?.input === undefined || activity.output === undefined) throw new Error(`no activity ${name}`);
  expect(Value.Errors(activity.input, input)).toEqual([]);
  const output = await activity.run({
    workflowId: 'w',
    activityId: name,
    epoch: 1,
    jobId: 'job',
    project: 'demo',
    input,
    resume: null,
    signal: new AbortController().signal,
    progress: () => undefined,
    metrics: () => undefined,
    checkpointSaved: () => undefined,
    ...change,
  });
  expect(Value.Errors(activity.output, output)).toEqual([]);
  return output as Output;
}

const CONFIG = { validationFraction: 0.25, seed: 3 };
const validate = (preferences: unknown, change: Partial<ActivityContext> = {}) =>
  run<ActivityOutput<'validate_preference_data'>>('validate_preference_data', { preferences, config: CONFIG }, change);
const preprocess = (preferences: unknown, change: Partial<ActivityContext> = {}) =>
  run<ActivityOutput<'preprocess_preferences'>>(
    'preprocess_preferences',
    { preferences, base, config: CONFIG },
    change,
  );

describe('validate_preference_data', () => {
  test('counts pairs, prompts and splits of all shapes, tells its progress, and says what is allowed', async () => {
    const rows = goodRows();
    const preferences = await dataset(rows);
    const steps: number[] = [];
    const found = await validate(preferences, { progress: ({ step }) => steps.push(step) });
    expect(found).toMatchObject({ pairs: 48, sha256: preferences.sha256 });
    expect(found.trainPairs + found.validationPairs).toBe(48);
    expect(found.validationPairs).toBeGreaterThan(0);
    expect(found.warnings.find(({ kind }) => kind === 'mixedShapes')).toMatchObject({ count: 36 });
    expect(steps.at(-1)).toBe(preferences.bytes);
  });

  test('fails for good, once, with every bad row and its number', async () => {
    const pair = { prompt: 'The ship', chosen: ' sails', rejected: ' sinks' };
    const rows = [
      ...goodRows(),
      '{"prompt":',
      { ...pair, rejected: pair.chosen },
      pair,
      pair,
      { ...pair, chosen: pair.rejected, rejected: pair.chosen },
      { ...pair, prompt: '' },
      { ...pair, chosen: '' },
      { chosen: [{ role: 'user', content: 'a' }], rejected: [{ role: 'user', content: 'b' }] },
    ];
    const error: unknown = await validate(await dataset(rows)).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: 'PreferenceDataInvalid',
      retryable: false,
      message:
        '7 of 56 rows cannot be used: malformed 1 (row 49); wrongRoles 1 (row 56); emptyPrompt 1 (row 54); ' +
        'emptyCompletion 1 (row 55); equalPair 1 (row 50); duplicatePair 1 (row 52); swappedPair 1 (row 53)',
    });
    const { fields } = error as { fields: { pointer: string; message: string }[] };
    expect(fields).toHaveLength(7);
    expect(fields).toContainEqual({ pointer: '/lines/52', message: 'duplicatePair: the pair of row 51 again' });
  });

  test('refuses other formats, other bytes and missing files', async () => {
    const text = await dataset(['some text'], 'text');
    await expect(validate(text)).rejects.toMatchObject({ code: 'DatasetFormatUnfit' });
    const good = await dataset(goodRows());
    await expect(validate({ ...good, key: 'datasets/nowhere', sha256: '0'.repeat(64) })).rejects.toMatchObject({
      code: 'DatasetMissing',
    });
  });
});

describe('preprocess_preferences', () => {
  async function read(stored: { manifestKey: string; digest: string }, format: TokenRowFormat) {
    const dir = await mkdtemp(join(root, 'read-'));
    await downloadFolder(store, stored.manifestKey, dir, { expectedDigest: stored.digest });
    const data = await readTokenRows(dir, format);
    const rows = (['train', 'validation'] as const).flatMap((split) =>
      Array.from({ length: data[split].count }, (_, row) => data[split].at(row).map((part) => tokenizer.decode(part))),
    );
    return { ...data, rows };
  }

  test('writes pairs and prompts with the tokenizer of the base, as the trainer reads them', async () => {
    const rows = goodRows();
    const preferences = await dataset(rows);
    const output = await preprocess(preferences);
    const found = await validate(preferences);
    expect(output).toMatchObject({
      trainPairs: found.trainPairs,
      validationPairs: found.validationPairs,
      vocabularySize: tokenizer.vocabularySize,
    });
    const pairs = await read(output.pairs, 'trainyard-preferences/1');
    expect(pairs.tokenizerJson).toBe(json);
    expect(pairs.description.sourceDigest).toBe(preferences.sha256);
    expect(pairs.rows).toHaveLength(48);
    // Row 1 is written out in full, row 3 is a conversation.
    const end = tokenizer.decode([tokenizer.endOfTextId]);
    const { prompt, chosen, rejected } = rows[0] as { prompt: string; chosen: string; rejected: string };
    expect(pairs.rows).toContainEqual([prompt, chosen + end, rejected + end]);
    const [{ content }] = (rows[2] as { prompt: [{ content: string }] }).prompt;
    expect(pairs.rows).toContainEqual([`User: ${content}\n\nAssistant:`, ` good 2${end}`, ` bad 2${end}`]);

    const prompts = await read(output.prompts, 'trainyard-prompts/1');
    expect(prompts.rows).toHaveLength(found.prompts);
    expect(new Set(prompts.rows.flat())).toEqual(new Set(pairs.rows.map(([first]) => first)));
    const all = (data: typeof pairs, split: 'train' | 'validation') =>
      new Set(Array.from({ length: data[split].count }, (_, row) => tokenizer.decode(data[split].at(row)[0] ?? [])));
    expect(all(prompts, 'validation')).toEqual(all(pairs, 'validation'));
    expect([...all(pairs, 'train')].filter((each) => all(pairs, 'validation').has(each))).toEqual([]);
  });

  test('finds the result of another job ready, and two at once store one', async () => {
    const preferences = await dataset([...goodRows(), { prompt: 'One more', chosen: ' yes', rejected: ' no' }]);
    const [a, b] = await Promise.all([
      preprocess(preferences, { jobId: 'job-a' }),
      preprocess(preferences, { jobId: 'job-b' }),
    ]);
    expect(a).toEqual(b);
    // Its file is gone from here and from the store: nothing is read again.
    await store.delete(preferences.key);
    await rm(join(root, 'datasets', preferences.sha256));
    expect(await preprocess(preferences, { jobId: 'job-c' })).toEqual(a);
    expect((await readdir(root)).filter((name) => name.startsWith('preprocess-'))).toEqual([]);
  });

  test('other settings have a result of their own', async () => {
    const preferences = await dataset(goodRows());
    const one = await preprocess(preferences);
    const input = { preferences, base, config: { ...CONFIG, seed: 4 } };
    const other = await run<ActivityOutput<'preprocess_preferences'>>('preprocess_preferences', input);
    expect(other.pairs.manifestKey).not.toBe(one.pairs.manifestKey);
  });

  test('fails as validation does, and leaves nothing behind', async () => {
    const bad = await dataset(['{', ...goodRows()]);
    await expect(preprocess(bad)).rejects.toMatchObject({ code: 'PreferenceDataInvalid' });
    expect((await readdir(root)).filter((name) => name.startsWith('preprocess-'))).toEqual([]);
  });
});
