import { expect } from 'vitest';
import { ACTIVITIES } from '#lib/contracts/activities.ts';
import { type Json, canonicalJson } from '#lib/kernel/canonical-json.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { startProcess, startWorker } from '../engine-harness.ts';
import { eventually } from '../eventually.ts';
import type { Place } from '../place.ts';
import { evalOnlyInput, FULL_RELEASE, hpoInput, retrainInput, rlhfInput } from './flow-inputs.ts';
import { plausibleOutput } from './flow-outputs.ts';
import { createProject, jobsLike, signalCommand, takeIn } from './flow-site.ts';

/**
 * The flows besides fine_tune, each through everything it has: children, two approvers, a canary. Each job has a model of its own, named like the job:
 * of two canaries of one model the second gets no traffic.
 */
const FLOWS = {
  eval_only: (jobId: string) => ({ ...evalOnlyInput(), jobId }),
  retrain: (jobId: string) => {
    const input = retrainInput({}, FULL_RELEASE);
    const model = { name: jobId };
    return { ...input, spec: { ...input.spec, model, training: { ...input.spec.training, model } }, jobId };
  },
  rlhf: (jobId: string) => {
    const input = rlhfInput('ppo', FULL_RELEASE);
    return { ...input, spec: { ...input.spec, model: { name: jobId } }, jobId };
  },
  hpo: (jobId: string) => {
    const input = hpoInput({ trials: 2, maxConcurrent: 2, release: FULL_RELEASE, pruning: { strategy: 'none' } });
    const trial = { ...input.spec.trial, model: { name: jobId } };
    return { ...input, spec: { ...input.spec, trial }, jobId, champion: 2 };
  },
} as const;
/** In production before each job, as its input says. */
const CHAMPION = 3;

type Flow = keyof typeof FLOWS;
const flows = Object.keys(FLOWS) as Flow[];

/** What comes from outside (an activity's answer, a vote, a verdict) that each flow needs to its end. */
const STIMULI: Readonly<Record<Flow, number>> = { eval_only: 2, retrain: 14, rlhf: 11, hpo: 18 };

/** Lets a number of stimuli of a flow pass; the rest waits until all may. */
class Tempo {
  #permits = 0;
  readonly #waiting: (() => void)[] = [];

  allow(count: number): void {
    this.#permits += count;
    while (this.#permits > 0 && this.#waiting.length > 0) {
      this.#permits--;
      this.#waiting.shift()?.();
    }
  }

