import type { Position, ReceivedMessage } from '#lib/bus/port.ts';
import type { LogInvariant } from './log-invariant.ts';
import { RULES } from './rules.ts';
import type { Violations } from './violations.ts';

/** Messages whose id must be in the log once their position is committed; the others may change nothing. */
const MUST_BE_LOGGED: readonly string[] = [
  'ActivityCompleted',
  'ActivityFailed',
  'ActivityYielded',
  'ActivityDeclined',
  'CheckpointSaved',
];

/** What the orchestrators said they processed, they processed. */
export class DeliveryInvariant {
  readonly #violations: Violations;
  readonly #log: LogInvariant;
  readonly #messages = new Map<string, ReceivedMessage[]>();
  readonly #committed = new Map<string, number>();

  constructor(violations: Violations, log: LogInvariant) {
    this.#violations = violations;
    this.#log = log;
  }

  appended(message: ReceivedMessage): void {
    if (message.topic !== 'orchestrator.commands' && message.topic !== 'activities.events') return;
    const key = `${message.topic}/${message.partition}`;
    const known = this.#messages.get(key);
    if (known === undefined) this.#messages.set(key, [message]);
    else known.push(message);
  }

  committed(groupId: string, positions: readonly Position[]): void {
    if (groupId !== 'orchestrator') return;
    for (const { topic, partition, nextOffset } of positions) {
      const key = `${topic}/${partition}`;
      const from = this.#committed.get(key) ?? 0;
      for (const message of this.#messages.get(key)?.slice(from, nextOffset) ?? []) this.#check(message);
      this.#committed.set(key, Math.max(from, nextOffset));
    }
  }

  #check({ topic, partition, offset, key, headers }: ReceivedMessage): void {
    const type = headers['ce_type'] ?? '';
    const workflowId = key ?? '';
    const logged = this.#log.has(workflowId, headers['ce_id'] ?? '');
    const processed =
      type === 'StartWorkflow'
        ? this.#log.started(workflowId)
        : type === 'CancelJob'
          ? logged || this.#log.ended(workflowId)
          : !MUST_BE_LOGGED.includes(type) || logged;
    this.#violations.check(
      RULES.messageLost,
      processed,
      () => `${topic}/${partition}@${offset}: ${type} ${headers['ce_id']} is committed and not in the log`,
    );
  }
}
