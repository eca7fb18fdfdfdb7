import { mulberry32 } from '#lib/kernel/random.ts';
import type { RestClient } from './rest-client.ts';

const WORDS =
  'the yard train leaves before dawn and its long cars roll past a quiet river while old signals blink red then green over rails that hum'.split(
    ' ',
  );

/** Documents of different sentences, separated by blank lines; the same seed gives the same text. */
function tinyText(documents = 60, seed = 1): string {
  return tinyDocuments(documents, seed).join('\n\n');
}

export function tinyDocuments(documents: number, seed = 1): string[] {
  const random = mulberry32(seed);
  return Array.from({ length: documents }, () =>
    Array.from({ length: 40 }, () => WORDS[Math.floor(random.next() * WORDS.length)]).join(' '),
  );
}

/**
 * A small text among 60,000 documents that are too short to be kept: takes time to read and little to train on. Large enough that whatever
 * seed splits it, both parts have documents (of the six of `tiny`, every fourth seed leaves none for validation).
 */
export function textWithCrumbs(): string {
  const crumbs = Array.from({ length: 60_000 }, (_, index) => `crumb ${index}`);
  return `${crumbs.join('\n\n')}\n\n${tinyText(600)}`;
}

/** A model that the built-in trainer trains in about a second. */
const TINY_MODEL = { layers: 1, heads: 2, embeddingSize: 32, contextLength: 32 };

export interface TinyJob {
  readonly key: string;
  /** Name under which the result is registered; default: the key. */
  readonly model?: string;
  readonly seed?: number;
  readonly dataset?: string;
  readonly base?: object;
  readonly method?: 'full' | 'lora' | 'qlora';
  readonly steps?: number;
  readonly checkpointEverySteps?: number;
  readonly priority?: string;
  readonly policy?: readonly object[];
  readonly hyperparameters?: object;
  readonly spec?: object;
}

/** The body of a submission whose every size is as small as the rules allow. */
export function tinyJob(job: TinyJob): {
  readonly [member: string]: unknown;
  readonly spec: Readonly<Record<string, unknown>>;
} {
  const { method = 'full' } = job;
  return {
    type: 'fine_tune',
    idempotencyKey: job.key,
    ...(job.priority === undefined ? {} : { priority: job.priority }),
    spec: {
      dataset: { name: job.dataset ?? 'tiny' },
      base: job.base ?? { config: TINY_MODEL },
      method,
      model: { name: job.model ?? job.key },
      preprocessing: { vocabularySize: 300, validationFraction: 0.2 },
      hyperparameters: {
        maxSteps: job.steps ?? 60,
        batchSize: 4,
        sequenceLength: 32,
        learningRate: 0.01,
        warmupSteps: 5,
        checkpointEverySteps: job.checkpointEverySteps ?? 20,
        evaluateEverySteps: 0,
        validationTokens: 256,
        ...job.hyperparameters,
      },
      ...(method === 'full' ? {} : { lora: { r: 4, alpha: 8 } }),
      seed: job.seed ?? 1,
      evaluation: { suites: [{ suite: 'held_out_text', maxTokens: 512 }], policy: job.policy ?? [], samples: 0 },
      ...job.spec,
    },
  };
}

/** Makes the project (through the admin) with the dataset `tiny` and the given limits. */
export async function makeProject(admin: RestClient, client: RestClient, change: object = {}): Promise<void> {
  await admin.request(`/v1/projects/${client.project}`, { method: 'PUT', json: { gpuSecondsBudget: 1e6, ...change } });
  await client.upload('tiny', tinyText());
}
