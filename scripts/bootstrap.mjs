// node scripts/bootstrap.mjs <entry.ts> [arguments]
//
// Makes a bare clone runnable: installs the packages when they are missing or older than package-lock.json, then runs the entry with
// Node 24. Plain JavaScript without packages, since the system's Node (>= 20) runs it. All it says goes to standard error: standard
// output belongs to the entry (`npm run demo -- --json`).
//
// Exit codes: the entry's own; 128 + n when signal n ended it; 127 when npm is not there; npm's when the installation failed; 64 without
// an entry; 78 when no Node 24 can be had.
// oxlint-disable no-restricted-properties -- a composition root: it runs before there is any main.ts
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR = 24;
/** Several times what a cold `npm ci` takes on a slow line; a process that dies leaves its lock free at once anyway. */
const INSTALL_WAIT_MS = 20 * 60_000;
const PROGRESS_MS = 5_000;

await main(process.argv[2], process.argv.slice(3));

async function main(entry, args) {
  const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
  if (entry === undefined) fail(64, 'usage: node scripts/bootstrap.mjs <entry.ts> [arguments]');
  if (!isInstalled(root)) await withInstallLock(root, () => (isInstalled(root) ? undefined : install(root)));
  const node = node24(root);
  const env = {
    ...process.env,
    PATH: [join(root, 'node_modules', '.bin'), process.env.PATH ?? ''].join(delimiter),
    // Node keeps compiled modules and stripped types here: 24 MB less memory and 0.2 s less start-up per service from the second start on.
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, 'node_modules', '.cache', 'trainyard-compile'),
  };
  // For those that give memory back when they are quiet (lib/service/quiet-collector.ts).
  await run(node, ['--expose-gc', resolve(root, entry), ...args], env);
}

// --- installation ---

/**
 * True when node_modules was made from this package-lock.json on this platform. Our stamp says so; without one (somebody ran `npm ci`
 * by hand) npm's own record must be at least as new as the lock.
 */
function isInstalled(root) {
  const recorded = readIfThere(stampFile(root));
  if (recorded !== null) return recorded === stampOf(root);
  const byNpm = statSync(join(root, 'node_modules', '.package-lock.json'), { throwIfNoEntry: false });
  if (byNpm === undefined || byNpm.mtimeMs < statSync(join(root, 'package-lock.json')).mtimeMs) return false;
  writeFileSync(stampFile(root), stampOf(root));
  return true;
}

function stampFile(root) {
  return join(root, 'node_modules', '.trainyard-installed');
}

function stampOf(root) {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  return `${lock} ${process.platform}-${process.arch}\n`;
}

async function install(root) {
  const why = existsSync(join(root, 'node_modules'))
    ? 'node_modules does not match package-lock.json'
    : 'there is no node_modules yet';
  say(`${why}: installing the packages with \`npm ci\` (about 500 MB, once)`);
  const { command, prefix } = npmCommand();
  const started = Date.now();
  const packages = expectedPackages(root);
  const child = spawn(
    command,
    [
      ...prefix,
      'ci',
      '--include=dev',
      '--include=optional',
      '--no-audit',
      '--no-fund',
      '--no-progress',
      '--loglevel=error',
    ],
    {
      cwd: root,
      // npm's words belong on our standard error.
      stdio: ['ignore', 2, 2],
      // The onnxruntime-node package holds its CPU library; its script would fetch CUDA libraries from elsewhere.
      env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip', npm_config_json: 'false' },
    },
  );
  const seconds = () => Math.round((Date.now() - started) / 1000);
  const progress = setInterval(() => {
    const done = packages.filter((path) => existsSync(join(root, path, 'package.json'))).length;
    say(`installing: ${done} of about ${packages.length} packages, ${seconds()} s`);
  }, PROGRESS_MS);
  const stopForwarding = forwardSignals(child);
  const result = await outcome(child);
  clearInterval(progress);
  stopForwarding();
  if (result.error?.code === 'ENOENT')
    fail(
      127,
      `npm was not found (tried ${command}): install Node ${NODE_MAJOR} with npm from https://nodejs.org, or put npm on PATH`,
    );
  if (result.error !== undefined) fail(127, `npm cannot be started: ${result.error.message}`);
  if (result.code > 128) fail(result.code, 'the installation was interrupted');
  if (result.code !== 0)
    fail(
      result.code,
      `npm ci failed with exit code ${result.code}; its words are above. Is the npm registry reachable?`,
    );
  mkdirSync(join(root, 'node_modules'), { recursive: true });
  writeFileSync(stampFile(root), stampOf(root));
  say(`installed in ${seconds()} s`);
}

