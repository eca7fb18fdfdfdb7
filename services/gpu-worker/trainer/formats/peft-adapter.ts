import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from '#typebox';
import { Value } from '#typebox/value';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { LoraConfig } from '#lib/contracts/trainer-protocol.ts';
import { required } from '../failure.ts';
import type { Gpt2Config } from '../model/gpt2.ts';
import { type Adapter, emptyAdapter } from '../model/lora.ts';
import { writeDurably } from './durable-file.ts';
import { pretty, readJson, writeTokenizer } from './model-folder.ts';
import { openSafetensors, writeSafetensors } from './safetensors.ts';

/** The keys of PEFT's `adapter_config.json` that decide what the update is. */
const PeftConfig = Type.Object({
  peft_type: Type.Literal('LORA'),
  r: Type.Integer({ minimum: 1, maximum: 1024 }),
  lora_alpha: Type.Number({ exclusiveMinimum: 0 }),
  target_modules: LoraConfig.properties.targetModules,
  fan_in_fan_out: Type.Literal(true),
  bias: Type.Literal('none'),
  use_rslora: Type.Optional(Type.Literal(false)),
  use_dora: Type.Optional(Type.Literal(false)),
});
type PeftConfig = Static<typeof PeftConfig>;

const ADAPTER_FILES = [
  'adapter_config.json',
  'adapter_model.safetensors',
  'tokenizer.json',
  'tokenizer_config.json',
] as const;

/** Reads an adapter folder for a model; another kind of adapter is `TrainerModelInvalid`, wrong tensors `TrainerShapeMismatch`. */
export async function readAdapter(dir: string, model: Gpt2Config): Promise<Adapter> {
  const configPath = join(dir, 'adapter_config.json');
  const json = await readJson(configPath);
  if (!Value.Check(PeftConfig, json)) {
    const error = Value.Errors(PeftConfig, json)[0];
    throw new TrainyardError(
      'TrainerModelInvalid',
      `${configPath}: ${error?.instancePath ?? ''} ${error?.message ?? ''}`,
    );
  }
  const config: PeftConfig = json;
  const adapter = emptyAdapter(model, {
    r: config.r,
    alpha: config.lora_alpha,
    dropout: 0,
    targetModules: config.target_modules,
  });
  const path = join(dir, 'adapter_model.safetensors');
  const file = await required(path, () => openSafetensors(path));
  try {
    // An update we would silently drop is worse than a refusal.
    const unknown = [...file.entries.keys()].find((name) => !adapter.tensors.has(name));
    if (unknown !== undefined)
      throw new TrainyardError('TrainerShapeMismatch', `${path}: unexpected tensor ${unknown}`);
    for (const { name, shape } of adapter.tensors.specs) await file.readInto(name, shape, adapter.tensors.view(name));
  } finally {
    await file.close();
  }
  return adapter;
}

/** Writes a folder that `PeftModel.from_pretrained(base, dir)` loads; returns the file names, sorted. */
export async function writeAdapterFolder(
  dir: string,
  model: Gpt2Config,
  adapter: Adapter,
  tokenizerJson: string,
): Promise<string[]> {
  await mkdir(dir, { recursive: true });
  await writeSafetensors(join(dir, 'adapter_model.safetensors'), adapter.tensors.tensors());
  await writeDurably(join(dir, 'adapter_config.json'), [pretty(peftConfig(adapter.config))]);
  await writeTokenizer(dir, model, tokenizerJson);
  return [...ADAPTER_FILES];
}

/** The base is named by the platform's lineage, not here: a path of this machine would mean nothing elsewhere. */
const peftConfig = (lora: LoraConfig): Record<string, unknown> => ({
  base_model_name_or_path: null,
  bias: 'none',
  fan_in_fan_out: true,
  inference_mode: true,
  init_lora_weights: true,
  lora_alpha: lora.alpha,
  lora_dropout: lora.dropout,
  modules_to_save: null,
  peft_type: 'LORA',
  r: lora.r,
  target_modules: lora.targetModules,
  task_type: 'CAUSAL_LM',
  use_dora: false,
  use_rslora: false,
});
