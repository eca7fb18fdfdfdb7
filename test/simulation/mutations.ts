import type { Bus, OutgoingMessage } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import type { Mutation, MutationScene } from './mutation.ts';
import { OF_FAMILIES_AND_RELEASES } from './mutations-of-families.ts';
import { changed, stepping, withEncoder } from './mutation-means.ts';

/** Bugs made by hand. Each must be found within 1,000 runs (`mutations.test.ts`, `npm run sim -- --mutations`). */
const OF_ONE_WORKFLOW: readonly Mutation[] = [
  {
    name: 'epoch check dropped',
    bug: 'a message of an old epoch is taken for one of the current epoch',
    engineCodec: (codec, scene) => ({ ...withEncoder(codec), decode: currentEpochs(codec, scene) }),
  },
  {
    name: 'offsets before the database',
    bug: 'positions are committed before the rows they stand for',
    profile: 'kafka',
    commitsPositionsFirst: true,
  },
  {
    name: 'shard fence ignored',
    bug: 'the database takes commits of an orchestrator that lost its shards, and overwrites what is there',
    servers: ({ database }) => {
      database.checkFence = () => undefined;
      database.checkUnique = () => undefined;
    },
    profile: 'kafka',
  },
  {
    name: 'dedupe by message id dropped',
    bug: 'a message that comes twice is two messages',
    servers: ({ broker, database }) => {
      const fetch = broker.fetch.bind(broker);
      let repetitions = 0;
      broker.fetch = (positions, max) =>
        fetch(positions, max).map((message) => {
          const id = message.headers['ce_id'] ?? '';
          if (!database.messageIds(message.key ?? '').includes(id)) return message;
          return { ...message, headers: { ...message.headers, ce_id: `${id}~${repetitions++}` } };
        });
    },
  },
  {
    name: 'lease never expires',
    bug: 'a lost worker keeps its attempts for ever',
    settings: (settings) => ({
      ...settings,
      leases: { ...settings.leases, heartbeatTimeoutMs: Infinity, stallFloorMs: Infinity },
    }),
  },
  {
    name: 'placement never taken back',
    bug: 'a command that no worker reports is waited for for ever',
    settings: (settings) => ({ ...settings, leases: { ...settings.leases, acceptTimeoutMs: Infinity } }),
  },
  {
    name: 'late completion accepted',
    bug: 'the completion of an attempt that is over is logged as one of the current attempt',
    store: (store) =>
      changed(store, {
        commit: (commit) =>
          store.commit({
            ...commit,
            events: commit.events.map((event) =>
              event.type === 'LateMessageIgnored' && event.dataJson.includes('"ActivityCompleted"')
                ? { ...event, type: 'ActivityCompleted' }
                : event,
            ),
          }),
      }),
  },
  {
    name: 'duplicate version',
    bug: 'the model registry does not know the source key of a version it has',
    servers: ({ registry }) => {
      const create = registry.create.bind(registry);
      registry.create = (version, by, atMs) => {
        registry.sourceKeys.clear();
        return create(version, by, atMs);
      };
    },
  },
  {
    name: 'timer lost at take-over',
    bug: 'an orchestrator fires only timers that it set itself',
    store: (store) => {
      let own = false;
      return changed(store, {
        commit: async (commit) => {
          await store.commit(commit);
          own ||= commit.timersSet.length > 0;
        },
        nextTimerMs: async (partitions, afterMs) => (own ? store.nextTimerMs(partitions, afterMs) : null),
      });
    },
  },
  {
    name: 'outbox not persisted',
    bug: 'messages of a commit whose orchestrator dies before it published them are gone',
    profile: 'kafka',
    losesOutbox: true,
  },
  {
    name: 'outbox drops on error',
    bug: 'a worker takes a publish that failed for one that came through',
    workerBus: (bus) => ({
      ...busMethods(bus),
      publish: (messages: readonly OutgoingMessage[]) => bus.publish(messages).catch(() => undefined),
    }),
  },
  {
    name: 'cap counted wrong',
    bug: 'workflows that run already are not counted when a shard is read',
    store: (store) =>
      changed(store, {
        openWork: async (partitions) => {
          const { workflows, activities } = await store.openWork(partitions);
          return { workflows: workflows.map((row) => ({ ...row, running: false })), activities };
        },
      }),
  },
  {
    name: 'slot freed twice',
    bug: 'slots of attempts that run already are free again when a shard is read',
    store: (store) =>
      changed(store, {
        openWork: async (partitions) => {
          const { workflows, activities } = await store.openWork(partitions);
          return { workflows, activities: activities.filter((row) => row.state !== 'running') };
        },
      }),
  },
  {
    name: 'budget settled twice',
    bug: 'the end of a job frees its reservation a second time',
    servers: ({ database }) => {
      const settle = database.budget.settle.bind(database.budget);
      database.budget.settle = (project, jobId, reserved, used) => {
        settle(project, jobId, reserved, used);
        database.budget.ledger.push({ project, jobId, kind: 'settle', reserved: -reserved, used });
      };
    },
  },
  {
    name: 'commands not committed',
    bug: 'a worker runs commands without committing their positions',
    workerBus: (bus) => ({
      ...busMethods(bus),
      subscribe: async (options) => {
        const subscription = await bus.subscribe(options);
        subscription.commit = async () => undefined;
        return subscription;
      },
    }),
  },
  {
    name: 'artifacts without epoch',
    bug: 'every training attempt writes into the same folder',
    outputFolder: (workspace) => `${workspace}/output-e1`,
  },
  {
    name: 'placement without epoch',
    bug: 'a placement for another orchestrator is written whatever state the activity is in',
    servers: ({ database }) => {
      database.mayPlace = () => true;
    },
  },
  {
    name: 'snapshot off by one',
    bug: 'a snapshot says that it contains one fact more than it does',
    store: (store) =>
      changed(store, {
        commit: (commit) =>
          store.commit({
            ...commit,
            workflows: commit.workflows.map((row) =>
              row.snapshotJson === null ? row : { ...row, snapshotSeq: row.snapshotSeq + 1 },
            ),
          }),
      }),
  },
  {
    name: 'cancel lost',
    bug: 'a machine that runs does not hear of a cancel request',
    registry: (registry) => stepping(registry, (step, event) => (event.type === 'cancel' ? 'ignore' : step(event))),
  },
  {
    name: 'idempotency key ignored',
    bug: 'the gateway stores a repeated request as another job',
    servers: ({ database }) => {
      database.isTaken = () => false;
    },
  },
];

export const MUTATIONS: readonly Mutation[] = [...OF_ONE_WORKFLOW, ...OF_FAMILIES_AND_RELEASES];

const busMethods = (bus: Bus): Bus => ({
  ensureTopics: (topics) => bus.ensureTopics(topics),
  publish: (messages) => bus.publish(messages),
  subscribe: (options) => bus.subscribe(options),
  lag: (groupId) => bus.lag(groupId),
  check: () => bus.check(),
  close: () => bus.close(),
});

/** A decoder that writes the epoch which the database holds into every message of an attempt. */
function currentEpochs(codec: Codec, { database }: MutationScene): Codec['decode'] {
  return (value) => {
    const decoded = codec.decode(value);
    const { payload } = decoded;
    if (!('activityId' in payload)) return decoded;
    const row = database.activity(payload.workflowId, payload.activityId);
    return row === undefined ? decoded : { ...decoded, payload: { ...payload, epoch: row.epoch } };
  };
}
