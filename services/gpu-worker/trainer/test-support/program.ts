import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Value } from '#typebox/value';
import { TrainerMessage } from '#lib/contracts/trainer-protocol.ts';
import type { Send } from '../messages.ts';
import { runTrainer } from '../run-trainer.ts';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));

export interface ProgramResult {
  readonly exitCode: number | null;
  readonly messages: readonly TrainerMessage[];
  readonly stderr: string;
}

/** A folder that is removed at the end of the `await using` block. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'trainyard-trainer-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/**
 * Runs the real program with a spec and checks every line against the protocol. `onMessage` sees each message as it
 * arrives and may signal the process.
 */
export async function runProgram(
  folder: string,
  spec: unknown,
  onMessage: (message: TrainerMessage, kill: (signal: NodeJS.Signals) => void) => void = () => undefined,
): Promise<ProgramResult> {
  const specPath = join(folder, `spec-${process.hrtime.bigint()}.json`);
  await writeFile(specPath, typeof spec === 'string' ? spec : JSON.stringify(spec));
  const child = spawn(process.execPath, [MAIN, specPath], { stdio: ['ignore', 'pipe', 'pipe'] });
  const messages: TrainerMessage[] = [];
  let pending = '';
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (pending + text).split('\n');
    pending = lines.pop() ?? '';
    for (const line of lines) {
      const message = JSON.parse(line) as TrainerMessage;
      messages.push(message);
      onMessage(message, (signal) => child.kill(signal));
    }
  });
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (pending !== '') throw new Error(`an unfinished line: ${pending}`);
  return { exitCode, messages: messages.map(checked), stderr };
}

/** The same without a process of its own: ten times faster, for tests that need neither signals nor a real exit. */
export async function runInProcess(
  folder: string,
  spec: unknown,
  stopRequested: () => boolean = () => false,
): Promise<ProgramResult> {
  const specPath = join(folder, `spec-${process.hrtime.bigint()}.json`);
  await writeFile(specPath, typeof spec === 'string' ? spec : JSON.stringify(spec));
  const lines: string[] = [];
  const send: Send = (message) => lines.push(JSON.stringify(message));
  const exitCode = await runTrainer(specPath, { send, stopRequested });
  return { exitCode, messages: lines.map((line) => checked(JSON.parse(line))), stderr: '' };
}

/** Every message must be one of the protocol after its way through JSON (which turns NaN into null). */
function checked(message: unknown): TrainerMessage {
  if (Value.Check(TrainerMessage, message)) return message;
  throw new Error(`not a message of the protocol: ${JSON.stringify(message)}`);
}

type MessageOf<T extends TrainerMessage['type']> = Extract<TrainerMessage, { type: T }>;

export const messagesOf = <T extends TrainerMessage['type']>(result: ProgramResult, type: T): MessageOf<T>[] =>
  result.messages.filter((message): message is MessageOf<T> => message.type === type);

/** The only message of a type; throws unless there is exactly one. */
export function onlyMessage<T extends TrainerMessage['type']>(result: ProgramResult, type: T): MessageOf<T> {
  const found = messagesOf(result, type);
  const [first] = found;
  if (first === undefined || found.length !== 1) {
    throw new Error(`${found.length} ${type} messages; exit ${result.exitCode}; ${result.stderr}`);
  }
  return first;
}
