import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '#lib/kernel/errors.ts';
import type { RestClient } from '../support/e2e/rest-client.ts';
import { makeProject, tinyJob } from '../support/e2e/tiny-jobs.ts';
import { otherText, tinyPairs } from '../support/e2e/tiny-workflows.ts';
import { eventually } from '../support/eventually.ts';
import { SCENARIO } from '../support/fixtures/trainers/scenarios.ts';
import { openBusDoor } from './bus-door.ts';
import { type Fault, kindOf } from './fault-plan.ts';
import { type InjectOptions, type Strike, strike } from './inject.ts';
import { ALWAYS, AT_REST, broken, SOON } from './invariants.ts';
import { JUDGED, mayEnd, SERVED } from './job-mix.ts';
import { Load } from './load.ts';
import { readFacts } from './log-facts.ts';
import { checkPublished } from './published.ts';
import { type ChaosReport, reportOf } from './report.ts';
import { readServiceLogs } from './service-logs.ts';
import { PROJECT, type Site, type SiteOptions, startSite } from './site.ts';
import { Watch } from './watch.ts';
import { readWire } from './wire.ts';

export interface ChaosOptions {
  readonly site: SiteOptions;
  readonly seed: number;
  /** Jobs in flight. */
  readonly jobs: number;
  /** Groups of faults that happen at the same time, one group after the other. */
  readonly faults: (site: Site) => Iterable<readonly Fault[]>;
  /** No group begins after this, ms since the first job; default: all are done. */
  readonly forMs?: number;
  /** Time with jobs and without faults at the start, ms: what things take when nothing is wrong. */
  readonly calmMs: number;
  /** All jobs must have ended so long after the last fault. */
  readonly drainMs: number;
  readonly say: (line: string) => void;
}

/** Runs jobs under faults, waits for their end, and compares what happened with what is promised. Everything is stopped when it resolves. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { say } = options;
  const startedAtMs = Date.now();
  const site = await startSite(options.site);
  say(`everything is ready after ${seconds(Date.now() - startedAtMs)}`);
  try {
    const door = await openBusDoor(site);
    try {
      await makeProject(site.client, site.client, { maxRunningWorkflows: 10_000, gpuSecondsBudget: 1e9 });
      await firstModels(site.client);
      return await underFaults(options, site, door);
    } finally {
      await door.close();
    }
  } finally {
    await site.stop();
  }
}

/** What evaluations, alignments and retrains of the load begin with. */
async function firstModels(client: RestClient): Promise<void> {
  await client.upload('other', otherText(2));
  await client.upload('newer', otherText(3));
  await client.upload('pairs', tinyPairs(), 'jsonl_preferences');
  for (const model of [JUDGED, SERVED]) {
    const { id } = await client.submit(tinyJob({ key: model, seed: SCENARIO.quick }));
    await client.finishedAs(id, 'COMPLETED');
  }
  await client.request(`/v1/models/${SERVED}/versions/1/promote?project=${PROJECT}`, { json: { stage: 'prod' } });
}

async function underFaults(
  options: ChaosOptions,
  site: Site,
  door: Awaited<ReturnType<typeof openBusDoor>>,
): Promise<ChaosReport> {
  const { seed, jobs, calmMs, drainMs, say } = options;
  const beganAtMs = Date.now();
  const watch = new Watch(site, door);
  const load = new Load({ site, door, seed, concurrent: jobs });
  const violations: string[] = [];

  // 1. Faults, and after each a look at what must hold at every moment.
  await delay(calmMs);
  const faultsFromMs = Date.now();
  const { strikes, missed, struckPids } = await strikeAll(options, site, load, violations);
  const faultsUntilMs = Date.now();

  // 2. Every accepted job ends.
  say(`${strikes.length} faults done, ${load.jobs.size} jobs accepted, ${load.ended} ended; waiting for the others`);
  const lost = await load.drain(drainMs);
  const watched = await watch.stop();
  const endedAtMs = Date.now();
  for (const { job, id, status } of load.jobs.values())
    if (status === null) violations.push(`job ${job.key} (${id}) has not ended`);
    else if (!mayEnd(job, status))
      violations.push(`job ${job.key} (${id}, ${job.scenario}) ended ${status}, not ${job.expected}`);

  // 3. The records, the registry, the store, the bus and the logs agree.
  say('all jobs have had their time; comparing log, budget, registry, store and bus');
  violations.push(...load.violations);
  violations.push(...(await broken(site.database, ALWAYS)));
  if (lost === 0) violations.push(...(await brokenAtRest(site)));
  const published = await checkPublished(site, [...load.jobs.values()]);
  const wire = await readWire(door);
  const stored = await observationsStored(site, watched.observationsSent);
  const logs = await readServiceLogs(site, struckPids);
  violations.push(...published.violations, ...wire.violations, ...stored, ...logs.violations);

  return reportOf({
    options,
    times: { beganAtMs, faultsFromMs, faultsUntilMs, endedAtMs },
    strikes,
    missed,
    jobs: [...load.jobs.values()],
    jobsLost: lost,
    facts: await readFacts(site.database),
    watched,
    published,
    wire,
    logs,
    violations: [...new Set(violations)],
    laneMs: await laneMs(site),
  });
}

