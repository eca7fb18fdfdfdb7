import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadTokenizer, type Tokenizer } from '#lib/text/tokenizer.ts';
import { required } from '../trainer/failure.ts';
import { readModelConfig } from '../trainer/formats/model-folder.ts';
import { loadBase } from '../trainer/model/load-base.ts';
import { compileDecoder, type DecoderProgram } from '../trainer/programs/decoder.ts';

/** Where a model lies on this machine. */
export interface ModelPlace {
  readonly dir: string;
  /** Of an adapter: merged into the weights, so that it costs nothing per token. */
  readonly adapterDir?: string;
}

/** A model that answers. Its decoder is one: requests take turns. */
export interface LoadedModel {
  readonly tokenizer: Tokenizer;
  readonly decoder: DecoderProgram;
  release(): Promise<void>;
}

/** Reads and compiles a model. Throws the trainer's errors (`TrainerModelInvalid`, `TrainerShapeMismatch` ...) for a folder that is none. */
export async function loadModel(place: ModelPlace, threads: number): Promise<LoadedModel> {
  const config = await readModelConfig(place.dir);
  const path = join(place.dir, 'tokenizer.json');
  const tokenizer = loadTokenizer(await required(path, () => readFile(path, 'utf8')));
  const model = await loadBase({ kind: 'model', ...place }, config, { std: 0, seed: 0 });
  const decoder = await compileDecoder(model, { batch: 1, length: config.contextLength, threads });
  return { tokenizer, decoder, release: () => decoder.release() };
}
