import { readFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { readCorpus } from '#lib/text/corpus-file.ts';
import type { Environment } from '../command.ts';
import { type Platform, startPlatform } from '../start/platform.ts';
import { DatasetVersion, IssuedKey, Project } from './api-answers.ts';
import type { DemoConsole } from './console.ts';
import { PROJECT } from './demo-jobs.ts';
import type { Phase } from './phases.ts';
import { count, seconds } from './quantities.ts';
import { RestClient } from './rest-client.ts';

export interface PlatformSetting {
  readonly home: string;
  readonly environment: Environment;
  /** Of the profile (start/profile.ts). */
  readonly ports: Readonly<Record<string, string>>;
  readonly console: DemoConsole;
  /** Ctrl-C: what runs is stopped, and the demo rejects with the reason. */
  readonly signal: AbortSignal;
}

/** Variables by service name, `*` for all, over the demo's own. */
export type Overrides = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** A running platform with the demo's project in it. */
export interface DemoScene {
  readonly platform: Platform;
  /** Of the project, with the role submitter: what a user has. */
  readonly client: RestClient;
  /** The platform's administrator: settings of the project, promotions by hand. */
  readonly admin: RestClient;
  readonly console: DemoConsole;
  readonly signal: AbortSignal;
  readonly phases: Phase[];
  /** Runs something and books its time as a phase. */
  readonly timed: <T>(name: string, work: () => Promise<T>) => Promise<T>;
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
/** More than a demo runs at once, trials of a search included. */
const MAX_RUNNING_WORKFLOWS = 100;

/**
 * Starts the platform, makes the project, runs `work` and stops the platform again, whatever happens. Returns what `work` made and where the time went.
 * Throws what `work` and `startPlatform` throw, or the reason of the signal.
 */
export async function onDemoPlatform<T>(
  setting: PlatformSetting,
  work: (scene: DemoScene) => Promise<T>,
  overrides: Overrides = {},
): Promise<{ readonly made: T; readonly phases: readonly Phase[] }> {
  const { console, home, signal } = setting;
  const phases: Phase[] = [];
  const timed = async <R>(name: string, step: () => Promise<R>): Promise<R> => {
    const begunAtMs = performance.now();
    const result = await step();
    phases.push({ name, seconds: (performance.now() - begunAtMs) / 1_000 });
    return result;
  };
  console.say('starting the platform: PostgreSQL and five services');
  const platform = await timed('start of the platform', () => start(setting, overrides));
  try {
    console.say(`ready after ${seconds(phases[0]?.seconds ?? 0)}: ${platform.gatewayUrl}, data in ${shown(home)}`);
    const keys = await timed('project and key', () => makeProject(platform, signal));
    const made = await work({ platform, ...keys, console, signal, phases, timed });
    return { made, phases };
  } finally {
    await timed('stop of the platform', () => platform.stop());
  }
}

/** Short where possible: relative to the folder in which the commands of the summary will be typed. */
export function shown(path: string): string {
  const fromHere = relative('', path);
  return fromHere.startsWith('..') ? path : fromHere;
}

/** The documents of a corpus that the repository ships, JSON Lines. */
export const exampleCorpus = (name: string): Buffer => readCorpus(join(EXAMPLES, `${name}.jsonl.br`));

/** A dataset as the demo uploads it; `title` is for people. */
export interface DemoDataset {
  readonly dataset: string;
  readonly title: string;
  readonly body: Buffer;
  /** Default: `jsonl_text`. */
  readonly format?: 'jsonl_text' | 'jsonl_preferences';
}

export async function upload({ client, console }: DemoScene, data: DemoDataset): Promise<DatasetVersion> {
  const { dataset, title, body, format = 'jsonl_text' } = data;
  const uploaded = await client.call(DatasetVersion, `/v1/datasets/${dataset}/versions?format=${format}`, {
    method: 'POST',
    body,
    contentType: 'application/x-ndjson',
  });
  console.say(`uploaded ${title}: ${uploaded.name}/${uploaded.version}, ${count(uploaded.bytes)} bytes`);
  return uploaded;
}

/** `overrides` win over the demo's own, per variable. */
function start(
  { home, environment, ports, signal, console }: PlatformSetting,
  overrides: Overrides,
): Promise<Platform> {
  return startPlatform({
    home,
    environment,
    ports,
    signal,
    gatewayPort: 0,
    overrides: { ...overrides, '*': { ...HEARTBEATS, ...overrides['*'] } },
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

/** The project, and a key of its own for everything that follows. */
async function makeProject(
  platform: Platform,
  signal: AbortSignal,
): Promise<{ readonly client: RestClient; readonly admin: RestClient }> {
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
  return { client: admin.withKey(key), admin };
}
