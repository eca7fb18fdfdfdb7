import type { AnyStateMachine } from 'xstate';
import type { EventRow } from '../../../services/orchestrator/app/commit.ts';
import type { Fact } from '../../../services/orchestrator/domain/facts.ts';
import { edgesOf } from '../../architecture/machine-paths.ts';
import { RULES } from './rules.ts';
import type { Violations } from './violations.ts';

/** What a log may do next; kept here, independent of the code under test. */
interface LogView {
  seq: number;
  state: string;
  machine: MachineView;
  readonly messageIds: Set<string>;
  /** What attempts said, by type and content: the same again is a message taken twice, whatever its id. */
  readonly said: Set<string>;
  /** Epoch that may speak next, by activity. */
  readonly epochs: Map<string, { epoch: number; over: boolean }>;
}

interface MachineView {
  readonly initial: ReadonlySet<string>;
  readonly finals: ReadonlySet<string>;
  readonly edges: ReadonlySet<string>;
  readonly retries: ReadonlySet<string>;
}

/** Facts after which the next attempt has the next epoch. */
const ENDS_ATTEMPT: readonly string[] = ['ActivityFailed', 'ActivityYielded', 'ActivityDeclined', 'LeaseEnded'];

/** Codes of failures that no fault brings about: a simulated activity that breaks its schema. */
const OWN_MISTAKES: readonly string[] = ['Internal', 'ValidationFailed', 'ManifestInvalid'];

/** Follows every log as it grows: order, dedupe, edges, epochs. */
export class LogInvariant {
  readonly #violations: Violations;
  readonly #machines: ReadonlyMap<string, MachineView>;
  readonly #logs = new Map<string, LogView>();

  constructor(violations: Violations, machines: readonly AnyStateMachine[]) {
    this.#violations = violations;
    this.#machines = new Map(machines.map((machine) => [machine.id, viewOf(machine)]));
  }

  /** Whether the log has this message. */
  has(workflowId: string, messageId: string): boolean {
    return this.#logs.get(workflowId)?.messageIds.has(messageId) === true;
  }

  started(workflowId: string): boolean {
    return this.#logs.has(workflowId);
  }

  ended(workflowId: string): boolean {
    const log = this.#logs.get(workflowId);
    return log !== undefined && log.machine.finals.has(log.state);
  }

  appended(events: readonly EventRow[]): void {
    for (const event of events) {
      const fact = { type: event.type, data: JSON.parse(event.dataJson) } as Fact;
      const log = this.#logs.get(event.workflowId);
      if (log === undefined) this.#begin(event, fact);
      else this.#continue(log, event, fact);
    }
  }

  #begin(event: EventRow, fact: Fact): void {
    const definition = fact.type === 'WorkflowStarted' ? fact.data.definition : '';
    const machine = this.#machines.get(definition);
    this.#violations.check(RULES.seq, event.seq === 1, () => `${event.workflowId} begins with seq ${event.seq}`);
    this.#violations.check(
      RULES.edge,
      machine !== undefined && machine.initial.has(event.state),
      () => `${event.workflowId} begins with ${event.type} in state ${event.state}`,
    );
    if (machine === undefined) return;
    const { seq, state, messageId } = event;
    this.#logs.set(event.workflowId, {
      seq,
      state,
      machine,
      messageIds: new Set([messageId]),
      said: new Set(),
      epochs: new Map(),
    });
  }

  #continue(log: LogView, event: EventRow, fact: Fact): void {
    const { workflowId, seq, type, state, messageId } = event;
    const check = this.#violations;
    check.check(RULES.seq, seq === log.seq + 1, () => `${workflowId}: seq ${seq} after ${log.seq}`);
    check.check(RULES.messageId, !log.messageIds.has(messageId), () => `${workflowId}: ${messageId} twice`);
    const ended = log.machine.finals.has(log.state);
    check.check(
      RULES.factAfterEnd,
      !ended || type === 'LateMessageIgnored' || type === 'RetryRequested',
      () => `${workflowId}: ${type} in the final state ${log.state}`,
    );
    check.check(
      RULES.edge,
      type === 'RetryRequested'
        ? log.machine.retries.has(`${log.state} ${state}`)
        : state === log.state || (type !== 'LateMessageIgnored' && log.machine.edges.has(`${log.state} ${state}`)),
      () => `${workflowId} #${seq}: ${type} leads from ${log.state} to ${state}`,
    );
    if (type !== 'LateMessageIgnored' && 'epoch' in fact.data) this.#attempt(log, event, fact);
    if (fact.type === 'ActivityFailed')
      check.check(
        RULES.activities,
        !OWN_MISTAKES.includes(fact.data.code),
        () => `${workflowId}: ${fact.data.activityId} failed with ${fact.data.code}: ${fact.data.message}`,
      );
    log.seq = seq;
    log.state = state;
    log.messageIds.add(messageId);
  }

  #attempt(log: LogView, { workflowId, seq, type, messageId }: EventRow, fact: Fact): void {
    const { activityId, epoch } = fact.data as OfAttempt;
    // What a worker says carries its attempt in the message's id.
    const [, ofWorkflow, , ofEpoch] = messageId.split(':');
    this.#violations.check(
      RULES.oldEpoch,
      ofWorkflow !== workflowId || Number.parseInt(ofEpoch ?? '', 10) === epoch,
      () => `${workflowId} #${seq}: ${messageId} is logged as epoch ${epoch}`,
    );
    const current = log.epochs.get(activityId) ?? { epoch: 1, over: false };
    this.#violations.check(
      RULES.oldEpoch,
      epoch === current.epoch && !current.over,
      () => `${workflowId} #${seq}: ${type} of ${activityId} epoch ${epoch}; current is ${JSON.stringify(current)}`,
    );
    const content = `${type} ${JSON.stringify(fact.data)}`;
    this.#violations.check(RULES.messageId, !log.said.has(content), () => `${workflowId} #${seq}: ${content} twice`);
    log.said.add(content);
    const over = current.over || type === 'ActivityCompleted';
    log.epochs.set(activityId, { epoch: ENDS_ATTEMPT.includes(type) ? current.epoch + 1 : current.epoch, over });
  }
}

interface OfAttempt {
  readonly activityId: string;
  readonly epoch: number;
}

/** Edges as a log shows them: states that are left at once by a choice are never seen in it, and a failed workflow that is retried goes back to a step. */
function viewOf(machine: AnyStateMachine): MachineView {
  const choices = Object.values(machine.states).flatMap((state) =>
    (state.always ?? []).flatMap(({ target = [] }) => target.map(({ key }) => ({ from: state.key, to: key }))),
  );
  const through = (from: string): string[] => [
    from,
    ...choices.filter((choice) => choice.from === from).flatMap((choice) => through(choice.to)),
  ];
  const steps = Object.values(machine.states).filter(({ meta }) => (meta as { runs?: string } | undefined)?.runs);
  const edges = [
    ...edgesOf(machine).flatMap(({ from, to }) => through(to).map((end) => `${from} ${end}`)),
    ...Object.keys(machine.states).flatMap((from) => through(from).map((end) => `${from} ${end}`)),
  ];
  return {
    initial: new Set(through(machine.root.initial.target[0]?.key ?? '')),
    finals: new Set(Object.values(machine.states).flatMap((state) => (state.type === 'final' ? [state.key] : []))),
    edges: new Set(edges),
    retries: new Set(steps.map(({ key }) => `failed ${key}`)),
  };
}