/** The npm that started us, else the one on PATH. */
function npmCommand() {
  const npm = process.env.npm_execpath;
  if (npm !== undefined && basename(npm) === 'npm-cli.js' && existsSync(npm)) {
    const node = process.env.npm_node_execpath;
    return { command: node !== undefined && existsSync(node) ? node : process.execPath, prefix: [npm] };
  }
  return { command: 'npm', prefix: [] };
}

/** Folders that `npm ci` fills on this platform, for the progress line only. */
function expectedPackages(root) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const fits = (list, value) => list === undefined || list.includes(value);
  return Object.entries(packages)
    .filter(
      ([path, entry]) =>
        path !== '' &&
        fits(entry.os, process.platform) &&
        fits(entry.cpu, process.arch) &&
        !entry.libc?.includes('musl'),
    )
    .map(([path]) => path);
}

/** Two terminals on one bare clone: the second waits, since `npm ci` begins by deleting what the first has made. */
async function withInstallLock(root, work) {
  const lock = join(root, '.cache', 'install.lock');
  mkdirSync(dirname(lock), { recursive: true });
  for (let waitedMs = 0; ; waitedMs += 500) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const owner = Number(readIfThere(lock));
    if (!isAlive(owner)) rmSync(lock, { force: true });
    else if (waitedMs > INSTALL_WAIT_MS)
      fail(75, `process ${owner} has been installing for too long; remove ${lock} if that is not true`);
    else {
      if (waitedMs === 0) say(`process ${owner} is installing the packages; waiting for it`);
      await new Promise((wake) => setTimeout(wake, 500));
    }
  }
  process.once('exit', () => rmSync(lock, { force: true }));
  await work();
  rmSync(lock, { force: true });
}

function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw error;
  }
}

function isAlive(pid) {
  // 0 would be our own process group: the file was read before its number was written.
  if (pid === 0) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

// --- the entry ---

/** This Node when it is new enough, else the one the packages brought. */
function node24(root) {
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) return process.execPath;
  const packaged = join(root, 'node_modules', '.bin', 'node');
  if (existsSync(packaged)) return packaged;
  return fail(
    78,
    `this is Node ${process.versions.node}, Trainyard needs ${NODE_MAJOR}, and npm has no Node ${NODE_MAJOR} for ${process.platform}-${process.arch}: ` +
      'install it from https://nodejs.org (see .nvmrc) and run the command again',
  );
}

async function run(node, args, env) {
  // One process less to hold memory and to forward signals, where Node can replace itself (>= 23.11, not on Windows).
  if (typeof process.execve === 'function' && process.platform !== 'win32') process.execve(node, [node, ...args], env);
  const child = spawn(node, args, { stdio: 'inherit', env });
  const stopForwarding = forwardSignals(child);
  const result = await outcome(child);
  stopForwarding();
  if (result.error !== undefined) fail(126, `${node} cannot be started: ${result.error.message}`);
  process.exit(result.code);
}

/** Exit code of a child, 128 + n when signal n ended it, or the error that kept it from starting. */
function outcome(child) {
  return new Promise((done) => {
    child.once('error', (error) => done({ error }));
    child.once('exit', (code, signal) => done({ code: code ?? 128 + constants.signals[signal] }));
  });
}

/** The child decides what a signal means; we end when it does. */
function forwardSignals(child) {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];
  const forward = (signal) => child.kill(signal);
  for (const signal of signals) process.on(signal, forward);
  return () => {
    for (const signal of signals) process.off(signal, forward);
  };
}

function say(text) {
  process.stderr.write(`trainyard: ${text}\n`);
}

function fail(code, text) {
  say(text);
  process.exit(code);
}
