import { admit, type Admission, type WorkflowMessage } from '../../services/orchestrator/domain/admission.ts';
import type { Fact } from '../../services/orchestrator/domain/facts.ts';
import { type Effect, evolve, type WorkflowState } from '../../services/orchestrator/domain/workflow-state.ts';
import type { WorkflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';

/** A fact and when it was appended, epoch ms. */
export interface FactAt {
  readonly fact: Fact;
  readonly atMs: number;
}

/** What a message or a fact led to, short enough to be written into a test. */
export interface Outcome {
  readonly admission: Admission['kind'];
  /** The fact that was appended, or null. */
  readonly fact: Fact | null;
  readonly before: WorkflowState | null;
  /** Null for a workflow that has not started. */
  readonly state: WorkflowState | null;
  /** One line per effect, in order: `run_training: queued #2`, `stop run_training #1 Revoked`, `finished FAILED`. */
  readonly effects: readonly string[];
}

export const WORKFLOW_ID = 'wf-under-test';

/** The first fact of a history is at this time; the next ones follow a second apart unless they say otherwise. */
export const T0 = 1_000_000;

/**
 * `given(facts).when(message).then(outcome => ...)`: folds the facts, hands over one message (through admission, as the engine does) or
 * one fact of the engine's own (a lease that ended, a timeout, a timer), and shows what came of it. Nothing is mocked: this is the domain.
 */
export function givenWhenThen(registry: WorkflowRegistry) {
  const given = (...facts: readonly (Fact | FactAt)[]) => {
    const history = timed(facts);
    const before = foldFacts(registry, history);
    const nowMs = (history.at(-1)?.atMs ?? T0 - 1_000) + 1_000;
    const when = (input: WorkflowMessage | Fact) => {
      const outcome = 'data' in input ? append(input, 'append') : receive(input);
      return { then: (check: (outcome: Outcome) => void): void => check(outcome) };
    };
    const append = (fact: Fact, admission: Admission['kind']): Outcome => {
      const { state, effects } = evolve(registry, WORKFLOW_ID, before, fact, nowMs);
      return { admission, fact, before, state, effects: effects.map(said) };
    };
    const receive = (message: WorkflowMessage): Outcome => {
      const admission = admit(registry, before, message, nowMs);
      if (admission.kind === 'ignore') return { admission: 'ignore', fact: null, before, state: before, effects: [] };
      return append(admission.fact, admission.kind);
    };
    return { when, state: before };
  };
  return { given };
}

/** Facts with times: a second apart, or as they say. */
export function timed(facts: readonly (Fact | FactAt)[]): FactAt[] {
  const history: FactAt[] = [];
  for (const each of facts)
    history.push('fact' in each ? each : { fact: each, atMs: (history.at(-1)?.atMs ?? T0 - 1_000) + 1_000 });
  return history;
}

/** The fold of a history, from nothing or from a snapshot. */
export function foldFacts(
  registry: WorkflowRegistry,
  history: readonly FactAt[],
  snapshot: WorkflowState | null = null,
): WorkflowState | null {
  let state = snapshot;
  for (const { fact, atMs } of history) state = evolve(registry, WORKFLOW_ID, state, fact, atMs).state;
  return state;
}

/** An effect in one line. */
export function said(effect: Effect): string {
  switch (effect.type) {
    case 'activityChanged':
      return `${effect.entry.request.activityId}: ${effect.entry.state} #${effect.entry.epoch}`;
    case 'stopAttempt':
      return `stop ${effect.activityId} #${effect.epoch} ${effect.reason}`;
    case 'setTimer':
      return `timer ${effect.name} at ${effect.fireAtMs}`;
    case 'cancelTimer':
      return `no timer ${effect.name}`;
    case 'finished':
      return `finished ${effect.status}`;
    case 'startChild':
      return `child ${effect.childId}: ${effect.jobType}`;
    case 'cancelChild':
      return `cancel ${effect.workflowId}`;
    case 'signal':
      return `${effect.signal} to ${effect.workflowId}`;
    case 'approvalChanged':
      return `approval ${effect.ticket.approval}: ${effect.ticket.status}${effect.reminder ? ', reminder' : ''}`;
    case 'promote':
      return `${effect.promotion.model}/${effect.promotion.version} to ${effect.promotion.stage}`;
    case 'startCanary':
      return `canary ${effect.canary.model}/${effect.canary.version} against ${effect.canary.baseline}`;
    case 'endCanary':
      return `no canary ${effect.model}: ${effect.outcome}`;
    case 'reopened':
      return 'reopened';
  }
}
