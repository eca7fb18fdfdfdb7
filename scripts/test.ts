// node scripts/test.ts [arguments of vitest]
//
// Runs the whole test suite, vitest's own output live, and ends with the one line people and scripts look for:
// `N passed, N failed, N skipped`. Exit code 0 only when tests ran and none failed: a runner that reports success over a failed
// or empty run is worse than none (scripts/test.test.ts keeps watch).
// oxlint-disable no-restricted-properties -- a composition root: this script is the program
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

/** The part of vitest's JSON report that is read here. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'trainyard-test-report-'));
  try {
    const reportFile = join(folder, 'report.json');
    const vitestCode = await runVitest([...args, `--outputFile.json=${reportFile}`]);
    const counts = await readCounts(reportFile);
    const { passed, failed, skipped } = counts ?? { passed: 0, failed: 0, skipped: 0 };
    const { code, reason } = verdict(vitestCode, counts);
    if (reason !== null) process.stdout.write(`\n${reason}\n`);
    process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
    return code;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The exit code, and what to say when the counts alone do not explain it. */
function verdict(vitestCode: number, counts: Counts | null): { code: number; reason: string | null } {
  const failure = vitestCode === 0 ? 1 : vitestCode;
  if (counts === null) return { code: failure, reason: `vitest ended with exit code ${vitestCode} and no report` };
  if (counts.failed > 0) return { code: failure, reason: null };
  if (vitestCode !== 0)
    return { code: failure, reason: `vitest ended with exit code ${vitestCode}: see the errors above` };
  if (counts.passed === 0) return { code: failure, reason: 'no test ran' };
  if (counts.skipped > 0 && process.env['TRAINYARD_REQUIRE_ALL'] === '1')
    return { code: failure, reason: 'TRAINYARD_REQUIRE_ALL=1: a skipped test is a failure' };
  return { code: 0, reason: null };
}

function runVitest(args: readonly string[]): Promise<number> {
  const vitest = join(import.meta.dirname, '..', 'node_modules', 'vitest', 'vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', '--reporter=default', '--reporter=json', ...args], {
    stdio: 'inherit',
  });
  // vitest stops what it started; we end when it has.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']));
  });
}

async function readCounts(reportFile: string): Promise<Counts | null> {
  const text = await readFile(reportFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) return null;
  const report = JSON.parse(text) as Report;
  // A file that failed to load, or whose beforeAll threw, has no failed test of its own: it counts as one.
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + brokenFiles.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
