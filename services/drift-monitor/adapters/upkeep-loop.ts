import { setTimeout as delay } from 'node:timers/promises';
import { Counter } from 'prom-client';
import type { Database } from '#lib/postgres/database.ts';
import { learnReferences } from '../app/learn-references.ts';
import { keepUp, type UpkeepPorts } from '../app/upkeep.ts';
import type { LoopObserver } from './intake-loop.ts';
import { PostgresReferences } from './postgres-references.ts';
import { sweep } from './retention.ts';

/** Between two looks for what was asked for, is due or has ended. */
const EVERY_MS = 1_000;
const SWEEP_EVERY_MS = 60_000;

/** Decides requests and schedules, frees what ended and deletes what is old, until it is stopped. Several monitors may run it. */
export function startUpkeep(
  ports: UpkeepPorts & { readonly database: Database },
  limits: { readonly observationRetentionMs: number },
  { logger, metrics }: LoopObserver,
): { readonly ended: Promise<void>; stop(): Promise<void> } {
  const requests = new Counter({
    name: 'trainyard_retrain_requests_total',
    help: 'Retrains that people, schedules and other systems asked for, by signalled, or the reason why not',
    labelNames: ['outcome'],
    registers: [metrics],
  });
  const references = new PostgresReferences(ports.database);
  const stopping = new AbortController();
  const { signal } = stopping;
  let sweepAtMs = 0;
  const look = async (): Promise<void> => {
    const nowMs = Date.now();
    for (const [outcome, n] of Object.entries(await keepUp(ports, nowMs))) requests.inc({ outcome }, n);
    if (nowMs < sweepAtMs) return;
    const swept = await sweep(ports.database, nowMs, limits.observationRetentionMs);
    for (const version of await learnReferences(references, nowMs))
      logger.info(version, 'reference learnt from the first observations: the version is watched from now on');
    sweepAtMs = nowMs + SWEEP_EVERY_MS;
    if (swept.observations + swept.signals + swept.watches > 0) logger.info(swept, 'old rows deleted');
  };
  const ended = (async () => {
    while (!signal.aborted) {
      await look().catch((error: unknown) => logger.warn({ err: error }, 'upkeep failed, trying again'));
      await delay(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  })();
  return {
    ended,
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}
