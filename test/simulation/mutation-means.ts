import type { Codec } from '#lib/contracts/codec.ts';
import type { MachineStep } from '../../services/orchestrator/domain/machine.ts';
import type { WorkflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';
import type { WorkflowEvent } from '../../services/orchestrator/domain/workflows/workflow-types.ts';
import type { OrchestratorStore } from '../../services/orchestrator/app/store.ts';

/** A store with some of its methods changed. */
export const changed = (store: OrchestratorStore, change: Partial<OrchestratorStore>): OrchestratorStore => ({
  claim: (shards) => store.claim(shards),
  commit: (commit) => store.commit(commit),
  load: (ids) => store.load(ids),
  openWork: (partitions) => store.openWork(partitions),
  dueTimers: (partitions, nowMs, limit) => store.dueTimers(partitions, nowMs, limit),
  nextTimerMs: (partitions, afterMs) => store.nextTimerMs(partitions, afterMs),
  projectCaps: () => store.projectCaps(),
  workers: (sinceMs) => store.workers(sinceMs),
  forgetWorkers: (beforeMs) => store.forgetWorkers(beforeMs),
  placements: (attempts) => store.placements(attempts),
  saveWaitReasons: (rows) => store.saveWaitReasons(rows),
  ...change,
});

/** The codec's methods in an object of their own. */
export const withEncoder = (codec: Codec): Codec => ({
  encode: (type, payload) => codec.encode(type, payload),
  decode: (value) => codec.decode(value),
  prepare: (values) => codec.prepare(values),
});

/** Machines whose every step goes through `take`, which may tell them something else; `ignore`: they do not hear of the event. */
export const stepping = (
  registry: WorkflowRegistry,
  take: (step: (event: WorkflowEvent) => MachineStep, event: WorkflowEvent) => MachineStep | 'ignore',
): WorkflowRegistry => ({
  profile: (jobType) => registry.profile(jobType),
  machine: (definition) => {
    const machine = registry.machine(definition);
    if (machine === null) return null;
    return {
      definition,
      start: (input) => machine.start(input),
      step: (state, event) => {
        const taken = take((told) => machine.step(state, told), event);
        return taken === 'ignore' ? { state, actions: [], moved: false } : taken;
      },
      statusOf: (value) => machine.statusOf(value),
      stateRunning: (activityId) => machine.stateRunning(activityId),
      restore: (state) => machine.restore(state),
    };
  },
});
