import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { delimiter, join } from 'node:path';
import { type Environment, type PeerCache, PeerUnavailable } from './cache.ts';

/** The program's path, by PATH. Throws `PeerUnavailable` with the name of the tool and what it is needed for. */
export async function findTool(name: string, purpose: string, environment: Environment): Promise<string> {
  for (const folder of (environment['PATH'] ?? '').split(delimiter).filter((each) => each !== '')) {
    const path = join(folder, name);
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  throw new PeerUnavailable(`${name} is not on PATH; it is needed to ${purpose}`);
}

export interface ToolRun {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly environment?: Environment;
  /** How often it may be tried: a registry's hiccup must not cost a whole run. Default 1. */
  readonly attempts?: number;
}

/** Of a tool's output; the end says what went wrong. */
const KEPT_CHARACTERS = 4_000;
const REPORTED_LINES = 12;
const PROGRESS_MS = 30_000;
/** Builds take both cores for minutes: whatever else runs on the machine goes first. */
const NICE = 15;

/**
 * Runs a tool to its end, at low priority, with a line of progress every 30 s. Returns what it wrote to standard output and standard error
 * (the last 4,000 characters). Throws `PeerUnavailable` with its last lines when it fails.
 */
export async function runTool(cache: PeerCache, run: ToolRun): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const result = await runOnce(cache, run);
    if (result.failure === null) return result.output;
    const lastLines = result.output.trim().split('\n').slice(-REPORTED_LINES).join('\n');
    const what = `${run.command} ${run.args.slice(0, 3).join(' ')} ... ${result.failure}`;
    if (attempt >= (run.attempts ?? 1)) throw new PeerUnavailable(`${what}\n${lastLines}`);
    cache.say(`${what}; trying again`);
  }
}

async function runOnce(cache: PeerCache, run: ToolRun): Promise<{ output: string; failure: string | null }> {
  const startedAt = performance.now();
  const child = spawn(run.command, run.args, {
    cwd: run.cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...cache.environment, ...run.environment },
  });
  if (child.pid !== undefined) setPriority(child.pid, NICE);
  // A build must not go on for minutes after the one who wanted it is gone.
  const end = (): void => void child.kill('SIGTERM');
  process.once('exit', end);
  const progress = setInterval(() => {
    const seconds = Math.round((performance.now() - startedAt) / 1_000);
    cache.say(`still running after ${seconds} s: ${run.command} ${run.args.slice(0, 3).join(' ')} ...`);
  }, PROGRESS_MS);
  let output = '';
  const keep = (chunk: string): void => void (output = (output + chunk).slice(-KEPT_CHARACTERS));
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  try {
    const failure = await new Promise<string | null>((resolve) => {
      child.once('error', (error) => resolve(`cannot be started: ${error.message}`));
      child.once('close', (code, signal) => resolve(code === 0 ? null : `ended with ${signal ?? `exit code ${code}`}`));
    });
    return { output, failure };
  } finally {
    clearInterval(progress);
    process.off('exit', end);
  }
}
