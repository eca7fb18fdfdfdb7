import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '#lib/kernel/errors.ts';

export interface LocalProcessOptions {
  /** For messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Standard output and standard error are appended. */
  readonly logFile: string;
  /** Asked every 50 ms until it answers true; what it throws counts as "not yet". */
  readonly isReady: () => Promise<boolean>;
  /** How long that may take on a busy machine. */
  readonly readyWithinMs: number;
}

/** A server of ours as a process group of its own on this machine. */
export interface LocalProcess {
  /** Leader and number of the process group; another one after `restart()`. */
  readonly pid: number;
  readonly isRunning: boolean;
  /** Sends a signal to the whole group: SIGKILL, SIGSTOP, SIGCONT ... Nothing happens when the process has ended. */
  kill(signal: NodeJS.Signals): void;
  /** Resolves when the current process has ended, whoever ended it; with the code or the signal's name. */
  ended(): Promise<number | NodeJS.Signals>;
  /** Starts it again on the same files and ports and waits until it is ready; stops it first when it runs. */
  restart(): Promise<void>;
  /** SIGTERM, and SIGKILL after 10 s. Idempotent. */
  stop(): Promise<void>;
}

const POLL_MS = 50;
const STOP_MS = 10_000;
const REPORTED_LINES = 15;

/**
 * Starts a server and returns when it is ready. It ends with this process, however that ends. Throws with the last lines of its log when it ends
 * at once or is not ready in time; nothing is left running then.
 */
export async function startLocalProcess(options: LocalProcessOptions): Promise<LocalProcess> {
  await mkdir(dirname(options.logFile), { recursive: true });
  let current = await launchReady(options);
  return {
    get pid() {
      return current.pid;
    },
    get isRunning() {
      return current.exit === null;
    },
    kill: (signal) => current.kill(signal),
    ended: () => current.ended,
    restart: async () => {
      await current.stop();
      current = await launchReady(options);
    },
    stop: () => current.stop(),
  };
}

interface Life {
  readonly pid: number;
  readonly exit: number | NodeJS.Signals | null;
  readonly ended: Promise<number | NodeJS.Signals>;
  kill(signal: NodeJS.Signals): void;
  stop(): Promise<void>;
}

async function launchReady(options: LocalProcessOptions): Promise<Life> {
  const logStart = await stat(options.logFile).then(
    (info) => info.size,
    () => 0,
  );
  const life = await launch(options);
  const failure = await whyNotReady(life, options);
  if (failure === null) return life;
  life.kill('SIGKILL');
  await life.ended;
  const log = (await readFile(options.logFile)).subarray(logStart).toString().trimEnd();
  throw new Error(`${options.name} ${failure}\n${log.split('\n').slice(-REPORTED_LINES).join('\n')}`);
}

async function launch(options: LocalProcessOptions): Promise<Life> {
  const log = openSync(options.logFile, 'a', 0o600);
  // A group of its own: Ctrl-C in a terminal reaches us, not the server, and kill reaches its children too.
  const child = spawn(options.command, options.args, {
    cwd: options.cwd,
    env: options.environment,
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  let exit: number | NodeJS.Signals | null = null;
  const ended = new Promise<number | NodeJS.Signals>((resolve) =>
    child.once('exit', (code, signal) => {
      exit = code ?? signal ?? 'SIGKILL';
      // What the leader left behind would hold ports and files.
      signalGroup(pid, 'SIGKILL');
      resolve(exit);
    }),
  );
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  const pid = child.pid as number;
  const release = guard(pid);
  void ended.finally(release);
  // Signal only a process that runs: when it has ended, the number may be another program's.
  const kill = (signal: NodeJS.Signals): void => void (exit === null && signalGroup(pid, signal));
  return {
    pid,
    ended,
    kill,
    get exit() {
      return exit;
    },
    stop: async () => {
      kill('SIGTERM');
      // A stopped process gets SIGTERM only when it goes on.
      kill('SIGCONT');
      const timer = new AbortController();
      await Promise.race([ended, delay(STOP_MS, undefined, { signal: timer.signal }).catch(() => undefined)]);
      timer.abort();
      kill('SIGKILL');
      await ended;
    },
  };
}

/** Null when it is ready. */
async function whyNotReady(life: Life, options: LocalProcessOptions): Promise<string | null> {
  let last = 'no answer';
  for (const deadline = performance.now() + options.readyWithinMs; performance.now() < deadline; ) {
    if (life.exit !== null) return `ended at once (${life.exit})`;
    try {
      if (await options.isReady()) return null;
    } catch (error) {
      last = messageOf(error);
    }
    await delay(POLL_MS);
  }
  return `was not ready within ${options.readyWithinMs / 1_000} s: ${last}`;
}

/**
 * A shell that waits for its standard input to close, which happens when this process ends in whatever way, and then ends the group.
 * A shell because it costs 1 MB where a second Node costs 40.
 */
function guard(group: number): () => void {
  // Without `--` before the negative number: dash's kill takes it for one.
  const script = 'read -r _; kill -TERM "-$1" && kill -CONT "-$1" && sleep 3 && kill -KILL "-$1"';
  const shell = spawn('/bin/sh', ['-c', script, 'peer-guard', String(group)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    detached: true,
  });
  shell.on('error', () => undefined);
  shell.stdin.on('error', () => undefined);
  shell.unref();
  return () => {
    shell.kill('SIGKILL');
  };
}

function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
