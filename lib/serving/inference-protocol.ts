import { type Static, Type } from '#typebox';

/** What the gateway asks of an inference server, and what it answers: `POST /v1/infer`. Both sides check what they get. */
export const INFERENCE_PATH = '/v1/infer';

/** Tokens of one answer at most; the model's context is the other limit. */
export const MAX_COMPLETION_TOKENS = 2_048;
/** Characters of a prompt at most. What does not fit into the context is cut from its beginning. */
export const MAX_PROMPT_CHARACTERS = 100_000;
export const MAX_STOPS = 4;
/** Above this, the likeliest and the unlikeliest token are all but equally likely. */
export const MAX_TEMPERATURE = 2;

const StoredFolder = Type.Object({
  manifestKey: Type.String({ minLength: 1, maxLength: 1_024 }),
  digest: Type.String({ pattern: '^[0-9a-f]{64}$' }),
});

/** Weights in the object store, and the adapter on them, if the version is one. */
export const StoredModel = Type.Object({ weights: StoredFolder, adapter: Type.Optional(StoredFolder) });
export type StoredModel = Static<typeof StoredModel>;

const Generation = {
  prompt: Type.String({ maxLength: MAX_PROMPT_CHARACTERS }),
  maxTokens: Type.Integer({ minimum: 1, maximum: MAX_COMPLETION_TOKENS }),
  /** 0: always the likeliest token. */
  temperature: Type.Number({ minimum: 0, maximum: MAX_TEMPERATURE }),
  /** The same request with the same seed has the same answer. */
  seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295 }),
  /** The answer ends before the first of these. */
  stop: Type.Array(Type.String({ minLength: 1, maxLength: 100 }), { maxItems: MAX_STOPS }),
};

export const GenerationRequest = Type.Object(Generation);
export type GenerationRequest = Static<typeof GenerationRequest>;

export const InferenceRequest = Type.Object({ model: StoredModel, ...Generation });
export type InferenceRequest = Static<typeof InferenceRequest>;

export const Completion = Type.Object({
  text: Type.String(),
  finishReason: Type.Union([Type.Literal('stop'), Type.Literal('length')]),
  /** Tokens of the prompt that the model saw. */
  promptTokens: Type.Integer({ minimum: 0 }),
  completionTokens: Type.Integer({ minimum: 0 }),
  /** Of the tokens of the answer, its end included, under the model's own distribution, in nats. */
  meanLogProb: Type.Number({ maximum: 0 }),
});
export type Completion = Static<typeof Completion>;

export const InferenceProblem = Type.Object({ code: Type.String(), message: Type.String(), retryable: Type.Boolean() });
export type InferenceProblem = Static<typeof InferenceProblem>;
