import { describeFailure } from '../trainer/failure.ts';
import { complete } from './complete.ts';
import { loadModel, type ModelPlace } from './loaded-model.ts';
import type { ServeAnswer, ServeRequest } from './messages.ts';
import { ModelCache } from './model-cache.ts';

export interface ServeOptions {
  /** Models in memory at most. */
  readonly models: number;
  /** Of the numeric engine. */
  readonly threads: number;
}

/** Answers requests one after the other: a step of one row fills a core. Never rejects; what goes wrong is the answer. */
export function serving(options: ServeOptions): (request: ServeRequest) => Promise<ServeAnswer> {
  const cache = new ModelCache(options.models, (key) => loadModel(JSON.parse(key) as ModelPlace, options.threads));
  let turn: Promise<unknown> = Promise.resolve();
  return ({ id, place, request }) => {
    const answer = turn.then(async (): Promise<ServeAnswer> => {
      try {
        const model = await cache.get(placeKey(place));
        return { id, completion: await complete(model, request) };
      } catch (error) {
        const { code, message, retryable } = describeFailure(error);
        return { id, problem: { code, message, retryable } };
      }
    });
    turn = answer;
    return answer;
  };
}

/** The same place is the same text. */
const placeKey = ({ dir, adapterDir }: ModelPlace): string =>
  JSON.stringify(adapterDir === undefined ? { dir } : { dir, adapterDir });
