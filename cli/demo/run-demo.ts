import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { Value } from 'typebox/value';
import { invariant } from '#lib/kernel/errors.ts';
import { readCorpus } from '#lib/text/corpus-file.ts';
import type { Environment } from '../command.ts';
import { type Platform, startPlatform } from '../start/platform.ts';
import { DatasetVersion, IssuedKey, Project } from './api-answers.ts';
import { BASE_CORPUS, type DemoBudget, demoJobs, NEW_CORPUS, PROJECT } from './demo-jobs.ts';
import type { DemoConsole } from './console.ts';
import { followJob, recordOf, submitJob } from './follow-job.ts';
import type { JobRecord } from './job-record.ts';
import { lossCurveSvg } from './loss-curve-svg.ts';
import { jobPhases, type Phase } from './phases.ts';
import { count, seconds } from './quantities.ts';
import { DemoReport, demoReport } from './report.ts';
import { RestClient } from './rest-client.ts';

export interface DemoOptions {
  readonly home: string;
  readonly environment: Environment;
  readonly budget: DemoBudget;
  /** Of the profile (start/profile.ts). */
  readonly ports: Readonly<Record<string, string>>;
  readonly console: DemoConsole;
  /** Ctrl-C: what runs is stopped, and the demo rejects with the reason. */
  readonly signal: AbortSignal;
}

export interface DemoOutcome {
  readonly report: DemoReport;
  readonly records: readonly [JobRecord, JobRecord];
}

/** Seconds instead of the minutes of production, so that a killed worker is replaced while one watches. */
const HEARTBEATS = {
  HEARTBEAT_EVERY_MS: '1000',
  HEARTBEAT_TIMEOUT_MS: '15000',
  ANNOUNCE_EVERY_MS: '2000',
  WORKER_TIMEOUT_MS: '10000',
};
const EXAMPLES = resolve(import.meta.dirname, '../../examples/data');
/** Ten hours: nothing a demo could use up. */
const GPU_SECONDS_BUDGET = 36_000;
const MAX_RUNNING_WORKFLOWS = 4;

/**
 * Starts the platform, makes two models through its REST API, and stops it again, whatever happens. Throws `JobNotCompleted`, `ApiProblem`,
 * what `startPlatform` throws, or the reason of the signal.
 */
export async function runDemo(options: DemoOptions): Promise<DemoOutcome> {
  const { console, home } = options;
  const phases: Phase[] = [];
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const begunAtMs = performance.now();
    const result = await work();
    phases.push({ name, seconds: (performance.now() - begunAtMs) / 1_000 });
    return result;
  };
  console.say('starting the platform: PostgreSQL and five services');
  const platform = await timed('start of the platform', () => start(options));
  let records: readonly [JobRecord, JobRecord];
  try {
    console.say(`ready after ${seconds(phases[0]?.seconds ?? 0)}: ${platform.gatewayUrl}, data in ${shown(home)}`);
    const client = await timed('project, key and uploads', () => prepareProject(platform, options));
    records = await runJobs(client, options, phases);
  } finally {
    await timed('stop of the platform', () => platform.stop());
  }
  const lossCurve = join(home, 'loss-curve.svg');
  const report = demoReport(records, phases, { home: shown(home), lossCurve: shown(lossCurve) });
  invariant(Value.Check(DemoReport, report), 'the report matches its schema');
  const curves = records.map((record) => record.curves);
  await writeFile(lossCurve, lossCurveSvg('Trainyard demo: two trainings', curves));
  await writeFile(join(home, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  return { report, records };
}

/** Short where possible: relative to the folder in which the commands of the summary will be typed. */
function shown(path: string): string {
  const fromHere = relative('', path);
  return fromHere.startsWith('..') ? path : fromHere;
}

function start({ home, environment, ports, signal, console }: DemoOptions): Promise<Platform> {
  return startPlatform({
    home,
    environment,
    ports,
    signal,
    gatewayPort: 0,
    overrides: { '*': HEARTBEATS },
    onEvent: (event) => {
      if (event.type !== 'process_crashed') return;
      const next = event.restartInMs === null ? 'given up' : 'it is started again';
      console.say(
        `${event.name} ended unexpectedly (${event.exit.signal ?? `exit code ${event.exit.code}`}); ${next}`,
        'bad',
      );
    },
  });
}

/** The project, a key of its own for everything that follows, and the two corpora. */
async function prepareProject(platform: Platform, { console, signal }: DemoOptions): Promise<RestClient> {
  const adminKey = (await readFile(platform.adminKeyFile, 'utf8')).trim();
  const admin = new RestClient(platform.gatewayUrl, adminKey, signal);
  const project = {
    displayName: 'Demo',
    gpuSecondsBudget: GPU_SECONDS_BUDGET,
    maxRunningWorkflows: MAX_RUNNING_WORKFLOWS,
  };
  await admin.call(Project, `/v1/projects/${PROJECT}`, { method: 'PUT', body: project });
  const body = { role: 'submitter', name: 'npm run demo' };
  const { key } = await admin.call(IssuedKey, `/v1/projects/${PROJECT}/keys`, { method: 'POST', body });
  const client = admin.withKey(key);
  for (const { dataset, title } of [BASE_CORPUS, NEW_CORPUS]) {
    const uploaded = await client.call(DatasetVersion, `/v1/datasets/${dataset}/versions?format=jsonl_text`, {
      method: 'POST',
      body: readCorpus(join(EXAMPLES, `${dataset}.jsonl.br`)),
      contentType: 'application/x-ndjson',
    });
    console.say(`uploaded ${title}: ${uploaded.name}/${uploaded.version}, ${count(uploaded.bytes)} bytes`);
  }
  return client;
}

async function runJobs(client: RestClient, { budget, console, signal }: DemoOptions, phases: Phase[]) {
  const run = randomUUID().slice(0, 8);
  const jobs = demoJobs(budget);
  const records: JobRecord[] = [];
  for (const [index, { title, ...submission }] of jobs.entries()) {
    const begunAtMs = performance.now();
    const heading = `Job ${index + 1} of ${jobs.length}: ${title}`;
    const submitted = await submitJob(client, { ...submission, idempotencyKey: `demo-${run}-${index + 1}` });
    console.say(`submitted ${submitted.id}: ${title}`);
    const ended = await followJob(client, submitted, { heading, console, signal });
    const record = await recordOf(client, ended, title);
    records.push(record);
    const wallSeconds = (performance.now() - begunAtMs) / 1_000;
    phases.push(...jobPhases(record.version.name, wallSeconds, record.activities));
  }
  const [base, tuned] = records;
  invariant(base !== undefined && tuned !== undefined, 'the demo has two jobs');
  return [base, tuned] as const;
}
