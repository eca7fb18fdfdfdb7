import { JOB_STATUS } from '#lib/contracts/jobs.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { castVote } from '../../services/gateway/app/approvals.ts';
import { cancelJob } from '../../services/gateway/app/job-commands.ts';
import { type JobSignal, signalJob } from '../../services/gateway/app/job-signals.ts';
import type { Gateway, JobRow } from '../../services/gateway/app/ports.ts';
import type { ApprovalRow, Commit } from '../../services/orchestrator/app/commit.ts';
import { digestOf } from './artifacts.ts';
import type { Clients } from './client.ts';
import type { Faults } from './faults.ts';
import { SUBMITTER } from './job-kinds.ts';
import type { Split } from './release-tables.ts';
import { isFinalJob, type SimDatabase } from './sim-database.ts';
import type { OutboxWorld } from './sim-outbox.ts';
import { SimApprovals } from './sim-releases.ts';
import type { Simulator } from './simulator.ts';

/** Nobody of them submits jobs. */
const APPROVERS = ['approver-1', 'approver-2', 'approver-3'];

/** Most answer within seconds, some when it is too late. */
const SOON_MS = 5_000;
const LATE_MS = 40_000;

/** Everybody but the submitters: who votes about releases, watches canaries, and meddles with jobs while they run. */
export class People {
  readonly #sim: Simulator;
  readonly #faults: Faults;
  readonly #database: SimDatabase;
  readonly #clients: Clients;
  readonly #stores: OutboxWorld;
  readonly #splits = new Set<string>();
  /** What somebody is about to do. */
  #intents = 0;

  constructor(world: {
    sim: Simulator;
    faults: Faults;
    database: SimDatabase;
    clients: Clients;
    storeWorld: OutboxWorld;
  }) {
    this.#sim = world.sim;
    this.#faults = world.faults;
    this.#database = world.database;
    this.#clients = world.clients;
    this.#stores = world.storeWorld;
  }

  get busy(): boolean {
    return this.#intents > 0;
  }

