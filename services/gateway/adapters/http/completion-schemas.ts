import { Type } from '#typebox';
import {
  MAX_COMPLETION_TOKENS,
  MAX_PROMPT_CHARACTERS,
  MAX_STOPS,
  MAX_TEMPERATURE,
} from '#lib/serving/inference-protocol.ts';

/** Components of the routes for completions; part of `COMPONENTS` in schemas.ts. */
const Prompt = Type.String({
  maxLength: MAX_PROMPT_CHARACTERS,
  description: "what does not fit into the model's context beside the answer is cut from the beginning",
});
const MaxTokens = Type.Integer({ minimum: 1, maximum: MAX_COMPLETION_TOKENS, default: 32 });
const Temperature = Type.Number({
  minimum: 0,
  maximum: MAX_TEMPERATURE,
  default: 1,
  description: '0: always the likeliest token',
});
const Seed = Type.Optional(
  Type.Integer({ minimum: 0, maximum: 4_294_967_295, description: 'same request, version and seed: same answer' }),
);
const Stop = Type.String({ minLength: 1, maxLength: 100 });

export const CompletionBody = Type.Object(
  {
    prompt: Prompt,
    maxTokens: MaxTokens,
    temperature: Temperature,
    seed: Seed,
    stop: Type.Array(Stop, { maxItems: MAX_STOPS, default: [] }),
    version: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'past the canary split; absent: as it decides' }),
    ),
  },
  { additionalProperties: false, examples: [{ prompt: 'Call me', maxTokens: 16, temperature: 0.8 }] },
);

const Arm = Type.Unsafe<'canary' | 'baseline' | 'prod' | 'explicit'>({
  type: 'string',
  enum: ['canary', 'baseline', 'prod', 'explicit'],
});
const Finish = Type.Unsafe<'stop' | 'length'>({ type: 'string', enum: ['stop', 'length'] });

export const CompletionResult = Type.Object({
  id: Type.String({ description: 'of the observation, too' }),
  model: Type.String(),
  version: Type.Integer(),
  arm: Arm,
  text: Type.String(),
  finishReason: Finish,
  promptTokens: Type.Integer(),
  completionTokens: Type.Integer(),
  meanLogProb: Type.Number({ description: "of the answer's tokens, nats" }),
  seed: Type.Integer(),
  latencyMs: Type.Number(),
});

/** As clients of OpenAI's API write it; members that would change the answer and are not known are refused. */
export const OpenAiCompletionBody = Type.Object(
  {
    model: Type.String({
      minLength: 1,
      maxLength: 200,
      description: 'name (the canary split decides), name/3, or name@alias',
    }),
    prompt: Prompt,
    max_tokens: MaxTokens,
    temperature: Temperature,
    seed: Seed,
    stop: Type.Optional(Type.Union([Stop, Type.Array(Stop, { maxItems: MAX_STOPS }), Type.Null()])),
    user: Type.Optional(
      Type.String({ maxLength: 512, description: 'sticky key of the split; the header x-routing-key wins' }),
    ),
    n: Type.Literal(1, { default: 1 }),
    stream: Type.Literal(false, { default: false }),
  },
  { additionalProperties: false, examples: [{ model: 'demo-base', prompt: 'Call me', max_tokens: 16 }] },
);

export const OpenAiCompletion = Type.Object({
  id: Type.String(),
  object: Type.Literal('text_completion'),
  created: Type.Integer({ description: 'seconds since 1970' }),
  model: Type.String({ description: 'name/version' }),
  choices: Type.Array(
    Type.Object({ text: Type.String(), index: Type.Integer(), logprobs: Type.Null(), finish_reason: Finish }),
  ),
  usage: Type.Object({
    prompt_tokens: Type.Integer(),
    completion_tokens: Type.Integer(),
    total_tokens: Type.Integer(),
  }),
});