  async take(): Promise<void> {
    if (this.#permits > 0) this.#permits--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

const rootOf = (workflowId: string): string => workflowId.split('~')[0] ?? workflowId;

/** Runs the four flows once for each event of the longest of them: the orchestrator is killed after that many, everything else goes on meanwhile. */
export async function killAfterEveryEventOfFlows(place: Place, database: Database): Promise<void> {
  await createProject(database);
  const tempos = new Map<string, Tempo>();
  const tempo = (root: string): Tempo => {
    const known = tempos.get(root) ?? new Tempo();
    tempos.set(root, known);
    return known;
  };
  const run = (name: string) => async (context: ActivityContext) => {
    await tempo(rootOf(context.workflowId)).take();
    return name === 'run_training'
      ? { ...(plausibleOutput(name, context.input) as object), metrics: { 'validation.loss': 1 } }
      : plausibleOutput(name, context.input);
  };
  const activities = Object.fromEntries(Object.keys(ACTIVITIES).map((name) => [name, run(name)]));
  // A new version for each job, as the registry would give: models are shared between the runs.
  let versions = 10;
  for (const name of ['register_model', 'register_aligned_model'] as const)
    activities[name] = async (context) => ({ ...((await run(name)(context)) as object), version: versions++ });
  activities['find_champion'] = async (context) => {
    await run('find_champion')(context);
    const { model } = context.input as { model: string };
    const { rows } = await database.query<{ version: number }>(
      `select version from model_stages where project = 'demo' and model = $1 and stage = 'prod'`,
      [model],
    );
    return { version: rows[0]?.version ?? null };
  };
  const cpu = await startWorker(place, activities);
  const gpu = await startWorker(place, activities, { lane: 'gpu' });
  const people = new People(
    database,
    (root) => tempo(root),
    (messages) => cpu.bus.publish(messages),
  );
  let orchestrator = await startProcess('orchestrator-process.ts', place);
  const results = new Map<Flow, string>();
  try {
    for (let point = 0; point <= Math.max(...Object.values(STIMULI)); point++) {
      const due = flows.filter((flow) => point <= STIMULI[flow]);
      for (const flow of due) {
        const root = `wf-${flow}-${point}`;
        tempo(root).allow(point);
        await database.query(
          `select promotion_append(array['demo'], array[$1], array[$2::int], array['prod'], array[null]::text[], array['test'],
             array['before'], array[0]::bigint[])`,
          [`job-${flow}-${point}`, CHAMPION],
        );
        await cpu.bus.publish([await takeIn(database, root, flow, FLOWS[flow](`job-${flow}-${point}`))]);
      }
      await eventually(
        async () => {
          await people.answer();
          for (const flow of due)
            expect([flow, await stimuliOf(database, `wf-${flow}-${point}`)]).toEqual([flow, point]);
        },
        { withinMs: 20_000 },
      );
      await orchestrator.kill();
      for (const flow of due) tempo(`wf-${flow}-${point}`).allow(1_000);
      orchestrator = await startProcess('orchestrator-process.ts', place);
      for (const flow of due) await endsAsAlways(flow, point);
    }
  } finally {
    await orchestrator.kill();
    await Promise.all([cpu.close(), gpu.close()]);
  }

  async function endsAsAlways(flow: Flow, point: number): Promise<void> {
    const jobId = `job-${flow}-${point}`;
    await eventually(
      async () => {
        await people.answer();
        const jobs = await jobsLike(database, jobId);
        expect(jobs.find(({ id }) => id === jobId)).toMatchObject({ id: jobId, status: 'COMPLETED' });
      },
      { withinMs: 30_000 },
    );
    const jobs = (await jobsLike(database, `${jobId}-`)).concat(
      (await jobsLike(database, jobId)).filter(({ id }) => id === jobId),
    );
    expect(jobs.filter(({ status, finished }) => status !== 'COMPLETED' || !finished)).toEqual([]);
    const ledger = await database.query(
      `select stage, (select outcome from traffic_splits t where t.job_id = p.job_id) as outcome,
              (select count(*)::int from traffic_splits t where t.job_id = p.job_id) as splits,
              (select string_agg(status || jsonb_array_length(votes), ' ') from approvals a where a.job_id = p.job_id) as tickets
       from promotions p where job_id = $1 order by seq`,
      [jobId],
    );
    const end = canonicalJson(
      JSON.parse(
        JSON.stringify({ jobs: jobs.length, ledger: ledger.rows, open: await openOf(database, `wf-${flow}-${point}`) }),
      ) as Json,
    );
    const always = results.get(flow) ?? end;
    results.set(flow, always);
    expect(`${flow} killed after ${point}: ${end}`).toBe(`${flow} killed after ${point}: ${always}`);
    if (flow !== 'eval_only')
      expect(ledger.rows).toEqual([
        { stage: 'staging', outcome: 'pass', splits: 1, tickets: 'approved2' },
        { stage: 'prod', outcome: 'pass', splits: 1, tickets: 'approved2' },
      ]);
  }
}

/** Activities that came back with an answer, votes and verdicts in the logs of a workflow and its children. */
async function stimuliOf(database: Database, root: string): Promise<number> {
  const { rows } = await database.query<{ n: number }>(
    `select count(*)::int as n from events where (workflow_id = $1 or starts_with(workflow_id, $1 || '~'))
     and (type in ('ActivityCompleted', 'ApprovalVoted') or data->>'signal' = 'canary.verdict')`,
    [root],
  );
  return rows[0]?.n ?? 0;
}

/** What is left behind: timers, activities that are not over, workflows that are not done. */
async function openOf(database: Database, root: string): Promise<object | undefined> {
  const { rows } = await database.query<object>(
    `select (select count(*)::int from timers t where starts_with(t.workflow_id, $1)) as timers,
            (select count(*)::int from activities a where (a.workflow_id = $1 or starts_with(a.workflow_id, $1 || '~')) and a.state <> 'done') as activities,
            (select count(*)::int from workflows w where (w.workflow_id = $1 or starts_with(w.workflow_id, $1 || '~')) and w.status <> 'done') as workflows`,
    [root],
  );
  return rows[0];
}

/** Two approvers who always agree, and a watch that finds every canary good; each says so once, when the flow's tempo lets it. */
class People {
  readonly #database: Database;
  readonly #tempo: (root: string) => Tempo;
  readonly #publish: (messages: ReturnType<typeof signalCommand>[]) => Promise<unknown>;
  readonly #asked = new Set<string>();

  constructor(
    database: Database,
    tempo: (root: string) => Tempo,
    publish: (messages: ReturnType<typeof signalCommand>[]) => Promise<unknown>,
  ) {
    this.#database = database;
    this.#tempo = tempo;
    this.#publish = publish;
  }

  async answer(): Promise<void> {
    const tickets = await this.#database.query<{ workflow_id: string; approval: string; digest: string }>(
      `select workflow_id, approval, digest from approvals where status = 'open'`,
    );
    for (const { workflow_id: root, approval, digest } of tickets.rows)
      for (const by of ['ann', 'bob'])
        this.#once(`${root}/${approval}/${by}`, root, () =>
          signalCommand(root, 'approval.vote', { approval, decision: 'approve', comment: null, digest }, by),
        );
    const splits = await this.#database.query<{ workflow_id: string }>(
      'select workflow_id from traffic_splits where ended_at_ms is null',
    );
    for (const { workflow_id: root } of splits.rows)
      this.#once(`${root}/canary`, root, () => signalCommand(root, 'canary.verdict', { outcome: 'pass', reports: [] }));
  }

  #once(what: string, root: string, message: () => ReturnType<typeof signalCommand>): void {
    if (this.#asked.has(what)) return;
    this.#asked.add(what);
    void this.#tempo(root)
      .take()
      .then(() => this.#publish([message()]));
  }
}
