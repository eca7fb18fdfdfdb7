import { FAULT_KINDS, type FaultKind } from './faults.ts';
import type { Hunt } from './hunt.ts';
import type { RunResult } from './run-simulation.ts';

/** Lines of the trace and of the processes' logs that a failure shows. */
const TRACE_LINES = 60;
const LOG_LINES = 30;

/** Faults that cost nothing to inject: counted apart, so that nobody takes them for crashes. */
const SLOWNESS: readonly FaultKind[] = ['slow request', 'slow answer'];

const TEN_MINUTES_S = 600;

/** Sums over runs. */
export class Tally {
  #runs = 0;
  #steps = 0;
  #simulatedMs = 0;
  readonly #faults = new Map<string, number>();
  readonly #checked = new Map<string, number>();
  readonly #ends = new Map<string, number>();

  add(result: RunResult): void {
    this.#runs += 1;
    this.#steps += result.steps;
    this.#simulatedMs += result.simulatedMs;
    addAll(this.#faults, result.faults);
    addAll(this.#checked, result.checked);
    addAll(this.#ends, result.ends);
  }

  report(seconds: number): string {
    const faults = total(this.#faults);
    const slow = SLOWNESS.reduce((sum, kind) => sum + (this.#faults.get(kind) ?? 0), 0);
    const perSecond = faults / seconds;
    const hours = (this.#simulatedMs / 3_600_000).toFixed(1);
    return [
      `${this.#runs} runs, ${this.#steps} steps, ${hours} simulated hours in ${seconds.toFixed(1)} s, no rule broken`,
      `${faults} faults (${faults - slow} without slow messages), ${perSecond.toFixed(0)} a second: ` +
        `${Math.round(perSecond * TEN_MINUTES_S)} in ten minutes at this rate`,
      table('jobs that ended as', this.#ends),
      table('faults injected', inOrder(this.#faults)),
      table('looks at each rule', this.#checked),
    ].join('\n\n');
  }
}

/** What a person needs to find the bug. */
export function failureReport(result: RunResult): string {
  const { seed, violation, trace, logged, config } = result;
  return [
    ...trace.slice(-TRACE_LINES),
    '',
    ...logged.slice(-LOG_LINES),
    '',
    JSON.stringify(config),
    `seed ${seed}, step ${violation?.step}, ${violation?.elapsedMs} ms: broken: ${violation?.rule}`,
    `  ${violation?.message}`,
    `again: npm run sim -- --seed ${seed} --runs 1    every event: npm run sim -- --seed ${seed} --trace FILE`,
  ].join('\n');
}

/** Markdown, as in docs/reliability.md. */
export const mutationTable = (hunts: readonly Hunt[]): string =>
  [
    '| bug made by hand | found after | by the rule |',
    '|---|---|---|',
    ...hunts.map(({ mutation, runs, foundBy }) => {
      const after = foundBy === null ? `**not found** in ${runs} runs` : `${runs} ${runs === 1 ? 'run' : 'runs'}`;
      return `| **${mutation.name}**: ${mutation.bug} | ${after} | ${foundBy?.rule ?? ''} |`;
    }),
  ].join('\n');

const total = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((sum, n) => sum + n, 0);

function addAll(sums: Map<string, number>, counts: ReadonlyMap<string, number>): void {
  for (const [name, count] of counts) sums.set(name, (sums.get(name) ?? 0) + count);
}

const inOrder = (faults: ReadonlyMap<string, number>): Map<string, number> =>
  new Map(FAULT_KINDS.map((kind) => [kind, faults.get(kind) ?? 0]));

const table = (title: string, counts: ReadonlyMap<string, number>): string =>
  [`${title}:`, ...[...counts].map(([name, count]) => `  ${String(count).padStart(9)}  ${name}`)].join('\n');
