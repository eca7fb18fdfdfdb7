import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sweep } from '../../../services/drift-monitor/adapters/retention.ts';
import { keepUp } from '../../../services/drift-monitor/app/upkeep.ts';
import { codec } from '../../support/engine-harness.ts';
import { NOW, openScene, type Scene, windowful } from './drift-scene.ts';

const HOUR_MS = 3_600_000;
let scene: Scene;
beforeAll(async () => {
  scene = await openScene();
});
afterAll(() => scene.close());

const look = (nowMs = NOW) => keepUp({ codec, store: scene.store }, nowMs);

/** As the gateway stores what a person asks for. */
const ask = (model: string, signalId: string) =>
  scene.database.query(
    `insert into drift_signals (project, signal_id, model, source, outcome, causes, evidence, at_ms)
     values ('demo', $1, $2, 'manual', 'requested', '[]', '{}', $3)`,
    [signalId, model, NOW],
  );
/** As the gateway and the orchestrator store a job and its end. */
const job = (signalId: string, status: string) =>
  scene.database.query(
    `insert into jobs (id, project, type, idempotency_key, request_digest, workflow_id, priority, spec, status)
     values ('job-' || $1::text, 'demo', 'retrain', $1, '', 'wf-' || $1::text, 1, '{}', $2)
     on conflict (id) do update set status = excluded.status`,
    [signalId, status],
  );
const schedule = (model: string, missedRuns: string, nextMs: number) =>
  scene.database.query(
    `insert into retrain_schedules (project, model, cron, time_zone, missed_runs, next_fire_at_ms) values ('demo', $1, '0 3 * * *', 'UTC', $2, $3)`,
    [model, missedRuns, nextMs],
  );
const outcomes = async (model: string): Promise<string[]> =>
  (await scene.signals(model)).map(({ outcome, reason }) => reason ?? outcome);

describe('a retrain that somebody asks for', () => {
  it('is one signal, whichever of several monitors decides it', async () => {
    await scene.policy('asked');
    await ask('asked', 'asked-1');
    const counts = await Promise.all([look(), look(), look()]);
    expect(counts.filter((each) => each['signalled'] === 1)).toHaveLength(1);
    expect(await outcomes('asked')).toEqual(['signalled']);
    expect(await scene.published('asked')).toMatchObject([
      { signalId: 'asked-1', source: 'manual', modelVersion: null },
    ]);
  });

  it('is held back while a retrain of the model runs, and sent again once that ended', async () => {
    await scene.policy('flight');
    await ask('flight', 'flight-1');
    await look();
    await job('flight-1', 'RUNNING');
    await ask('flight', 'flight-2');
    await look(NOW + 1);
    await job('flight-1', 'COMPLETED');
    await ask('flight', 'flight-3');
    await look(NOW + 2);
    expect(await outcomes('flight')).toEqual(['signalled', 'RetrainInFlight', 'signalled']);
  });

  it('that the gateway could not submit frees the way, too', async () => {
    await scene.policy('refused');
    await ask('refused', 'refused-1');
    await look();
    await scene.database.query(
      `update drift_signals set refusal = '{"code":"BudgetExhausted"}' where signal_id = 'refused-1'`,
    );
    await ask('refused', 'refused-2');
    await look(NOW + 1);
    expect(await outcomes('refused')).toEqual(['signalled', 'signalled']);
  });

  it('for a model without a policy, or beyond its budget, is a row with the reason', async () => {
    await ask('nothing', 'nothing-1');
    await scene.policy('poor', { signalBudget: 0 });
    await ask('poor', 'poor-1');
    await look();
    expect([await outcomes('nothing'), await outcomes('poor')]).toEqual([['NoRetrainPolicy'], ['BudgetExhausted']]);
    expect(await scene.published('poor')).toEqual([]);
  });
});

describe('a schedule', () => {
  const due = Date.parse('2027-01-15T03:00:00Z');

  it('fires once in its time, whichever of several monitors sees it', async () => {
    await scene.policy('nightly');
    await schedule('nightly', 'skip', due);
    await look(due - 1_000);
    expect(await outcomes('nightly')).toEqual([]);
    await Promise.all([look(due + 500), look(due + 500)]);
    await look(due + 2_000);
    expect(await scene.published('nightly')).toMatchObject([{ source: 'schedule', modelVersion: null }]);
    const { rows } = await scene.database.query<{ next: number; last: number }>(
      "select next_fire_at_ms as next, last_fired_at_ms as last from retrain_schedules where model = 'nightly'",
    );
    expect(rows).toEqual([{ next: due + 24 * HOUR_MS, last: due + 500 }]);
  });

  it('that was missed is passed over with a row, or run once, as it says', async () => {
    for (const missedRuns of ['skip', 'runOnce']) {
      await scene.policy(`missed-${missedRuns}`);
      await schedule(`missed-${missedRuns}`, missedRuns, due);
    }
    await look(due + 3 * 24 * HOUR_MS + HOUR_MS);
    expect(await scene.signals('missed-skip')).toMatchObject([
      { reason: 'MissedRun', evidence: { schedule: { runs: 4 } } },
    ]);
    expect(await outcomes('missed-runOnce')).toEqual(['signalled']);
  });
});

describe('what is old', () => {
  it('is deleted: raw observations after their time, suppressed signals later, sent ones never', async () => {
    await scene.policy('old');
    await scene.take(scene.intake(), windowful('old', 0), NOW);
    await scene.take(scene.intake(), windowful('old', 1), NOW + 10 * HOUR_MS);
    await ask('old', 'old-1');
    await look();
    await ask('old', 'old-2');
    await look();
    const count = async () =>
      (await scene.database.query<{ n: number }>("select count(*)::int as n from observations where model = 'old'"))
        .rows[0]?.n;
    expect(await sweep(scene.database, NOW + 10 * HOUR_MS, 5 * HOUR_MS)).toMatchObject({
      observations: 300,
      signals: 0,
    });
    expect(await count()).toBe(300);
    await sweep(scene.database, NOW + 91 * 24 * HOUR_MS, 5 * HOUR_MS);
    expect(await count()).toBe(0);
    expect(await outcomes('old')).toEqual(['signalled']);
  });
});