async function strikeAll(
  { faults, forMs, say }: ChaosOptions,
  site: Site,
  load: Load,
  violations: string[],
): Promise<{ strikes: Strike[]; missed: number; struckPids: Set<number> }> {
  const until = forMs === undefined ? Infinity : Date.now() + forMs;
  const strikes: Strike[] = [];
  const struckPids = new Set<number>();
  let missed = 0;
  const inject: InjectOptions = { site, mayStrike: load.mayStrike, onPid: (pid) => struckPids.add(pid) };
  const one = async (fault: Fault, paired: boolean): Promise<void> => {
    await delay(fault.gapMs);
    try {
      const done = await strike(inject, fault);
      if (done === null) missed++;
      else {
        strikes.push({ ...done, paired });
        if (done.attempt !== null) load.struck(done.attempt.jobId);
        say(`${fault.number} ${kindOf(fault)} (${done.what}), over after ${seconds(done.overAtMs - done.beganAtMs)}`);
      }
    } catch (error) {
      violations.push(`fault ${fault.number} (${kindOf(fault)}) could not be done: ${messageOf(error)}`);
    }
  };
  for (const group of faults(site)) {
    // Alone means alone: what a fault costs is measured from a platform that is whole.
    await eventually(() => requireReady(site), { withinMs: WHOLE_WITHIN_MS, everyMs: 100 }).catch((error: unknown) =>
      violations.push(messageOf(error)),
    );
    if (Date.now() >= until) break;
    await Promise.all(group.map((fault) => one(fault, group.length > 1)));
    for (const line of await broken(site.database, ALWAYS)) {
      const after = `after ${group.map(kindOf).join(' and ')}: ${line}`;
      if (!violations.some((known) => known.endsWith(line))) violations.push(after);
      say(after);
    }
  }
  strikes.sort((a, b) => a.beganAtMs - b.beganAtMs);
  return { strikes, missed, struckPids };
}

/** Services that wait for a peer at their start are ready soon after it. */
const WHOLE_WITHIN_MS = 60_000;

/** Throws while a service or PostgreSQL is down or not ready. */
function requireReady({ platform, services, events }: Site): void {
  platform.process('postgres');
  for (const { name } of services) {
    const { pid } = platform.process(name);
    if (!events.some((event) => event.type === 'process_ready' && event.pid === pid))
      throw new Error(`${name} is not ready`);
  }
}

async function brokenAtRest({ database, peers }: Site): Promise<string[]> {
  let late: string[] = [];
  for (const deadline = Date.now() + FOLLOW_WITHIN_MS; Date.now() < deadline; await delay(200)) {
    late = await broken(database, SOON);
    if (late.length === 0) break;
  }
  // With MLflow the built-in registry stays empty.
  const invariants =
    peers.mlflow === null ? AT_REST : AT_REST.filter(({ statement }) => !statement.includes('registry_versions'));
  return [...late, ...(await broken(database, invariants))];
}
const FOLLOW_WITHIN_MS = 30_000;

/** Every observation that the bus took is stored once: its key is unique, so the count says it. */
async function observationsStored({ database }: Site, sent: number): Promise<string[]> {
  const { rows } = await database.query<{ n: number }>('select count(*) as n from observations where project = $1', [
    PROJECT,
  ]);
  const n = rows[0]?.n ?? 0;
  // One more than we know of: its answer came too late for us.
  return n === sent || n === sent + 1 ? [] : [`${sent} observations were sent and ${n} are stored`];
}

async function laneMs({ database }: Site): Promise<ChaosReport['laneMs']> {
  const { rows } = await database.query<ChaosReport['laneMs']>(
    `select coalesce(sum(useful_ms), 0)::bigint as useful, coalesce(sum(lost_ms), 0)::bigint as lost,
       coalesce(sum(waiting_ms), 0)::bigint as waiting from activities`,
  );
  return rows[0] ?? { useful: 0, lost: 0, waiting: 0 };
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
