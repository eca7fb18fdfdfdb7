import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { MessageTypes } from '#lib/contracts/generated/messages.ts';
import type { MessageType } from '#lib/contracts/topics.ts';
import { PostgresUpgradeSource } from '../../../services/orchestrator/adapters/postgres-upgrade-source.ts';
import { checkUpgrade } from '../../../services/orchestrator/app/upgrade-check.ts';
import type { ReplayVerdict } from '../../../services/orchestrator/domain/replay-check.ts';
import { PROFILES, workflowRegistry } from '../../../services/orchestrator/domain/workflows/registry.ts';
import { fineTuneInput, OUTPUTS } from '../../replay/fine-tune-facts.ts';
import { renamedFineTune } from '../../replay/renamed-fine-tune.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { cancelCommand, codec, startCommand, startEngine, startWorker } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';

const IDS = Array.from({ length: 120 }, (_, n) => `wf-open-${String(n).padStart(3, '0')}`);
/** One with a long log: more facts than the snapshots' distance. */
const LONG = 'wf-open-007';
const CHECKPOINTS = 70;

let db: TestDatabase;

/** Workflows in the middle of their training, as a platform under load has them; the orchestrator is stopped then. */
beforeAll(async () => {
  db = await createTestDatabase();
  const engine = await startEngine(db.url, { registry: workflowRegistry() });
  const output = (name: keyof typeof OUTPUTS) => async () => OUTPUTS[name];
  const worker = await startWorker(db.url, {
    validate_dataset: output('validate_dataset'),
    preprocess_data: output('preprocess_data'),
    prepare_workspace: output('prepare_workspace'),
  });
  await engine.bus.publish([...IDS, 'wf-over'].map((id) => startCommand(id, 'fine_tune', fineTuneInput())));
  await eventually(async () => expect(await inState('training')).toBe(IDS.length + 1), { withinMs: 30_000 });
  const attempt = { workflowId: LONG, activityId: 'run_training', epoch: 1 };
  await engine.bus.publish([
    message('ActivityStarted', 'started', { ...attempt, workerId: 'w', incarnation: 'i', startedAtMs: Date.now() }),
    ...Array.from({ length: CHECKPOINTS }, (_, step) =>
      message('CheckpointSaved', `checkpoint-${step}`, {
        ...attempt,
        step,
        manifestKey: `c/${step}`,
        digest: 'a'.repeat(64),
      }),
    ),
    cancelCommand('wf-over'),
  ]);
  await eventually(async () => {
    const { rows } = await db.database.query<{ seq: number; snapshot_seq: number }>(
      'select seq, snapshot_seq from workflows where workflow_id = $1',
      [LONG],
    );
    expect(rows[0]?.seq).toBeGreaterThan(CHECKPOINTS);
    expect(rows[0]?.snapshot_seq).toBeGreaterThan(0);
    expect(await inState('cancelled')).toBe(1);
  });
  await worker.close();
  await engine.close();
});
afterAll(() => db.drop());

const inState = async (state: string): Promise<number> =>
  (await db.database.query<{ n: number }>('select count(*)::int as n from workflows where state = $1', [state])).rows[0]
    ?.n ?? 0;

const message = <T extends MessageType>(type: T, id: string, payload: MessageTypes[T]) =>
  encodeMessage(codec, {
    topic: 'activities.events',
    key: LONG,
    type,
    payload,
    envelope: { id, source: '/test', timeMs: Date.now() },
  });

interface JsonReport {
  readonly workflows: readonly ReplayVerdict[];
  readonly omitted: number;
  readonly checked: number;
  readonly byDefinition: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly ok: boolean;
}

async function upgradeCheck(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, '../../../cli/main.ts'), 'upgrade-check', '--against', db.url, ...args],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output.stderr += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output };
}

/** Damages the database for the time of `work`. */
async function damaged(statement: string, repair: string, work: () => Promise<void>): Promise<void> {
  await db.database.query(statement);
  try {
    await work();
  } finally {
    await db.database.query(repair);
  }
}

const findings = async (): Promise<{ code: number | null; report: JsonReport }> => {
  const { code, stdout, stderr } = await upgradeCheck('--json');
  expect(stderr).toBe('');
  return { code, report: JSON.parse(stdout) as JsonReport };
};

