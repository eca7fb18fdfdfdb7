import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { tokenizerJson } from '#lib/text/tokenizer.ts';
import { initialWeights } from '../model/gpt2.ts';
import { initialAdapter } from '../model/lora.ts';
import { temporaryFolder } from '../test-support/program.ts';
import { builtInConfig, readModelConfig, readModelWeights, writeModelFolder } from './model-folder.ts';
import { readAdapter, writeAdapterFolder } from './peft-adapter.ts';
import { openSafetensors } from './safetensors.ts';

const TOKENIZER = tokenizerJson(bpeTrainer().train(257));
const CONFIG = builtInConfig({
  vocabularySize: 257,
  contextLength: 16,
  embeddingSize: 8,
  layers: 2,
  heads: 2,
  endOfTextId: 256,
});

test('a model folder is read back as it was written', async () => {
  await using folder = await temporaryFolder();
  const weights = initialWeights(CONFIG, 0.1, 1);
  await writeModelFolder(folder.path, CONFIG, weights, TOKENIZER);
  const config = await readModelConfig(folder.path);
  expect(config).toEqual(CONFIG);
  expect((await readModelWeights(folder.path, config)).data).toEqual(weights.data);
  expect(await readFile(join(folder.path, 'tokenizer.json'), 'utf8')).toBe(TOKENIZER);
});

test('transformers finds every name and key it expects of a GPT-2', async () => {
  await using folder = await temporaryFolder();
  await writeModelFolder(folder.path, CONFIG, initialWeights(CONFIG, 0.1, 1), TOKENIZER);
  const file = await openSafetensors(join(folder.path, 'model.safetensors'));
  const block = (layer: number): string[] =>
    ['ln_1', 'attn.c_attn', 'attn.c_proj', 'ln_2', 'mlp.c_fc', 'mlp.c_proj'].map((name) => `h.${layer}.${name}`);
  const both = [...block(0), ...block(1), 'ln_f'].flatMap((name) => [`${name}.weight`, `${name}.bias`]);
  const expected = [...both, 'wte.weight', 'wpe.weight'].map((name) => `transformer.${name}`).sort();
  expect([...file.entries.keys()].sort()).toEqual(expected);
  // Conv1D: (in, out), no transpose.
  expect(file.entries.get('transformer.h.0.mlp.c_fc.weight')?.shape).toEqual([8, 32]);
  await file.close();
  const config = JSON.parse(await readFile(join(folder.path, 'config.json'), 'utf8'));
  expect(config).toMatchObject({ model_type: 'gpt2', n_inner: 32, tie_word_embeddings: true, resid_pdrop: 0 });
  const settings = JSON.parse(await readFile(join(folder.path, 'tokenizer_config.json'), 'utf8'));
  expect(settings).toMatchObject({ eos_token: '<|endoftext|>', model_max_length: 16 });
});

test('an adapter folder is read back as it was written, with PEFT names and orientation', async () => {
  await using folder = await temporaryFolder();
  const lora = { r: 2, alpha: 4, dropout: 0.1, targetModules: ['c_attn' as const, 'c_proj' as const] };
  const adapter = initialAdapter(CONFIG, lora, 1);
  await writeAdapterFolder(folder.path, CONFIG, adapter, TOKENIZER);
  const read = await readAdapter(folder.path, CONFIG);
  expect(read.tensors.data).toEqual(adapter.tensors.data);
  expect(read.config).toEqual({ ...lora, dropout: 0 });
  const file = await openSafetensors(join(folder.path, 'adapter_model.safetensors'));
  expect(file.entries.get('base_model.model.transformer.h.0.attn.c_attn.lora_A.weight')?.shape).toEqual([2, 8]);
  expect(file.entries.get('base_model.model.transformer.h.1.mlp.c_proj.lora_B.weight')?.shape).toEqual([8, 2]);
  expect(file.entries.size).toBe(2 * 2 * 3);
  await file.close();
});

describe('an adapter whose update we would not compute is refused', () => {
  test.each([
    ['rank-stabilised scaling', { use_rslora: true }],
    ['DoRA', { use_dora: true }],
    ['trained biases', { bias: 'all' }],
    ['an unknown target', { target_modules: ['lm_head'] }],
    ['another kind', { peft_type: 'IA3' }],
  ])('%s', async (_, change) => {
    await using folder = await temporaryFolder();
    const lora = { r: 2, alpha: 4, dropout: 0, targetModules: ['c_attn' as const] };
    await writeAdapterFolder(folder.path, CONFIG, initialAdapter(CONFIG, lora, 1), TOKENIZER);
    const path = join(folder.path, 'adapter_config.json');
    const config = JSON.parse(await readFile(path, 'utf8')) as object;
    await writeFile(path, JSON.stringify({ ...config, ...change }));
    await expect(readAdapter(folder.path, CONFIG)).rejects.toMatchObject({ code: 'TrainerModelInvalid' });
  });

  test('tensors of a module that is no target', async () => {
    await using folder = await temporaryFolder();
    const lora = { r: 2, alpha: 4, dropout: 0, targetModules: ['c_attn' as const, 'c_fc' as const] };
    await writeAdapterFolder(folder.path, CONFIG, initialAdapter(CONFIG, lora, 1), TOKENIZER);
    const path = join(folder.path, 'adapter_config.json');
    const config = JSON.parse(await readFile(path, 'utf8')) as object;
    await writeFile(path, JSON.stringify({ ...config, target_modules: ['c_attn'] }));
    await expect(readAdapter(folder.path, CONFIG)).rejects.toMatchObject({ code: 'TrainerShapeMismatch' });
  });
});
