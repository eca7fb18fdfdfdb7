import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { mulberry32 } from '#lib/kernel/random.ts';
import { bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { tokenizerJson } from '#lib/text/tokenizer.ts';
import { builtInConfig, writeModelFolder } from '../../trainer/formats/model-folder.ts';
import { writeAdapterFolder } from '../../trainer/formats/peft-adapter.ts';
import { initialWeights } from '../../trainer/model/gpt2.ts';
import { initialAdapter } from '../../trainer/model/lora.ts';

/** Bytes and the end of text: any string can be said. */
const TOKENIZER = tokenizerJson(bpeTrainer().train(257));
export const TINY = builtInConfig({
  vocabularySize: 257,
  contextLength: 32,
  embeddingSize: 16,
  layers: 2,
  heads: 2,
  endOfTextId: 256,
});

/** A model of random weights, and below `adapter` an adapter of random numbers on it. For tests. */
export async function writeTinyModel(folder: string, seed = 1): Promise<{ dir: string; adapterDir: string }> {
  const dir = join(folder, `model-${seed}`);
  await mkdir(dir, { recursive: true });
  await writeModelFolder(dir, TINY, initialWeights(TINY, 0.5, seed), TOKENIZER);
  const adapterDir = join(folder, `adapter-${seed}`);
  const adapter = initialAdapter(TINY, { r: 2, alpha: 8, dropout: 0, targetModules: ['c_attn', 'c_proj'] }, seed);
  const random = mulberry32(seed);
  for (let i = 0; i < adapter.tensors.data.length; i++) adapter.tensors.data[i] = random.next() - 0.5;
  await writeAdapterFolder(adapterDir, TINY, adapter, TOKENIZER);
  return { dir, adapterDir };
}