describe('upgrade-check', () => {
  it('lets a release take over workflows that it folds as they are, over several batches and with snapshots', async () => {
    const { code, report } = await findings();
    expect(report).toEqual({
      workflows: [],
      omitted: 0,
      checked: IDS.length,
      byDefinition: { 'fine_tune@1': { same: IDS.length, differs: 0, stuck: 0, parked: 0, resumes: 0 } },
      ok: true,
    });
    expect(code).toBe(0);
    const text = await upgradeCheck();
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(
      /fine_tune@1: 120 same.*\n120 open or parked workflows replayed: this code can take over\n/,
    );
  });

  it('names a workflow whose log was damaged by hand, and exits with 1', async () => {
    const at = `workflow_id = 'wf-open-042' and seq = 3`;
    await damaged(
      `update events set data = jsonb_set(data, '{activityId}', '"nothing"') where ${at}`,
      `update events set data = jsonb_set(data, '{activityId}', '"preprocess_data"') where ${at}`,
      async () => {
        const { code, report } = await findings();
        expect(code).toBe(1);
        expect(report.workflows).toMatchObject([{ workflowId: 'wf-open-042', outcome: 'stuck' }]);
        expect(report.workflows[0]?.reasons.join()).toMatch(/fact 3 .*nothing/);
        expect(report.byDefinition['fine_tune@1']).toMatchObject({ same: IDS.length - 1, stuck: 1 });
        const text = await upgradeCheck();
        expect(text.stdout).toMatch(/stuck {4}wf-open-042 \(fine_tune@1\)\n/);
        expect(text.code).toBe(1);
      },
    );
  });

  it('names a workflow of a definition that this code does not have, and one whose epoch is another', async () => {
    await damaged(
      `update workflows set definition = 'fine_tune@0' where workflow_id = 'wf-open-001';
       update activities set epoch = 4 where workflow_id = '${LONG}' and activity_id = 'run_training'`,
      `update workflows set definition = 'fine_tune@1' where workflow_id = 'wf-open-001';
       update activities set epoch = 1 where workflow_id = '${LONG}' and activity_id = 'run_training'`,
      async () => {
        const { code, report } = await findings();
        expect(code).toBe(1);
        expect(report.workflows).toMatchObject([
          { workflowId: 'wf-open-001', outcome: 'stuck', reasons: ['no machine fine_tune@0 in this release'] },
          { workflowId: LONG, outcome: 'differs', reasons: ['run_training: epoch was 4, is 1'] },
        ]);
      },
    );
  });

  it('reports a machine that was changed: every workflow that waits in the renamed state', async () => {
    const verdicts: ReplayVerdict[] = [];
    const registry = workflowRegistry(PROFILES, [renamedFineTune]);
    const result = await checkUpgrade(new PostgresUpgradeSource(db.database), registry, (verdict) =>
      verdicts.push(verdict),
    );
    expect(result).toMatchObject({ checked: IDS.length, ok: false });
    expect(verdicts.map(({ workflowId }) => workflowId)).toEqual(IDS);
    expect(verdicts.filter(({ outcome }) => outcome === 'stuck').map(({ workflowId }) => workflowId)).toEqual([LONG]);
    expect(verdicts[0]?.reasons).toContain('state was training, is trainingModel');
  });

  it('lists a parked workflow as one that resumes or stays, and does not stop the deploy for it', async () => {
    await damaged(
      `update workflows set status = 'parked', parked_reason = 'it threw' where workflow_id = 'wf-open-010'`,
      `update workflows set status = 'open', parked_reason = null where workflow_id = 'wf-open-010'`,
      async () => {
        const { code, report } = await findings();
        expect(report.workflows).toMatchObject([
          { workflowId: 'wf-open-010', outcome: 'resumes', reasons: ['was parked: it threw'] },
        ]);
        expect(code).toBe(0);
      },
    );
  });

  it('says that a database cannot be reached, or is none of the platform', async () => {
    const nowhere = await upgradeCheck('--against', 'postgresql://127.0.0.1:1/none');
    expect(nowhere).toMatchObject({ code: 69, stdout: '' });
    expect(nowhere.stderr).toMatch(/DATABASE_URL/);
    const wrong = await upgradeCheck('--against', 'mysql://127.0.0.1/none');
    expect(wrong).toMatchObject({ code: 78, stdout: '' });
    const foreign = new URL(db.url);
    foreign.pathname = '/postgres';
    const empty = await upgradeCheck('--against', foreign.href);
    expect(empty).toMatchObject({ code: 69, stderr: expect.stringMatching(/no database of the platform/) });
  });
});