  /** After every transaction of an orchestrator: people read what it announced. */
  saw(commit: Commit): void {
    for (const row of commit.approvals)
      if (row.ticket.status === 'open' && row.ticket.votes.length + row.ticket.reminders === 0) this.#ask(row);
    if (commit.splitsStarted.length === 0) return;
    for (const split of this.#database.releases.splits) {
      const key = `${split.workflowId} ${split.model}`;
      if (!this.#splits.has(key)) this.#watch(split);
      this.#splits.add(key);
    }
  }

  /** Somebody does something to some job, or child of a job. */
  meddle(): void {
    const { random } = this.#sim;
    const jobs = [...this.#database.jobs.values()].filter(
      (job) => !isFinalJob(job) || job.status === JOB_STATUS.failed,
    );
    if (jobs.length === 0) return;
    const of = (fits: (job: JobRow) => boolean): JobRow => random.pick(jobs.some(fits) ? jobs.filter(fits) : jobs);
    const acts = [
      () => this.#pause(of(() => true)),
      () => this.#pause(of((job) => job.parentJobId !== null)),
      () =>
        this.#signal(
          of((job) => job.status === JOB_STATUS.paused),
          'resume',
        ),
      () =>
        this.#signal(
          of((job) => job.status === JOB_STATUS.failed),
          'retry',
        ),
      () => this.#cancel(of((job) => job.parentJobId !== null)),
    ];
    random.pick(acts)();
  }

  /** Most are resumed again; a job that nobody resumes runs into its execution timeout. */
  #pause(job: JobRow): void {
    const { random } = this.#sim;
    this.#signal(job, 'pause');
    if (random.chance(0.9)) this.#later(random.int(300, 10_000), 'resumes', () => this.#signal(job, 'resume'));
  }

  #signal(job: JobRow, signal: JobSignal): void {
    this.#faults.count(`${signal} request`);
    this.#sim.note(`somebody asks for ${signal} of ${job.workflowId}`);
    this.#clients.insist((gateway) =>
      answered(signalJob(gateway, { id: job.id, project: job.project, signal, by: 'operator', reason: null })),
    );
  }

  #cancel(job: JobRow): void {
    this.#faults.count('cancel request for a child');
    this.#sim.note(`somebody cancels ${job.workflowId}`);
    this.#clients.insist((gateway) =>
      answered(cancelJob(gateway, { id: job.id, project: job.project, by: 'operator', reason: null })),
    );
  }

  #ask(row: ApprovalRow): void {
    const { random } = this.#sim;
    for (const by of APPROVERS) {
      if (random.chance(0.15)) continue;
      const late = random.chance(0.1);
      if (late) this.#faults.count('late vote');
      const afterMs = random.int(100, late ? LATE_MS : SOON_MS);
      const decision = random.chance(0.85) ? 'approve' : 'reject';
      this.#later(afterMs, 'votes', () => this.#vote(row, by, decision));
      if (!random.chance(0.2)) continue;
      this.#faults.count('vote twice');
      this.#later(afterMs + random.int(0, 2_000), 'votes again', () => this.#vote(row, by, decision));
    }
    if (random.chance(0.4)) {
      this.#faults.count('vote of the submitter');
      this.#later(random.int(50, SOON_MS), 'votes', () => this.#vote(row, SUBMITTER, 'approve', random.chance(0.7)));
    }
    if (!random.chance(0.2)) return;
    this.#faults.count('vote about something else');
    const other = { ...row, ticket: { ...row.ticket, digest: digestOf('something else') } };
    const by = random.pick(APPROVERS);
    this.#later(random.int(50, SOON_MS), 'votes', () => this.#vote(other, by, 'approve', random.chance(0.7)));
  }

  /** `past`: the signal is published by another system, which asks no gateway whether it may. */
  #vote(row: ApprovalRow, by: string, decision: 'approve' | 'reject', past = false): void {
    const { id, project, workflowId, ticket } = row;
    const { approval, digest } = ticket;
    const vote = { decision, comment: null, digest };
    this.#clients.insist((gateway, life) => {
      if (!past) return answered(castVote(gateway, new SimApprovals(this.#stores, life), { id, project, by, ...vote }));
      const signal = { id: `vote:past:${id}:${by}:${digest}`, workflowId, signal: 'approval.vote', by };
      return this.#publish(gateway, signal, { approval, ...vote });
    });
  }

  /** The canary watch: one verdict a split, which is sent again when its answer is lost; sometimes late, sometimes never. */
  #watch({ workflowId, model }: Split): void {
    const { random } = this.#sim;
    const outcome = random.pick(['pass', 'pass', 'pass', 'fail', 'inconclusive']);
    const late = random.chance(0.15);
    const twice = random.chance(0.3);
    if (random.chance(0.1)) return this.#faults.count('canary verdict never comes');
    if (late) this.#faults.count('late canary verdict');
    const send = (): void => {
      this.#clients.insist((gateway) => {
        const id = `canary:${workflowId}:${model}:verdict`;
        const signal = { id, workflowId, signal: 'canary.verdict', by: 'canary-watch' };
        return this.#publish(gateway, signal, { outcome, reports: [] });
      });
    };
    const afterMs = random.int(100, late ? LATE_MS : SOON_MS);
    this.#later(afterMs, 'sends a verdict', send);
    if (!twice) return;
    this.#faults.count('canary verdict twice');
    this.#later(afterMs + random.int(0, 3_000), 'sends a verdict again', send);
  }

  #publish(
    gateway: Gateway,
    { id, workflowId, signal, by }: { id: string; workflowId: string; signal: string; by: string },
    data: object,
  ): Promise<void> {
    const payload = { workflowId, signal, dataJson: JSON.stringify(data), requestedBy: by };
    const envelope = { id, source: '/simulation', timeMs: gateway.now() };
    const message = {
      topic: 'orchestrator.commands',
      key: workflowId,
      type: 'SignalWorkflow',
      payload,
      envelope,
    } as const;
    return gateway.jobs.publish([encodeMessage(gateway.codec, message)]);
  }

  #later(afterMs: number, what: string, act: () => void): void {
    this.#intents += 1;
    this.#sim.schedule(afterMs, `somebody ${what}`, () => {
      this.#intents -= 1;
      act();
    });
  }
}

/** A refusal is an answer, too; what passes by itself is asked again. */
async function answered(asked: Promise<unknown>): Promise<void> {
  try {
    await asked;
  } catch (error) {
    if (!(error instanceof TrainyardError) || error.retryable) throw error;
  }
}
