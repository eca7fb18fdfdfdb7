import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Value } from '#typebox/value';
import { PreprocessConfig } from '#lib/contracts/preprocess-config.ts';
import { readCorpus } from '#lib/text/corpus-file.ts';
import { preprocessDatasetFile } from '../../services/cpu-worker/data/preprocess-dataset-file.ts';

const CORPUS = resolve(import.meta.dirname, '../../examples/data/state-of-the-union.jsonl.br');

/** Tokenizes the State of the Union as `preprocess_data` does and returns the dataset's folder below `folder`. */
export async function tokenizeCorpus(folder: string, vocabularySize: number): Promise<string> {
  const path = join(folder, 'corpus.jsonl');
  const bytes = readCorpus(CORPUS);
  await writeFile(path, bytes);
  const outDir = join(folder, 'data');
  const sourceDigest = createHash('sha256').update(bytes).digest('hex');
  const config = Value.Parse(PreprocessConfig, Value.Default(PreprocessConfig, { vocabularySize }));
  await preprocessDatasetFile({ path, format: 'jsonl_text', sourceDigest, outDir, config });
  return outDir;
}
