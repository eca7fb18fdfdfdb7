import type { Codec } from '#lib/contracts/codec.ts';
import type { Commit } from '../../services/orchestrator/app/commit.ts';
import type { OrchestratorStore } from '../../services/orchestrator/app/store.ts';
import type { WorkflowEvent } from '../../services/orchestrator/domain/workflows/workflow-types.ts';
import { SUBMITTER } from './job-kinds.ts';
import type { Mutation } from './mutation.ts';
import { changed, stepping, withEncoder } from './mutation-means.ts';

/** A store that gets other commits than the orchestrator made. */
const committing =
  (change: (commit: Commit) => Commit) =>
  (store: OrchestratorStore): OrchestratorStore =>
    changed(store, { commit: (commit) => store.commit(change(commit)) });

/** Without the messages of a kind: the id says which. */
const without =
  (drop: (id: string) => boolean) =>
  (commit: Commit): Commit => ({
    ...commit,
    messages: commit.messages.filter(({ headers }) => !drop(headers['ce_id'] ?? '')),
  });

/** A decoder that changes what signals say. */
function hearing(codec: Codec, change: (signal: string, data: Record<string, unknown>, by: string) => object): Codec {
  return {
    ...withEncoder(codec),
    decode: (value) => {
      const decoded = codec.decode(value);
      const { payload } = decoded;
      if (!('signal' in payload)) return decoded;
      const data = JSON.parse(payload.dataJson) as Record<string, unknown>;
      return { ...decoded, payload: { ...payload, ...change(payload.signal, data, payload.requestedBy) } };
    },
  };
}

const isChildEnd = (event: WorkflowEvent): boolean => event.type === 'signal' && event.signal.signal === 'child.ended';

