import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';

/** How a program of a benchmark is started. */
export interface ProgramOptions {
  /** V8's young generation, MB; null: V8's own choice (16). */
  readonly semiSpaceMb?: number | null;
  /** Write a .cpuprofile into the folder for temporary files when the program ends. */
  readonly profile?: boolean;
}

/** A program of a benchmark in a process of its own; it gets one JSON argument and talks by messages. */
export interface Program {
  readonly pid: number;
  /** Asks for the program's answer; the program handles one request at a time. */
  request<Answer>(request: unknown): Promise<Answer>;
  stop(): Promise<void>;
}

/** Starts a program and waits until it serves. */
export async function startProgram(file: URL, argument: unknown, options: ProgramOptions = {}): Promise<Program> {
  const { semiSpaceMb = null, profile = false } = options;
  const child = fork(file, [JSON.stringify(argument)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [
      ...(semiSpaceMb === null ? [] : [`--max-semi-space-size=${semiSpaceMb}`]),
      ...(profile ? ['--cpu-prof', `--cpu-prof-dir=${tmpdir()}`] : []),
    ],
  });
  await nextMessage(child, file);
  return {
    pid: child.pid ?? 0,
    request: async <Answer>(request: unknown) => {
      const answer = nextMessage(child, file);
      child.send({ request });
      return (await answer) as Answer;
    },
    stop: async () => {
      const exited = once(child, 'exit');
      child.send('stop');
      await exited;
    },
  };
}

function nextMessage(child: ChildProcess, file: URL): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const onExit = (code: number | null, signal: string | null): void =>
    reject(new Error(`${file.pathname} ended with ${code ?? signal}`));
  child.once('exit', onExit);
  child.once('message', (message) => {
    child.off('exit', onExit);
    resolve(message);
  });
  return promise;
}

/** The one argument of a program. */
export const programArgument = <T>(): T => JSON.parse(process.argv[2] ?? 'null') as T;

/** Tells the parent that the program serves; answers its requests, and closes when it says so or is gone. */
export function serve(close: () => Promise<void>, answer?: (request: unknown) => Promise<unknown>): void {
  process.on('message', (message) => {
    if (message === 'stop') void close().then(() => process.exit(0));
    else void answer?.((message as { request: unknown }).request).then((value) => process.send?.(value));
  });
  process.on('disconnect', () => process.exit(1));
  process.send?.('ready');
}
