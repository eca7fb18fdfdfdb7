import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GenerationRequest } from '#lib/serving/inference-protocol.ts';
import { readModelWeights } from '../trainer/formats/model-folder.ts';
import { referenceLogits } from '../trainer/test-support/reference-gpt2.ts';
import { temporaryFolder } from '../trainer/test-support/program.ts';
import { complete } from './complete.ts';
import { type LoadedModel, loadModel } from './loaded-model.ts';
import { TINY, writeTinyModel } from './test-support/tiny-model.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let place: { dir: string; adapterDir: string };
let model: LoadedModel;
beforeAll(async () => {
  folder = await temporaryFolder();
  place = await writeTinyModel(folder.path);
  model = await loadModel({ dir: place.dir }, 1);
});
afterAll(async () => {
  await model.release();
  await folder[Symbol.asyncDispose]();
});

const request = (change: Partial<GenerationRequest> = {}): GenerationRequest => ({
  prompt: 'Call me',
  maxTokens: 8,
  temperature: 1,
  seed: 7,
  stop: [],
  ...change,
});

describe('a completion', () => {
  it('of temperature 0 is the likeliest token of the whole window, every time', async () => {
    const weights = await readModelWeights(place.dir, TINY);
    const ids = [...model.tokenizer.encode('Call me')];
    const likeliest: number[] = [];
    for (let i = 0; i < 8; i++) {
      const logits = referenceLogits(TINY, weights, [...ids, ...likeliest]).at(-1) ?? [];
      likeliest.push(logits.indexOf(Math.max(...logits)));
    }
    const answer = await complete(model, request({ temperature: 0 }));
    expect(answer.text).toBe(model.tokenizer.decode(likeliest));
    expect(answer).toMatchObject({ finishReason: 'length', promptTokens: 7, completionTokens: 8 });
  });

  it('is the same for the same seed, and another for another', async () => {
    const [first, other] = [await complete(model, request()), await complete(model, request({ seed: 8 }))];
    expect(await complete(model, request())).toEqual(first);
    expect(other.text).not.toBe(first.text);
  });

  it('has the mean log-probability of its tokens under the model', async () => {
    const answer = await complete(model, request({ temperature: 0, maxTokens: 1 }));
    const weights = await readModelWeights(place.dir, TINY);
    const logits = referenceLogits(TINY, weights, [...model.tokenizer.encode('Call me')]).at(-1) ?? [];
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
    expect(answer.meanLogProb).toBeCloseTo(Math.log(Math.exp(Math.max(...logits)) / total), 3);
  });

  it('ends before a stop text, wherever the tokens cut it', async () => {
    const whole = await complete(model, request({ temperature: 0 }));
    const stop = whole.text.slice(3, 5);
    const answer = await complete(model, request({ temperature: 0, stop: ['never said', stop] }));
    expect(answer).toMatchObject({ finishReason: 'stop', text: whole.text.slice(0, whole.text.indexOf(stop)) });
  });

  it('keeps the end of a prompt that is too long, and fills the context at most', async () => {
    const long = await complete(model, request({ prompt: 'x'.repeat(500), maxTokens: 10 }));
    expect(long.promptTokens).toBe(TINY.contextLength - 10);
    const most = await complete(model, request({ prompt: 'abc', maxTokens: 2_000 }));
    expect(most).toMatchObject({ promptTokens: 1 });
    expect(most.completionTokens).toBeLessThanOrEqual(TINY.contextLength - 1);
  });

  it('of nothing begins a document', async () => {
    expect(await complete(model, request({ prompt: '' }))).toMatchObject({ promptTokens: 1 });
  });

  it('of an adapter is not that of its base', async () => {
    const adapted = await loadModel(place, 1);
    const [base, other] = [
      await complete(model, request({ temperature: 0 })),
      await complete(adapted, request({ temperature: 0 })),
    ];
    expect(other.text).not.toBe(base.text);
    await adapted.release();
  });
});
