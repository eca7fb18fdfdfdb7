import { causeOf, rowOf } from './attribution.ts';
import type { Strike } from './inject.ts';
import type { AcceptedJob } from './load.ts';
import { lostAttempts, type MeasuredFact } from './log-facts.ts';
import type { Published } from './published.ts';
import { everyTraining, percentile, recoveryMs } from './recovery.ts';
import type { ChaosOptions } from './run-chaos.ts';
import type { ServiceLogs } from './service-logs.ts';
import type { Watched } from './watch.ts';
import type { Wire } from './wire.ts';

/** One kind of fault over a run. Times in ms; null: not seen. */
export interface KindRow {
  readonly kind: string;
  readonly faults: number;
  /** How long what was struck was kept down or stopped, median. */
  readonly downMs: number;
  readonly recoveryP50Ms: number | null;
  readonly recoveryP99Ms: number | null;
  /** Faults after which nothing went on within a minute, or the run ended before. */
  readonly unseen: number;
  readonly attemptsLost: number;
  readonly laneMsLost: number;
}

export interface ChaosReport {
  readonly seed: number;
  readonly setting: string;
  readonly seconds: { readonly total: number; readonly faults: number };
  readonly kinds: readonly KindRow[];
  readonly faults: number;
  /** Faults that found nothing to strike. */
  readonly faultsMissed: number;
  readonly jobs: Readonly<Record<string, number>>;
  readonly jobsAccepted: number;
  /** Of them by type and end, e.g. `rlhf SAFETY_FAILED`; trials, which nobody submitted, are not among them. */
  readonly jobEnds: Readonly<Record<string, number>>;
  readonly jobsLost: number;
  readonly versionsPublishedTwice: number;
  readonly facts: number;
  /** Reports of attempts that were over, recorded and without effect. */
  readonly lateReports: number;
  readonly messages: number;
  readonly duplicateMessages: Readonly<Record<string, number>>;
  readonly laneMs: { readonly useful: number; readonly lost: number; readonly waiting: number };
  readonly outbox: { readonly deepest: number; readonly oldestMs: number };
  readonly ownEnds: Readonly<Record<string, number>>;
  readonly trouble: ServiceLogs['trouble'];
  /** Empty: every invariant held. */
  readonly violations: readonly string[];
}

export interface Findings {
  readonly options: Pick<ChaosOptions, 'site' | 'seed' | 'jobs'>;
  readonly times: {
    readonly beganAtMs: number;
    readonly faultsFromMs: number;
    readonly faultsUntilMs: number;
    readonly endedAtMs: number;
  };
  readonly strikes: readonly Strike[];
  readonly missed: number;
  readonly jobs: readonly AcceptedJob[];
  readonly jobsLost: number;
  readonly facts: readonly MeasuredFact[];
  readonly watched: Watched;
  readonly published: Published;
  readonly wire: Wire;
  readonly logs: ServiceLogs;
  readonly violations: readonly string[];
  readonly laneMs: ChaosReport['laneMs'];
}

/** Kinds of trouble in the logs that a report shows. */
const SHOWN_TROUBLE = 25;

export function reportOf(findings: Findings): ChaosReport {
  const { options, times, strikes, jobs, facts, watched, wire, logs } = findings;
  const { bus, kafkaNodes, store, registry, twins } = options.site;
  return {
    seed: options.seed,
    setting: [
      `${options.jobs} jobs in flight`,
      bus === 'kafka' ? `Kafka (${kafkaNodes === 1 ? 'one node' : `${kafkaNodes} nodes`})` : 'the embedded bus',
      `object store ${store}`,
      `model registry ${registry}`,
      twins ? 'two orchestrators, two workers a lane' : 'one process of each kind',
    ].join(', '),
    seconds: {
      total: (times.endedAtMs - times.beganAtMs) / 1_000,
      faults: (times.faultsUntilMs - times.faultsFromMs) / 1_000,
    },
    kinds: [quiet(findings), ...kindRows(findings)],
    faults: strikes.length,
    faultsMissed: findings.missed,
    jobs: countsOf(jobs.map(({ status }) => status ?? 'open')),
    jobsAccepted: jobs.length,
    jobEnds: countsOf(jobs.map(({ job, status }) => `${job.type} ${status ?? 'open'}`).toSorted()),
    jobsLost: findings.jobsLost,
    versionsPublishedTwice: findings.published.versionsPublishedTwice,
    facts: facts.length,
    lateReports: facts.filter(({ type }) => type === 'LateMessageIgnored').length,
    messages: wire.messages,
    duplicateMessages: wire.duplicates,
    laneMs: findings.laneMs,
    outbox: {
      deepest: Math.max(0, ...watched.outbox.map(({ value }) => value)),
      oldestMs: Math.max(0, ...watched.outbox.map(({ oldestMs }) => oldestMs)),
    },
    ownEnds: logs.ownEnds,
    trouble: logs.trouble.slice(0, SHOWN_TROUBLE),
    violations: findings.violations,
  };
}

function countsOf(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

function kindRows({ strikes, facts, watched, jobs }: Findings): KindRow[] {
  const lost = new Map<string, { attempts: number; ms: number }>();
  const scenarios = new Map(jobs.map(({ id, job }) => [id, job.scenario]));
  for (const attempt of lostAttempts(facts)) {
    const cause = causeOf(attempt, strikes, scenarios.get(attempt.jobId) ?? 'paced');
    const { attempts, ms } = lost.get(cause) ?? { attempts: 0, ms: 0 };
    lost.set(cause, { attempts: attempts + 1, ms: ms + attempt.lostMs });
  }
  const byKind = Map.groupBy(strikes, rowOf);
  const rows = [...byKind].map(([kind, ofKind]) => {
    const times = ofKind.map((each) => recoveryMs(each, { facts, watched }));
    const seen = times.filter((ms) => ms !== null);
    return {
      kind,
      faults: ofKind.length,
      downMs:
        percentile(
          ofKind.map(({ beganAtMs, overAtMs }) => overAtMs - beganAtMs),
          0.5,
        ) ?? 0,
      recoveryP50Ms: percentile(seen, 0.5),
      recoveryP99Ms: percentile(seen, 0.99),
      unseen: times.length - seen.length,
      attemptsLost: lost.get(kind)?.attempts ?? 0,
      laneMsLost: lost.get(kind)?.ms ?? 0,
    };
  });
  for (const [cause, { attempts, ms }] of lost)
    if (!byKind.has(cause)) rows.push({ ...NOTHING, kind: cause, attemptsLost: attempts, laneMsLost: ms });
  return rows.sort((a, b) => a.kind.localeCompare(b.kind));
}

const NOTHING = {
  faults: 0,
  downMs: 0,
  recoveryP50Ms: null,
  recoveryP99Ms: null,
  unseen: 0,
  attemptsLost: 0,
  laneMsLost: 0,
};
const QUIET_EVERY_MS = 250;

/** What the measure of orchestrator, PostgreSQL and Kafka shows when nothing is wrong, at moments of the calm beginning. */
function quiet({ facts, times: { beganAtMs, faultsFromMs } }: Findings): KindRow {
  const times: number[] = [];
  // Jobs come up in the first second; the last one would look into the faults.
  for (let moment = beganAtMs + 2_000; moment < faultsFromMs - 2_000; moment += QUIET_EVERY_MS) {
    const ms = everyTraining(facts, moment);
    if (ms !== null) times.push(ms);
  }
  return {
    ...NOTHING,
    kind: '(no fault)',
    recoveryP50Ms: percentile(times, 0.5),
    recoveryP99Ms: percentile(times, 0.99),
  };
}
