import { setTimeout as delay } from 'node:timers/promises';
import { type Static, Type } from '#typebox';
import type { RestClient } from './rest-client.ts';

/** What the demo reads of a completion; the platform records the same figures as an observation of production. */
const Completion = Type.Object({
  version: Type.Integer(),
  arm: Type.String(),
  text: Type.String(),
  promptTokens: Type.Integer(),
  completionTokens: Type.Integer(),
  meanLogProb: Type.Number(),
});
export type Completion = Static<typeof Completion> & { readonly prompt: string };

/** An answer of a few words: what is watched is who asks what, not how long the answers are. */
const ANSWER_TOKENS = 6;
/** Pause between two requests: training goes on beside it. */
const PAUSE_MS = 25;

export interface Question {
  readonly model: string;
  readonly prompt: string;
  /** Past the traffic split; absent: as it decides. */
  readonly version?: number;
  /** The same key is answered by the same version. */
  readonly key?: string;
}

export async function ask(client: RestClient, { model, prompt, version, key }: Question): Promise<Completion> {
  const body = { prompt, maxTokens: ANSWER_TOKENS, ...(version === undefined ? {} : { version }) };
  const answer = await client.call(Completion, `/v1/models/${model}/completions`, {
    method: 'POST',
    body,
    ...(key === undefined ? {} : { headers: { 'x-routing-key': key } }),
  });
  return { ...answer, prompt };
}

/** The features of an answer as the gateway records them. */
export const featuresOf = ({ prompt, promptTokens, completionTokens, meanLogProb }: Completion) => ({
  promptCharacters: prompt.length,
  promptBytes: Buffer.byteLength(prompt),
  promptTokens,
  completionTokens,
  meanLogProb,
});

/** People who use a model in production: one question after the other until they are told to stop. */
export class Production {
  readonly #client: RestClient;
  readonly #model: string;
  readonly #ended = new AbortController();
  #prompts: readonly string[];
  #asked = 0;
  readonly #life: Promise<void>;
  #failure: { readonly cause: unknown } | null = null;
  /** Answers by version. */
  readonly answers = new Map<number, number>();

  constructor(client: RestClient, model: string, prompts: readonly string[]) {
    this.#client = client;
    this.#model = model;
    this.#prompts = prompts;
    this.#life = this.#live();
    this.#life.catch((cause: unknown) => (this.#failure = { cause }));
  }

  /** From now on people ask something else. */
  changeTo(prompts: readonly string[]): void {
    this.#prompts = prompts;
  }

  /** Throws what a question failed with: a production that fell silent would be waited for in vain. */
  throwIfEnded(): void {
    if (this.#failure !== null) throw this.#failure.cause;
  }

  /** Ends it; rejects with what a question failed with. */
  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#life;
  }

  async #live(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      const at = this.#asked++;
      const prompt = this.#prompts[at % this.#prompts.length] ?? '';
      const { version } = await ask(this.#client, { model: this.#model, prompt, key: `person-${at}` });
      this.answers.set(version, (this.answers.get(version) ?? 0) + 1);
      await delay(PAUSE_MS);
    }
  }
}
