import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import { chainDocuments, writeDataset } from '../test-support/dataset.ts';
import { temporaryFolder } from '../test-support/program.ts';
import { loadTokenData } from './token-dataset.ts';

const ROWS = [
  { text: 'question? answer', completion: ' answer' },
  { text: 'more? yes', completion: ' yes' },
];

test('shards are read back as they were written, masks with them', async () => {
  await using folder = await temporaryFolder();
  const written = await writeDataset(folder.path, { train: ROWS, validation: ROWS.slice(1) });
  const data = await loadTokenData(folder.path);
  expect(data.train.ids).toEqual(written.train);
  expect(data.validation.ids).toEqual(written.validation);
  const counted = [...data.train.ids].filter((_, index) => data.train.mask?.[index] === 1);
  const end = written.tokenizer.endOfTextId;
  expect(counted).toEqual([...written.tokenizer.encode(' answer'), end, ...written.tokenizer.encode(' yes'), end]);
  expect(data.tokenizerJson).toBe(await readFile(join(folder.path, 'tokenizer.json'), 'utf8'));
});

test('several shards are one text in their order', async () => {
  await using folder = await temporaryFolder();
  const written = await writeDataset(folder.path, { train: chainDocuments(4, 1), validation: [] });
  await change(folder.path, async (description) => {
    const bytes = await readFile(join(folder.path, 'train-00000.bin'));
    const cut = 20;
    const parts = [bytes.subarray(0, 2 * cut), bytes.subarray(2 * cut)];
    description.splits.train.shards = [];
    for (const [index, part] of parts.entries()) {
      const file = `part-${index}.bin`;
      await writeFile(join(folder.path, file), part);
      description.splits.train.shards.push({ file, tokens: part.length / 2, sha256: sha256(part) });
    }
  });
  const data = await loadTokenData(folder.path);
  expect(data.train.ids).toEqual(written.train);
  expect(data.validation.ids).toHaveLength(0);
});

describe('damaged data are refused', () => {
  const cases: Record<string, (dir: string) => Promise<void>> = {
    'dataset.json is not JSON': (dir) => writeFile(join(dir, 'dataset.json'), '{'),
    'dataset.json of another format': (dir) =>
      change(dir, (description) => {
        Object.assign(description, { format: 'trainyard-tokens/9' });
      }),
    'another tokenizer': (dir) => writeFile(join(dir, 'tokenizer.json'), '{}'),
    'a split that says another number of tokens': (dir) =>
      change(dir, (description) => {
        description.splits.train.tokens += 1;
      }),
    'a shard of another size': async (dir) => {
      const path = join(dir, 'train-00000.bin');
      await writeFile(path, Buffer.concat([await readFile(path), Buffer.alloc(2)]));
    },
    'an id outside the vocabulary': (dir) =>
      change(dir, (description) => {
        description.tokenizer.vocabularySize = 257;
      }),
    'mask bytes other than 0 and 1': async (dir) => {
      const path = join(dir, 'train-00000.mask.bin');
      await writeFile(
        path,
        (await readFile(path)).map(() => 2),
      );
    },
    'a masked shard without a mask file': (dir) =>
      change(dir, (description) => {
        for (const shard of description.splits.train.shards) delete shard.maskFile;
      }),
    'an absolute shard path': (dir) =>
      change(dir, (description) => {
        for (const shard of description.splits.train.shards) shard.file = join(dir, shard.file);
      }),
  };
  test.each(Object.keys(cases))('%s', async (name) => {
    await using folder = await temporaryFolder();
    await writeDataset(folder.path, { train: ROWS, validation: ROWS });
    await expect(loadTokenData(folder.path)).resolves.toBeDefined();
    await cases[name]?.(folder.path);
    await expect(loadTokenData(folder.path)).rejects.toMatchObject({ code: 'TrainerBadData' });
  });

  test('a missing mask file is missing, not bad', async () => {
    await using folder = await temporaryFolder();
    await writeDataset(folder.path, { train: ROWS, validation: ROWS });
    await rm(join(folder.path, 'train-00000.mask.bin'));
    await expect(loadTokenData(folder.path)).rejects.toMatchObject({ code: 'TrainerDataMissing' });
  });
});

async function change(dir: string, edit: (description: TokenizedDataset) => void | Promise<void>): Promise<void> {
  const path = join(dir, 'dataset.json');
  const description = JSON.parse(await readFile(path, 'utf8')) as TokenizedDataset;
  await edit(description);
  await writeFile(path, JSON.stringify(description));
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
