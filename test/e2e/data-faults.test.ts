import { chmod, realpath, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { e2ePlatform, SCRIPTED_TRAINER } from '../support/e2e/platform.ts';
import { errorOf, type Job, type RestClient } from '../support/e2e/rest-client.ts';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';

const get = e2ePlatform({ overrides: { 'gpu-worker': { TRAINER_COMMAND: SCRIPTED_TRAINER } } });

const PROJECT = 'faulty-data';
let client: RestClient;
beforeAll(async () => {
  client = await get().project(PROJECT);
});

const texts = (...all: readonly string[]): string => all.map((text) => JSON.stringify({ text })).join('\n');
/** Different documents of some 70 characters, as lines of JSON. */
const rows = (count: number): string[] =>
  Array.from({ length: count }, (_, n) => texts(`document ${n}: ${`${n} carriages `.repeat(5)}`));
const withLines = (lines: Readonly<Record<number, string>>): string =>
  rows(40)
    .map((row, index) => lines[index + 1] ?? row)
    .join('\n');
const enough = 'a line of text that is long enough to be kept by every filter there is\n'.repeat(20);

const CRUMBS = Array.from({ length: 300 }, (_, n) => `short ${n}`);

type Fault = readonly [what: string, code: string, message: RegExp, format: string, body: string | Uint8Array];

const FAULTS: readonly Fault[] = [
  ['has no bytes', 'DatasetEmpty', /no bytes/, 'text', ''],
  ['is white space', 'DatasetEmpty', /no document with text/, 'text', ' \n\n\t\n \n\n'],
  ['is one document', 'DatasetTooSmall', /1 documents, at least 2 are needed/, 'text', enough],
  ['is two words', 'DatasetTooSmall', /6 characters, at least 1000 are needed/, 'jsonl_text', texts('one', 'two')],
  ['is compressed', 'DatasetBinary', /looks like gzip/, 'text', Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3, 4])],
  ['holds a zero byte', 'DatasetBinary', /zero byte at offset 7/, 'text', 'a text \u0000 with a hole'],
  [
    'is no UTF-8',
    'DatasetInvalidUtf8',
    /^line 3 is not UTF-8$/,
    'text',
    Buffer.from('first\n\n\xc3(\n\nlast', 'latin1'),
  ],
  ['says one thing', 'DatasetDuplicateOnly', /all 2 documents are the same/, 'jsonl_text', texts(enough, enough)],
  ['is one long line', 'DatasetTooLarge', /line 1 is longer than 16777216 bytes/, 'text', 'x'.repeat(16_777_217)],
  ['is no pairs', 'DatasetMalformedLine', /^9 of 9 .* line 1: "prompt"/, 'jsonl_prompt_completion', rows(9).join('\n')],
  ['is crumbs', 'DatasetNothingKept', /none of 300 documents is kept/, 'jsonl_text', texts(...CRUMBS)],
];

/** Tried once, for good, on the CPU lane; costs nothing and leaves nothing. */
const ONCE_AND_FREE = {
  retryable: false,
  attempt: { lane: 'cpu', state: 'failed', epoch: 1, failures: 1 },
  trained: false,
  result: null,
  gpuSecondsReserved: 0,
};

/** How the job ends FAILED. */
async function refusal({ id }: Job) {
  const failed = await client.finishedAs(id, 'FAILED');
  const activities = await client.activities(id);
  return {
    ...errorOf(failed),
    attempt: activities.at(-1),
    trained: activities.some(({ name }) => name === 'run_training'),
    result: failed.result,
    gpuSecondsReserved: (await client.budget()).gpuSecondsReserved,
  };
}

describe('a dataset that', () => {
  it.each(FAULTS)('%s ends the job FAILED with %s, after one attempt', async (what, code, message, format, body) => {
    const dataset = what.replaceAll(' ', '-').toLowerCase();
    await client.upload(dataset, body, format);
    const job = await client.submit(tinyJob({ key: dataset, dataset }));
    expect(await refusal(job)).toMatchObject({ code, message: expect.stringMatching(message), ...ONCE_AND_FREE });
  });

  it('has malformed lines ends the job with the number and the fault of each in its answer', async () => {
    await client.upload('bad-lines', withLines({ 7: '{"text": ', 19: '{"txt": "a"}', 40: '"text"' }), 'jsonl_text');
    const refused = await refusal(await client.submit(tinyJob({ key: 'bad-lines', dataset: 'bad-lines' })));
    const message = expect.stringMatching(/^3 of 40 lines are malformed; the first is line 7: /);
    expect(refused).toMatchObject({ code: 'DatasetMalformedLine', message, ...ONCE_AND_FREE });
    expect(refused.logTail.map((line) => line.split(':')[0])).toEqual(['/lines/7', '/lines/19', '/lines/40']);
  });

  it('is gone from the object store ends the job with DatasetMissing', async () => {
    await rm(await storedFile('gone'));
    const refused = await refusal(await client.submit(tinyJob({ key: 'gone', dataset: 'gone' })));
    const message = 'dataset gone/1 is not in the object store';
    expect(refused).toMatchObject({ code: 'DatasetMissing', message, ...ONCE_AND_FREE });
  });

  it('was damaged in the object store is never read as it is: ChecksumMismatch, after three attempts', async () => {
    const file = await realpath(await storedFile('damaged'));
    await chmod(file, 0o600);
    await truncate(file, 1_000);
    const refused = await refusal(await client.submit(tinyJob({ key: 'damaged', dataset: 'damaged' })));
    expect(refused).toMatchObject({
      code: 'ChecksumMismatch',
      attempt: { name: 'validate_dataset', epoch: 3, failures: 3 },
      trained: false,
    });
  });

  it('was mended trains under a new version, and the old one fails as before', async () => {
    await client.upload('mended', 'too short');
    await client.upload('mended', rows(60).join('\n'), 'jsonl_text');
    const old = tinyJob({ key: 'mended-old', dataset: 'mended', spec: { dataset: { name: 'mended', version: 1 } } });
    expect(await refusal(await client.submit(old))).toMatchObject({ code: 'DatasetTooSmall', ...ONCE_AND_FREE });
    const job = await client.submit(tinyJob({ key: 'mended', dataset: 'mended' }));
    expect(await client.finished(job.id)).toMatchObject({ status: 'COMPLETED', error: null });
  });
});

/** A good dataset of that name, and where its bytes lie. */
async function storedFile(dataset: string): Promise<string> {
  // Other bytes than any other dataset: the workers keep what they fetched by its digest.
  await client.upload(dataset, `${enough}\n\n${rows(60).join('\n\n')}\n\n${dataset}`);
  for await (const { key } of get().store.list(`datasets/${PROJECT}/${dataset}/`))
    return join(get().home.objects, 'objects', key);
  throw new Error(`${dataset} is not stored`);
}
