import { expect, it } from 'vitest';
import { eventually } from '../../test/support/eventually.ts';
import { featuresOf, Production } from './production.ts';
import type { RestClient } from './rest-client.ts';

/** A gateway that answers with a version, or fails. */
function gateway(answer: (call: { body?: unknown; headers?: Readonly<Record<string, string>> }) => object) {
  const calls: { body?: unknown; headers?: Readonly<Record<string, string>> }[] = [];
  const client = {
    call: (_schema: unknown, _path: string, call: (typeof calls)[number]) => {
      calls.push(call);
      return Promise.resolve().then(() => answer(call));
    },
  } as unknown as RestClient;
  return { client, calls };
}

const completion = { version: 1, arm: 'prod', text: '', promptTokens: 3, completionTokens: 6, meanLogProb: -3 };

it('people ask one question after the other, each with a key of its own, and something else once they have changed', async () => {
  const { client, calls } = gateway(() => completion);
  const production = new Production(client, 'model', ['old']);
  await eventually(() => calls.length > 2);
  production.changeTo(['new']);
  await eventually(() => JSON.stringify(calls.at(-1)?.body).includes('new'));
  await production.stop();
  const keys = calls.map(({ headers }) => headers?.['x-routing-key']);
  expect(new Set(keys).size).toBe(keys.length);
  expect(production.answers.get(1)).toBe(calls.length);
});

it('a production that failed says so to whoever waits for its answers', async () => {
  const { client } = gateway(() => {
    throw new Error('the model is gone');
  });
  const production = new Production(client, 'model', ['question']);
  await eventually(() => {
    try {
      production.throwIfEnded();
      return false;
    } catch {
      return true;
    }
  });
  expect(() => production.throwIfEnded()).toThrow('the model is gone');
  await expect(production.stop()).rejects.toThrow('the model is gone');
});

it('features of an answer are named as the gateway names them in an observation', () => {
  expect(featuresOf({ ...completion, prompt: 'Zürich' })).toEqual({
    promptCharacters: 6,
    promptBytes: 7,
    promptTokens: 3,
    completionTokens: 6,
    meanLogProb: -3,
  });
});
