import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PostgresModelRegistry } from '#lib/model-registry/postgres-registry.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { startCommand, startProcess, startWorker } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';

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

let db: TestDatabase;
/** Activities wait here until the test lets them pass. */
const gates = new Map<string, PromiseWithResolvers<void>>();
const runs = new Map<string, number>();

const gate = (key: string): PromiseWithResolvers<void> => {
  const known = gates.get(key) ?? Promise.withResolvers<void>();
  gates.set(key, known);
  return known;
};

const orchestrate = () => startProcess('orchestrator-process.ts', db.url);

/** The activities of the flow with the outputs that the machine needs; registration is real. */
function activities(): Record<string, (context: ActivityContext) => Promise<unknown>> {
  const registry = new PostgresModelRegistry(db.database);
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
    runs.set(key, (runs.get(key) ?? 0) + 1);
    await gate(key).promise;
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

const completed = async (id: string): Promise<number> =>
  (
    await db.database.query<{ n: number }>(
      `select count(*)::int as n from events where workflow_id = $1 and type = 'ActivityCompleted'`,
      [id],
    )
  ).rows[0]?.n ?? 0;

const stateOf = async (id: string): Promise<string | undefined> =>
  (await db.database.query<{ state: string }>('select state from workflows where workflow_id = $1', [id])).rows[0]
    ?.state;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

describe('the orchestrator killed with SIGKILL after every event of the flow in turn', () => {
  it('ends in the same state, with each activity run once and one registered version per job', async () => {
    const cpu = await startWorker(db.url, activities());
    const gpu = await startWorker(db.url, activities(), { lane: 'gpu' });
    let orchestrator = await orchestrate();
    // Point 0: after WorkflowStarted. Point n: after the nth activity's completion; the last one is the end of the workflow.
    for (let point = 0; point <= STEPS.length; point++) {
      const id = `wf-crash-${point}`;
      for (const step of STEPS.slice(0, point)) gate(`${id}/${step}`).resolve();
      await cpu.bus.publish([startCommand(id, 'fine_tune', input(`job-${id}`))]);
      await eventually(async () => {
        expect(await stateOf(id)).toBeDefined();
        expect(await completed(id)).toBe(point);
      });
      await orchestrator.kill();
      // Everything that was waiting happens while nobody orchestrates.
      for (const step of STEPS) gate(`${id}/${step}`).resolve();
      orchestrator = await orchestrate();
      await eventually(async () => expect(await stateOf(id)).toBe('completed'), { withinMs: 20_000 });
    }
    await orchestrator.kill();
    await Promise.all([cpu.close(), gpu.close()]);

    const { rows: versions } = await db.database.query<{ n: number }>(
      'select count(*)::int as n, count(distinct source_key)::int as jobs from registry_versions',
    );
    expect(versions).toEqual([{ n: STEPS.length + 1, jobs: STEPS.length + 1 }]);
    expect([...runs.values()].every((n) => n === 1)).toBe(true);
    expect(runs.size).toBe(STEPS.length * (STEPS.length + 1));
    const { rows: finals } = await db.database.query<{ state: string; n: number }>(
      'select state, count(*)::int as n from workflows group by 1',
    );
    expect(finals).toEqual([{ state: 'completed', n: STEPS.length + 1 }]);
  }, 120_000);
});
