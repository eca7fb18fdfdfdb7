import { type ChildProcess, fork } from 'node:child_process';
import { eventually } from '../../../test/support/eventually.ts';
import { type Bus, PartitionLostError, type Position, type TopicPartition } from '../port.ts';
import { WITHIN_MS } from './scene.ts';

export interface MemberSpec {
  readonly url: string;
  readonly groupId: string;
  readonly topics: readonly string[];
  readonly sessionTimeoutMs: number;
}

type MemberReport =
  | { readonly event: 'received'; readonly positions: readonly Position[] }
  | { readonly event: 'rebalanced'; readonly assigned: readonly TopicPartition[] }
  | { readonly event: 'committed' }
  | { readonly event: 'lost'; readonly partitions: readonly TopicPartition[] };

/** The child's side: polls without committing, reports what comes, commits when told. */
export async function runMember(bus: Bus, spec: MemberSpec): Promise<void> {
  const report = (value: MemberReport): void => void process.send?.(value);
  const subscription = await bus.subscribe({
    groupId: spec.groupId,
    topics: spec.topics,
    from: 'beginning',
    sessionTimeoutMs: spec.sessionTimeoutMs,
    onRebalance: ({ assigned }) => report({ event: 'rebalanced', assigned }),
  });
  process.on('message', (command: { commit: Position[] }) => {
    subscription.commit(command.commit).then(
      () => report({ event: 'committed' }),
      (error: unknown) => {
        if (!(error instanceof PartitionLostError)) throw error;
        report({ event: 'lost', partitions: error.partitions });
      },
    );
  });
  process.on('disconnect', () => process.exit(0));
  for (;;) {
    const messages = await subscription.poll({ maxMessages: 1_000, maxWaitMs: 1_000 });
    const positions = messages.map((m) => ({ topic: m.topic, partition: m.partition, nextOffset: m.offset + 1 }));
    if (positions.length > 0) report({ event: 'received', positions });
  }
}

/** The test's side. */
export class MemberProcess {
  readonly #child: ChildProcess;
  readonly #reports: MemberReport[] = [];

  /** `script` builds a bus from the spec in its first argument and calls `runMember`. */
  constructor(script: URL, spec: MemberSpec & Readonly<Record<string, unknown>>) {
    this.#child = fork(script, [JSON.stringify(spec)], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.#child.on('message', (value) => this.#reports.push(value as MemberReport));
  }

  /** Waits until the member has received `count` messages. */
  received(count: number): Promise<readonly Position[]> {
    return eventually(
      () => {
        const positions = this.#reports.flatMap((r) => (r.event === 'received' ? r.positions : []));
        return positions.length >= count && positions;
      },
      { withinMs: WITHIN_MS },
    );
  }

  /** Waits for the `nth` assignment of partitions to this member, counted from 1. */
  assigned(nth: number): Promise<readonly TopicPartition[]> {
    return eventually(
      () => {
        const changes = this.#reports.filter((r) => r.event === 'rebalanced' && r.assigned.length > 0);
        const change = changes[nth - 1];
        return change?.event === 'rebalanced' && change.assigned;
      },
      { withinMs: WITHIN_MS },
    );
  }

  /** Tells the member to commit and waits for what came of it. */
  async commit(positions: readonly Position[]): Promise<'committed' | 'lost'> {
    const answers = (): MemberReport[] => this.#reports.filter((r) => r.event === 'committed' || r.event === 'lost');
    const before = answers().length;
    this.#child.send({ commit: positions });
    const answer = await eventually(() => answers()[before] ?? false, { withinMs: WITHIN_MS });
    return answer.event === 'lost' ? 'lost' : 'committed';
  }

  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
