import {
  ExperimentAnswer,
  ExperimentCreatedAnswer,
  HistoryAnswer,
  type MetricEntry,
  read,
  type Run,
  RunAnswer,
  RunsAnswer,
} from './mlflow-answers.ts';
import type { MlflowCall } from './mlflow-client.ts';
import { EXISTS, isRefusal, orAbsent } from './mlflow-failure.ts';
import { RUN_TAGS, type Tag } from './mlflow-tags.ts';

/*
 * Experiments and runs as MLflow has them. Calls may be repeated unless said otherwise.
 */

export interface MlflowPoint {
  readonly key: string;
  readonly value: number;
  readonly step: number;
  /** Epoch milliseconds; of two values of a step the later one counts. */
  readonly timestamp: number;
}

/** MLflow's limits of one `log-batch`. */
const MAX_METRICS = 1_000;
const MAX_PARAMS = 100;
const MAX_TAGS = 100;
/** MLflow takes 1 MB; the rest is for the envelope. */
const MAX_BATCH_BYTES = 900_000;

/** Twins of one run at most; they come from lost calls. */
const MAX_TWINS = 100;
/** Points of one page of a history: 5,000 took 280 ms (2 cores, sqlite, November 2026). */
const HISTORY_PAGE = 10_000;

/** The id of the experiment; made when absent, restored when somebody deleted it. */
export async function ensureExperiment(call: MlflowCall, name: string): Promise<string> {
  const found = await findExperiment(call, name);
  if (found !== null) {
    const { experiment_id, lifecycle_stage } = found.experiment;
    if (lifecycle_stage === 'deleted')
      await call({ method: 'POST', path: 'experiments/restore', body: { experiment_id } });
    return experiment_id;
  }
  try {
    const answer = await call({ method: 'POST', path: 'experiments/create', body: { name } });
    return read(ExperimentCreatedAnswer, answer).experiment_id;
  } catch (error) {
    // Another run of the project was first.
    if (isRefusal(error, EXISTS)) return ensureExperiment(call, name);
    throw error;
  }
}

async function findExperiment(call: MlflowCall, name: string) {
  const query = { experiment_name: name };
  const answer = await orAbsent(call({ method: 'GET', path: 'experiments/get-by-name', query }));
  return answer === null ? null : read(ExperimentAnswer, answer);
}

/** Runs with our key, the oldest first. */
export async function runsOfKey(call: MlflowCall, experimentId: string, key: string): Promise<Run[]> {
  const body = {
    experiment_ids: [experimentId],
    filter: `tags.\`${RUN_TAGS.key}\` = '${key}'`,
    max_results: MAX_TWINS,
    order_by: ['attributes.start_time ASC', 'attributes.run_id ASC'],
  };
  return read(RunsAnswer, await call({ method: 'POST', path: 'runs/search', body })).runs ?? [];
}

/** Not repeatable: every call makes another run. */
export async function makeRun(
  call: MlflowCall,
  run: { experimentId: string; name: string; startTimeMs: number; tags: readonly Tag[] },
): Promise<Run> {
  const { experimentId, name, startTimeMs, tags } = run;
  const body = { experiment_id: experimentId, run_name: name, start_time: startTimeMs, tags };
  return read(RunAnswer, await call({ method: 'POST', path: 'runs/create', body, repeatable: false })).run;
}

export async function getRun(call: MlflowCall, mlflowRunId: string): Promise<Run | null> {
  const answer = await orAbsent(call({ method: 'GET', path: 'runs/get', query: { run_id: mlflowRunId } }));
  return answer === null ? null : read(RunAnswer, answer).run;
}

export async function deleteRun(call: MlflowCall, mlflowRunId: string): Promise<void> {
  await orAbsent(call({ method: 'POST', path: 'runs/delete', body: { run_id: mlflowRunId } }));
}

export async function finishRun(call: MlflowCall, mlflowRunId: string, endTimeMs: number): Promise<void> {
  const body = { run_id: mlflowRunId, status: 'FINISHED', end_time: endTimeMs };
  await call({ method: 'POST', path: 'runs/update', body });
}

export async function deleteRunTag(call: MlflowCall, mlflowRunId: string, key: string): Promise<void> {
  await orAbsent(call({ method: 'POST', path: 'runs/delete-tag', body: { run_id: mlflowRunId, key } }));
}

/** In as many batches as MLflow's limits ask for, params first: they are what can be refused. */
export async function logBatches(
  call: MlflowCall,
  mlflowRunId: string,
  given: { params?: readonly Tag[]; tags?: readonly Tag[]; metrics?: readonly MlflowPoint[] },
): Promise<void> {
  const bodies = [
    ...batches(given.params ?? [], MAX_PARAMS).map((params) => ({ params })),
    ...batches(given.tags ?? [], MAX_TAGS).map((tags) => ({ tags })),
    ...batches(given.metrics ?? [], MAX_METRICS).map((metrics) => ({ metrics })),
  ];
  for (const body of bodies)
    await call({ method: 'POST', path: 'runs/log-batch', body: { run_id: mlflowRunId, ...body } });
}

export function batches<T>(items: readonly T[], maxItems: number, maxBytes = MAX_BATCH_BYTES): T[][] {
  const all: T[][] = [];
  let batch: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = Buffer.byteLength(JSON.stringify(item)) + 1;
    if (batch.length === maxItems || (batch.length > 0 && bytes + size > maxBytes)) {
      all.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += size;
  }
  return batch.length === 0 ? all : [...all, batch];
}

/** Everything that was ever logged of one metric. */
export async function metricHistory(call: MlflowCall, mlflowRunId: string, key: string): Promise<MetricEntry[]> {
  const entries: MetricEntry[] = [];
  let token: string | undefined;
  do {
    const query = {
      run_id: mlflowRunId,
      metric_key: key,
      max_results: String(HISTORY_PAGE),
      ...(token === undefined ? {} : { page_token: token }),
    };
    const answer = read(HistoryAnswer, await call({ method: 'GET', path: 'metrics/get-history', query }));
    entries.push(...(answer.metrics ?? []));
    token = answer.next_page_token;
  } while (token !== undefined && token !== '');
  return entries;
}
