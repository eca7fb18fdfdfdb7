import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from '#typebox';
import { Value } from '#typebox/value';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { required } from '../failure.ts';
import { type Gpt2Config, gpt2Tensors } from '../model/gpt2.ts';
import { TensorSet } from '../model/tensor-set.ts';
import { writeDurably } from './durable-file.ts';
import { openSafetensors, writeSafetensors } from './safetensors.ts';

/** The keys of transformers' GPT-2 `config.json` that decide whether and how we can run a model. */
const HuggingFaceConfig = Type.Object({
  model_type: Type.Literal('gpt2'),
  vocab_size: Type.Integer({ minimum: 2, maximum: 65_536 }),
  n_positions: Type.Integer({ minimum: 1, maximum: 65_536 }),
  n_embd: Type.Integer({ minimum: 1, maximum: 16_384 }),
  n_layer: Type.Integer({ minimum: 1, maximum: 256 }),
  n_head: Type.Integer({ minimum: 1, maximum: 256 }),
  n_inner: Type.Optional(Type.Union([Type.Integer(), Type.Null()])),
  activation_function: Type.Union([Type.Literal('relu'), Type.Literal('quick_gelu')]),
  layer_norm_epsilon: Type.Number({ exclusiveMinimum: 0, maximum: 1 }),
  tie_word_embeddings: Type.Optional(Type.Literal(true)),
  eos_token_id: Type.Integer({ minimum: 0 }),
});
type HuggingFaceConfig = Static<typeof HuggingFaceConfig>;

const MLP_RATIO = 4;
const LAYER_NORM_EPSILON = 1e-5;

const MODEL_FILES = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'] as const;

/** Reads `config.json`; a model we cannot run is `TrainerModelInvalid`, named by its first wrong key. */
export async function readModelConfig(dir: string): Promise<Gpt2Config> {
  const path = join(dir, 'config.json');
  const json = await readJson(path);
  if (!Value.Check(HuggingFaceConfig, json)) {
    const error = Value.Errors(HuggingFaceConfig, json)[0];
    throw new TrainyardError('TrainerModelInvalid', `${path}: ${error?.instancePath ?? ''} ${error?.message ?? ''}`);
  }
  const config: HuggingFaceConfig = json;
  const inner = config.n_inner ?? MLP_RATIO * config.n_embd;
  if (
    inner !== MLP_RATIO * config.n_embd ||
    config.n_embd % config.n_head !== 0 ||
    config.eos_token_id >= config.vocab_size
  ) {
    const message = `${path}: n_inner, n_head or eos_token_id does not fit the other sizes`;
    throw new TrainyardError('TrainerModelInvalid', message);
  }
  return {
    vocabularySize: config.vocab_size,
    contextLength: config.n_positions,
    embeddingSize: config.n_embd,
    layers: config.n_layer,
    heads: config.n_head,
    activation: config.activation_function,
    layerNormEpsilon: config.layer_norm_epsilon,
    endOfTextId: config.eos_token_id,
  };
}

/** Reads the weights that the configuration asks for; tensors it does not know are left unread. */
export async function readModelWeights(dir: string, config: Gpt2Config): Promise<TensorSet> {
  const path = join(dir, 'model.safetensors');
  const file = await required(path, () => openSafetensors(path));
  try {
    const weights = new TensorSet(gpt2Tensors(config));
    for (const { name, shape } of weights.specs) await file.readInto(name, shape, weights.view(name));
    return weights;
  } finally {
    await file.close();
  }
}

/** Writes a folder that `transformers` loads with `AutoModelForCausalLM` and `AutoTokenizer`; returns the file names, sorted. */
export async function writeModelFolder(
  dir: string,
  config: Gpt2Config,
  weights: TensorSet,
  tokenizerJson: string,
): Promise<string[]> {
  await mkdir(dir, { recursive: true });
  await writeSafetensors(join(dir, 'model.safetensors'), weights.tensors());
  await writeDurably(join(dir, 'config.json'), [pretty(huggingFaceConfig(config))]);
  await writeTokenizer(dir, config, tokenizerJson);
  return [...MODEL_FILES];
}

/** Writes the tokenizer beside a model or adapter. */
export async function writeTokenizer(dir: string, config: Gpt2Config, tokenizerJson: string): Promise<void> {
  await writeDurably(join(dir, 'tokenizer.json'), [tokenizerJson]);
  const endOfText = specialToken(tokenizerJson, config.endOfTextId);
  const settings = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: config.contextLength,
    clean_up_tokenization_spaces: false,
    ...(endOfText === undefined ? {} : { bos_token: endOfText, eos_token: endOfText }),
  };
  await writeDurably(join(dir, 'tokenizer_config.json'), [pretty(settings)]);
}

export async function readJson(path: string): Promise<unknown> {
  const text = await required(path, () => readFile(path, 'utf8'));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TrainyardError('TrainerModelInvalid', `${path}: ${messageOf(error)}`, { cause: error });
  }
}

export const pretty = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** A model of our own making: ReLU, learnt positions, tied head, no dropout. */
export const builtInConfig = (
  sizes: Pick<Gpt2Config, 'contextLength' | 'embeddingSize' | 'layers' | 'heads' | 'vocabularySize' | 'endOfTextId'>,
): Gpt2Config => ({ ...sizes, activation: 'relu', layerNormEpsilon: LAYER_NORM_EPSILON });

function huggingFaceConfig(config: Gpt2Config): Record<string, unknown> {
  return {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    vocab_size: config.vocabularySize,
    n_positions: config.contextLength,
    n_ctx: config.contextLength,
    n_embd: config.embeddingSize,
    n_layer: config.layers,
    n_head: config.heads,
    n_inner: MLP_RATIO * config.embeddingSize,
    activation_function: config.activation,
    layer_norm_epsilon: config.layerNormEpsilon,
    attn_pdrop: 0,
    embd_pdrop: 0,
    resid_pdrop: 0,
    tie_word_embeddings: true,
    bos_token_id: config.endOfTextId,
    eos_token_id: config.endOfTextId,
    torch_dtype: 'float32',
  };
}

/** The text of an added token of tokenizer.json; undefined when the id is an ordinary token. */
function specialToken(tokenizerJson: string, id: number): string | undefined {
  const parsed = JSON.parse(tokenizerJson) as { added_tokens?: { id: number; content: string }[] };
  return parsed.added_tokens?.find((token) => token.id === id)?.content;
}
