import { setTimeout as delay } from 'node:timers/promises';
import { Counter } from 'prom-client';
import type { ReceivedMessage, Subscription, TransactionalBus } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { ServiceContext } from '#lib/service/lifecycle.ts';
import { foldBatch, lookAtSplits } from '../app/watch-canaries.ts';
import { PostgresCanaries } from './postgres-canary.ts';

const GROUP = 'canary-watch';
/** Observations of one transaction at most. */
const MAX_BATCH = 1_000;
/** Longest wait for observations: looks are due meanwhile. */
const MAX_WAIT_MS = 1_000;
/** Wait before another try when database or bus cannot be reached. */
const RETRY_MS = 500;

type Service = Pick<ServiceContext<unknown>, 'logger' | 'metrics' | 'signal' | 'onStop' | 'fail'>;

/** Watches the canaries of open traffic splits until the service stops. Everything it knows is in the database: it may die at any moment. */
export async function runCanaryWatch(
  service: Service,
  database: Database,
  bus: TransactionalBus,
  codec: Codec,
): Promise<void> {
  const { logger, metrics, signal } = service;
  const subscription = await bus.subscribe({
    groupId: GROUP,
    topics: ['production.observations'],
    from: 'beginning',
    sessionTimeoutMs: 6_000,
  });
  const ports = { store: new PostgresCanaries(database, bus), codec };
  const answers = new Counter({
    name: 'trainyard_canary_answers_total',
    help: 'Answers that counted for a canary or its baseline',
    registers: [metrics],
  });
  const verdicts = new Counter({
    name: 'trainyard_canary_verdicts_total',
    help: 'Canaries by outcome: pass, fail, inconclusive',
    labelNames: ['outcome'],
    registers: [metrics],
  });
  const turn = async (): Promise<void> => {
    const messages = await subscription.poll({ maxMessages: MAX_BATCH, maxWaitMs: MAX_WAIT_MS });
    if (messages.length > 0) {
      answers.inc(await foldBatch(ports, messages, Date.now()));
      await commit(subscription, messages);
    }
    for (const { jobId, outcome } of await lookAtSplits(ports, Date.now())) {
      verdicts.inc({ outcome });
      logger.info({ jobId, outcome }, 'canary decided');
    }
  };
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await turn();
      } catch (error) {
        logger.warn({ err: error }, 'canaries not looked at, trying again');
        await subscription.rewind().catch(() => undefined);
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  };
  const running = loop();
  running.catch((error: unknown) => service.fail(error));
  service.onStop('canary watch', async () => {
    subscription.wake();
    await running;
    await subscription.close();
  });
}

/** What was counted and comes again is not counted again: it need not be one transaction. */
async function commit(subscription: Subscription, messages: readonly ReceivedMessage[]): Promise<void> {
  const ends = messages.map(({ topic, partition, offset }) => ({ topic, partition, nextOffset: offset + 1 }));
  const last = new Map(ends.map((end) => [`${end.topic}/${end.partition}`, end]));
  await subscription.commit([...last.values()]);
}
