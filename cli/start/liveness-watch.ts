import { setTimeout as delay } from 'node:timers/promises';
import { probe } from './readiness-probe.ts';

/** When a process that does not exit counts as hung. */
export interface LivenessPolicy {
  /** A probe begins this long after the one before began, ms; it may take as long and no longer. */
  readonly everyMs: number;
  /** Probes in a row without any answer after which the process counts as hung, from 1. */
  readonly misses: number;
}

/**
 * A process that hangs is found 15 to 20 s later. Three misses, so that neither one long garbage collection nor a machine that slept ends a
 * healthy process; 5 s each, since services of a busy two-core machine were seen to answer within 1 s.
 */
export const DEFAULT_LIVENESS: LivenessPolicy = { everyMs: 5_000, misses: 3 };

interface Hang {
  /** Since the last answer. */
  readonly silentMs: number;
  /** What the last probe met. */
  readonly reason: string;
}

/**
 * Asks `url` (a `/healthz`) again and again; resolves with how it hangs, or with null when `signal` aborts first. Never rejects.
 *
 * Any answer is a sign of life, a refusal too: whether the process can serve (its database is away) is `/readyz`'s question and no reason to
 * kill it. Before its first answer nothing is counted: a process may take as long as it needs to listen.
 */
export async function untilHung(url: string, policy: LivenessPolicy, signal: AbortSignal): Promise<Hang | null> {
  let answeredAt: number | null = null;
  let misses = 0;
  while (!signal.aborted) {
    const begunAt = performance.now();
    const { answered, reason } = await probe(url, { timeoutMs: policy.everyMs });
    if (signal.aborted) return null;
    if (answered) {
      answeredAt = begunAt;
      misses = 0;
    } else if (answeredAt !== null) {
      misses += 1;
      if (misses >= policy.misses) return { silentMs: performance.now() - answeredAt, reason };
    }
    const rest = policy.everyMs - (performance.now() - begunAt);
    if (rest > 0) await delay(rest, undefined, { signal }).catch(() => undefined);
  }
  return null;
}
