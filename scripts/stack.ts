// node scripts/bootstrap.mjs scripts/stack.ts [--only kafka,registry,s3,mlflow] [--detach | --stop]   (npm run stack)
//
// Starts Kafka, a schema registry, an S3 server and MLflow on loopback, with data below TRAINYARD_HOME/stack, writes the variables for the services
// to stack.env there, and runs until Ctrl-C. Installs what is missing first (docs/operations.md).
// Exit codes: 0 stopped as asked (--detach: everything is ready), 1 a peer cannot be had or does not start, 64 wrong command line,
// 75 a stack runs on this home already.
// oxlint-disable no-restricted-properties -- a composition root: this script is the program
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { lockHome, lockOwner } from '../cli/start/home-lock.ts';
import { peerCache } from './peers/cache.ts';
import { isPeerName, PEER_NAMES, type PeerName } from './peers/install.ts';
import { environmentFileIn, type Stack, startStack } from './peers/stack.ts';

const USAGE = 'usage: npm run stack -- [--only kafka,registry,s3,mlflow] [--detach | --stop]';
const POLL_MS = 100;
/** All four end within their 10 s. */
const STOP_WITHIN_MS = 30_000;

const home = process.env['TRAINYARD_HOME'];
const folder = join(
  resolve(home === undefined || home === '' ? join(import.meta.dirname, '../.trainyard') : home),
  'stack',
);
const lockFile = join(folder, 'stack.lock');
const logFile = join(folder, 'stack.log');

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let only: readonly string[];
  let options: { readonly detach?: boolean; readonly stop?: boolean };
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { only: { type: 'string' }, detach: { type: 'boolean' }, stop: { type: 'boolean' } },
    });
    only = values.only?.split(',') ?? PEER_NAMES;
    options = values;
  } catch (error) {
    say(`${messageOf(error)}\n${USAGE}`);
    return 64;
  }
  const peers = only.filter(isPeerName);
  if (peers.length !== only.length || (options.detach === true && options.stop === true)) {
    say(USAGE);
    return 64;
  }
  if (options.stop === true) return stopRunning();
  if (options.detach === true) return detach(args.filter((arg) => arg !== '--detach'));
  return run(peers);
}

async function run(peers: readonly PeerName[]): Promise<number> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const asked = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => asked.abort(signal));
  // A terminal that went away must not end us by a failed write.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  let lock: Awaited<ReturnType<typeof lockHome>>;
  try {
    lock = await lockHome(lockFile);
  } catch (error) {
    if (!(error instanceof TrainyardError && error.code === 'HomeInUse')) throw error;
    say(`process ${String(error.details['pid'])} runs a stack in ${folder}: \`npm run stack -- --stop\` ends it`);
    return 75;
  }
  try {
    const stopped = new Promise<null>((wake) => asked.signal.addEventListener('abort', () => wake(null)));
    const stack = await Promise.race([startStack({ folder, peers, cache: peerCache(process.env, say) }), stopped]);
    if (stack === null) {
      // Tools and servers end with this process; what an installation has made so far is removed by the next one.
      say('stopped before everything was ready');
      await lock.release();
      process.exit(0);
    }
    process.stdout.write(welcome(stack));
    // Keeps this process alive also when every server has been killed, on purpose or not.
    const alive = setInterval(() => undefined, 60_000);
    await stopped;
    clearInterval(alive);
    say(`stopping (${String(asked.signal.reason)})`);
    await stack.stop();
    say('everything is stopped; the data stays');
    return 0;
  } catch (error) {
    say(messageOf(error));
    return 1;
  } finally {
    await lock.release();
  }
}

function welcome({ variables, environmentFile }: Stack): string {
  const shown = Object.entries(variables).map(
    ([name, value]) => `  ${name}=${name.includes('SECRET') ? '(in the file)' : value}`,
  );
  return [
    '',
    'The stack is ready.',
    ...shown,
    '',
    `The variables are in ${environmentFile}. In a shell:`,
    `  set -a; . ${environmentFile}; set +a`,
    `Data and logs: ${folder}. Ctrl-C stops everything.`,
    '',
    '',
  ].join('\n');
}

/** Runs the same command in the background, shows what it says until the stack is ready, and leaves it. */
async function detach(args: readonly string[]): Promise<number> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const log = openSync(logFile, 'w', 0o600);
  const child = spawn(process.execPath, [import.meta.filename, ...args], {
    detached: true,
    stdio: ['ignore', log, log],
  });
  let code: number | null = null;
  child.once('exit', (exit) => (code = exit ?? 1));
  let shown = 0;
  for (;;) {
    const text = await readFile(logFile, 'utf8');
    process.stdout.write(text.slice(shown));
    shown = text.length;
    if (code !== null) return code;
    if (text.includes('The stack is ready.') && existsSync(environmentFileIn(folder))) break;
    await delay(POLL_MS);
  }
  child.unref();
  say(`it goes on as process ${child.pid}; \`npm run stack -- --stop\` ends it, ${logFile} is its log`);
  return 0;
}

async function stopRunning(): Promise<number> {
  const owner = await lockOwner(lockFile);
  if (owner === null) {
    say(`no stack runs in ${folder}`);
    return 0;
  }
  process.kill(owner, 'SIGTERM');
  for (const deadline = performance.now() + STOP_WITHIN_MS; performance.now() < deadline; await delay(POLL_MS))
    if ((await lockOwner(lockFile)) === null) {
      say('stopped');
      return 0;
    }
  say(`process ${owner} has not ended within ${STOP_WITHIN_MS / 1_000} s`);
  return 1;
}

function say(line: string): void {
  process.stderr.write(`stack: ${line}\n`);
}
