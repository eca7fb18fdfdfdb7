import { expect } from 'vitest';
import { PostgresModelRegistry } from '#lib/model-registry/postgres-registry.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { startCommand, startProcess, startWorker } from './engine-harness.ts';
import { eventually } from './eventually.ts';
import type { Place } from './place.ts';

const DIGEST = 'a'.repeat(64);
const STEPS = [
  'validate_dataset',
  'preprocess_data',
  'prepare_workspace',
  'run_training',
  'upload_artifacts',
  'run_evaluation',
  'register_model',
] as const;

/** Activities wait at their gates until the test lets them pass; how often each was run is counted. */
class Passage {
  readonly runs = new Map<string, number>();
  readonly #gates = new Map<string, PromiseWithResolvers<void>>();

  gate(key: string): PromiseWithResolvers<void> {
    const known = this.#gates.get(key) ?? Promise.withResolvers<void>();
    this.#gates.set(key, known);
    return known;
  }
}

/** The activities of the flow with the outputs that the machine needs; registration is real. */
function activities(
  database: Database,
  passed: Passage,
): Record<string, (context: ActivityContext) => Promise<unknown>> {
  const registry = new PostgresModelRegistry(database);
  const outputs: Record<(typeof STEPS)[number], (context: ActivityContext) => unknown> = {
    validate_dataset: () => ({ format: 'text', documents: 1, bytes: 1, sha256: DIGEST }),
    preprocess_data: () => ({
      data: { manifestKey: 'd', digest: DIGEST },
      vocabularySize: 300,
      trainTokens: 1,
      validationTokens: 1,
      documents: {},
    }),
    prepare_workspace: () => ({ workspace: 'w', bytes: 0, files: 0 }),
    run_training: ({ epoch }) => ({
      outputFolder: `output-e${epoch}`,
      steps: 1,
      metrics: {},
      resumedFromStep: null,
      damagedCheckpoints: [],
    }),
    upload_artifacts: ({ jobId }) => ({
      artifacts: { manifestKey: `m/${jobId}`, digest: DIGEST },
      runId: `run-${jobId}`,
      files: [],
      uploadedFiles: 0,
      uploadedBytes: 0,
    }),
    run_evaluation: () => ({ report: { key: 'r', digest: DIGEST }, metrics: [], samples: [] }),
    register_model: ({ jobId, project }) =>
      registry.createVersion({
        project,
        name: 'model',
        sourceKey: jobId,
        manifestKey: `m/${jobId}`,
        tags: {},
        lineage: {
          jobId,
          runId: `run-${jobId}`,
          datasetName: 'd',
          datasetVersion: '1',
          datasetDigest: DIGEST,
          configDigest: DIGEST,
          codeCommit: 'c',
          baseModelDigest: DIGEST,
          evaluationReportDigest: DIGEST,
          manifestDigest: DIGEST,
        },
      }),
  };
  const run = (name: (typeof STEPS)[number]) => async (context: ActivityContext) => {
    const key = `${context.workflowId}/${name}`;
    passed.runs.set(key, (passed.runs.get(key) ?? 0) + 1);
    await passed.gate(key).promise;
    return outputs[name](context);
  };
  return Object.fromEntries(STEPS.map((name) => [name, run(name)]));
}

const input = (jobId: string) => ({
  jobId,
  project: 'demo',
  spec: {
    dataset: { name: 'd', version: 1 },
    base: { config: { layers: 1, heads: 1, embeddingSize: 8, contextLength: 8 } },
    method: 'full',
    model: { name: 'model' },
    hyperparameters: { maxSteps: 1, learningRate: 0.1 },
    seed: 1,
    evaluation: { suites: [{ suite: 'held_out_text' }], policy: [], samples: 0 },
  },
  dataset: { name: 'd', version: 1, format: 'text', key: 'k', sha256: DIGEST, bytes: 1 },
  base: { kind: 'config', config: { layers: 1, heads: 1, embeddingSize: 8, contextLength: 8 } },
  configDigest: DIGEST,
  codeCommit: 'c',
});

const completed = async (database: Database, id: string): Promise<number> =>
  (
    await database.query<{ n: number }>(
      `select count(*)::int as n from events where workflow_id = $1 and type = 'ActivityCompleted'`,
      [id],
    )
  ).rows[0]?.n ?? 0;

const stateOf = async (database: Database, id: string): Promise<string | undefined> =>
  (await database.query<{ state: string }>('select state from workflows where workflow_id = $1', [id])).rows[0]?.state;

/**
 * Kills the orchestrator with SIGKILL after every event of the flow in turn, lets everything else happen meanwhile, and starts it again. Every job
 * ends in the same state, with each activity run once and one registered version.
 */
export async function killAfterEveryEvent(place: Place, database: Database): Promise<void> {
  const passed = new Passage();
  const cpu = await startWorker(place, activities(database, passed));
  const gpu = await startWorker(place, activities(database, passed), { lane: 'gpu' });
  let orchestrator = await startProcess('orchestrator-process.ts', place);
  // Point 0: after WorkflowStarted. Point n: after the nth activity's completion; the last one is the end of the workflow.
  for (let point = 0; point <= STEPS.length; point++) {
    const id = `wf-crash-${point}`;
    for (const step of STEPS.slice(0, point)) passed.gate(`${id}/${step}`).resolve();
    await cpu.bus.publish([startCommand(id, 'fine_tune', input(`job-${id}`), 1, cpu.codec)]);
    await eventually(async () => {
      expect(await stateOf(database, id)).toBeDefined();
      expect(await completed(database, id)).toBe(point);
    });
    await orchestrator.kill();
    // Everything that was waiting happens while nobody orchestrates.
    for (const step of STEPS) passed.gate(`${id}/${step}`).resolve();
    orchestrator = await startProcess('orchestrator-process.ts', place);
    await eventually(async () => expect(await stateOf(database, id)).toBe('completed'), { withinMs: 20_000 });
  }
  await orchestrator.kill();
  await Promise.all([cpu.close(), gpu.close()]);

  const { rows: versions } = await database.query<{ n: number }>(
    'select count(*)::int as n, count(distinct source_key)::int as jobs from registry_versions',
  );
  expect(versions).toEqual([{ n: STEPS.length + 1, jobs: STEPS.length + 1 }]);
  expect([...passed.runs.values()].every((n) => n === 1)).toBe(true);
  expect(passed.runs.size).toBe(STEPS.length * (STEPS.length + 1));
  const { rows: finals } = await database.query<{ state: string; n: number }>(
    'select state, count(*)::int as n from workflows group by 1',
  );
  expect(finals).toEqual([{ state: 'completed', n: STEPS.length + 1 }]);
}
