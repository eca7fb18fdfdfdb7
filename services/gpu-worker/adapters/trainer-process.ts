import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Compile } from '#typebox/compile';
import { TrainerMessage } from '#lib/contracts/trainer-protocol.ts';
import type { RunningTrainer } from '../app/trainer-run.ts';
import type { TrainerEnd } from '../domain/trainer-exit.ts';

/** The program and its first arguments; the path of the spec is appended. */
export type TrainerCommand = readonly [program: string, ...args: string[]];

/** Log lines kept for the answer of a failed job. */
const LOG_LINES = 50;

/** Characters of one line; a longer one is cut, a program that prints without line ends must not fill our memory. */
const LINE_CHARACTERS = 65_536;

const isMessage = Compile(TrainerMessage);

/** Starts a training program and hands over what it prints, line by line and in order. Never rejects: a program that cannot be started has ended. */
export function startTrainer(
  command: TrainerCommand,
  specPath: string,
  options: {
    readonly environment: Readonly<Record<string, string | undefined>>;
    readonly onMessage: (message: TrainerMessage) => void;
  },
): RunningTrainer {
  const [program, ...args] = command;
  const child = spawn(program, [...args, specPath], {
    env: { ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log: string[] = [];
  const keep = (line: string): void => {
    log.push(line.slice(0, LINE_CHARACTERS));
    if (log.length > LOG_LINES) log.shift();
  };
  const end: { result: TrainerEnd['result']; error: TrainerEnd['error'] } = { result: null, error: null };
  const stdout = lines(child, 'stdout', (line) => {
    const message = parse(line);
    if (message === null) return keep(line);
    if (message.type === 'log') keep(`${message.level}: ${message.message}`);
    if (message.type === 'result') end.result = message;
    if (message.type === 'error') {
      end.error = message;
      keep(`error: ${message.code}: ${message.message}`);
    }
    options.onMessage(message);
  });
  const stderr = lines(child, 'stderr', keep);
  return {
    ended: Promise.all([exitOf(child, keep), stdout, stderr]).then(([exit]) => ({ ...exit, ...end })),
    logTail: () => [...log],
    requestYield: () => child.kill('SIGTERM'),
    kill: () => child.kill('SIGKILL'),
  };
}

function exitOf(
  child: ChildProcess,
  keep: (line: string) => void,
): Promise<{ exitCode: number | null; signal: string | null }> {
  return new Promise((resolve) => {
    child.on('exit', (exitCode, signal) => resolve({ exitCode, signal }));
    child.on('error', (error) => {
      keep(error.message);
      // The program could not be started at all: as a shell reports it.
      resolve({ exitCode: 127, signal: null });
    });
  });
}

async function lines(child: ChildProcess, stream: 'stdout' | 'stderr', onLine: (line: string) => void): Promise<void> {
  const input = child[stream];
  if (input === null) return;
  for await (const line of createInterface({ input, crlfDelay: Infinity })) onLine(line);
}

function parse(line: string): TrainerMessage | null {
  if (!line.startsWith('{')) return null;
  try {
    const value: unknown = JSON.parse(line);
    return isMessage.Check(value) ? value : null;
  } catch {
    return null;
  }
}