/** Bugs of children, rests, approvals and releases. */
export const OF_FAMILIES_AND_RELEASES: readonly Mutation[] = [
  {
    name: 'child end lost',
    bug: 'a parent does not hear that a child has ended',
    registry: (registry) => stepping(registry, (step, event) => (isChildEnd(event) ? 'ignore' : step(event))),
  },
  {
    name: 'parent end does not cascade',
    bug: 'a workflow that ends cancelled, timed out or failed leaves its children running',
    store: committing(without((id) => /^cancel:wf-.*:wf-/.test(id))),
  },
  {
    name: 'child end cascades to siblings',
    bug: 'a search cancels its other trials when one failed',
    registry: (registry) =>
      stepping(registry, (step, event) => {
        const taken = step(event);
        if (event.type !== 'signal' || event.signal.signal !== 'child.ended') return taken;
        const { child, status } = event.signal.data;
        return status === 'FAILED' ? { ...taken, actions: [...taken.actions, ...siblingsOf(child)] } : taken;
      }),
  },
  {
    name: 'child row without parent',
    bug: 'the row of a child is not written with the commit that starts it',
    store: committing((commit) => ({ ...commit, children: [] })),
  },
  {
    name: 'pause forgotten at take-over',
    bug: 'an orchestrator that takes a shard over places what is paused',
    store: (store) =>
      changed(store, {
        openWork: async (partitions) => {
          const { workflows, activities } = await store.openWork(partitions);
          return { workflows: workflows.map((row) => ({ ...row, paused: false })), activities };
        },
      }),
  },
  {
    name: 'resume of the parent lost',
    bug: 'children that were paused with their parent are not resumed with it',
    store: committing(without((id) => /^signal:.*:resume:/.test(id))),
  },
  {
    name: 'resume without reason',
    bug: 'the resume of a parent revives pruned children, too',
    engineCodec: (codec) => hearing(codec, (signal) => (signal === 'resume' ? { dataJson: '{}' } : {})),
  },
  {
    name: 'slots of trials given away',
    bug: 'trials that run give their slots to others',
    registry: (registry) =>
      stepping(registry, (step, event) => {
        const taken = step(event);
        const context = taken.state.context as { coordination?: Record<string, { state: { trials?: object[] } }> };
        for (const { state } of Object.values(context.coordination ?? {}))
          for (const trial of state.trials ?? []) Object.assign(trial, { atRest: true, standing: 'pruned' });
        return taken;
      }),
  },
  {
    name: "submitter's vote counted",
    bug: 'who submitted a job may agree to its release',
    engineCodec: (codec) => {
      const coded = withEncoder(codec);
      return {
        ...coded,
        decode: (value) => {
          const decoded = codec.decode(value);
          const { payload } = decoded;
          return 'submittedBy' in payload && payload.submittedBy === SUBMITTER
            ? { ...decoded, payload: { ...payload, submittedBy: null } }
            : decoded;
        },
      };
    },
  },
  {
    name: 'votes of one approver counted twice',
    bug: 'an approval that needs two agrees with one',
    store: committing((commit) => ({
      ...commit,
      approvals: commit.approvals.map((row) =>
        row.ticket.votes.length > 0 && row.ticket.status === 'open'
          ? { ...row, ticket: { ...row.ticket, status: 'approved' as const } }
          : row,
      ),
    })),
  },
  {
    name: 'promotion not idempotent',
    bug: 'the ledger writes a line for every start of an orchestrator that promotes again',
    servers: ({ database }) => {
      database.releases.isRepeated = () => false;
      const promote = database.releases.promote.bind(database.releases);
      database.releases.promote = (row) => {
        promote(row);
        if (row.jobId !== null) promote(row);
      };
    },
  },
  {
    name: 'former version stays in prod',
    bug: 'a promotion to prod does not archive the version that was there',
    servers: ({ database }) => {
      const { releases } = database;
      const stages = releases.stages.bind(releases);
      const promote = releases.promote.bind(releases);
      releases.promote = (row) => {
        releases.stages = (project, model) =>
          new Map([...stages(project, model)].filter(([, stage]) => stage !== 'prod'));
        promote(row);
        releases.stages = stages;
      };
    },
  },
  {
    name: 'canary verdict turned round',
    bug: 'a canary that failed passes',
    registry: (registry) =>
      stepping(registry, (step, event) => {
        if (event.type !== 'signal' || event.signal.signal !== 'canary.verdict') return step(event);
        const data = { ...event.signal.data, outcome: 'pass' as const };
        return step({ type: 'signal', signal: { ...event.signal, data } });
      }),
  },
  {
    name: 'retry keeps the old end',
    bug: 'the end of a job that is retried is not taken back',
    store: committing((commit) => ({
      ...commit,
      workflows: commit.workflows.map((row) =>
        commit.reopened.includes(row.jobId) ? { ...row, status: 'done' as const } : row,
      ),
    })),
  },
  {
    name: 'second end booked on top',
    bug: 'a job that was retried pays for its first life twice',
    servers: ({ database }) => {
      const { budget } = database;
      const settle = budget.settle.bind(budget);
      budget.settle = (project, jobId, reserved, used) => {
        const booked = budget.ledger.find((row) => row.jobId === jobId && row.kind === 'settle')?.used ?? 0;
        settle(project, jobId, reserved, booked + used);
      };
    },
  },
  {
    name: 'safety gate open',
    bug: 'whatever the safety evaluation measures, the flow goes on',
    registry: (registry) =>
      stepping(registry, (step, event) =>
        event.type === 'activity.done' && event.activity === 'run_safety_evaluation'
          ? step({ ...event, output: { ...(event.output as object), metrics: SAFE } })
          : step(event),
      ),
  },
];

const SAFE = [{ name: 'toxicity.share', value: 0, standardError: null, higherIsBetter: false, count: 10 }];

const siblingsOf = (child: string) =>
  Array.from({ length: 5 }, (_, n) => `trial-${n}`)
    .filter((sibling) => sibling !== child)
    .map((childId) => ({
      type: 'signalChild' as const,
      params: { childId, signal: 'cancel' as const, reason: 'a sibling failed' },
    }));
