import { describe, expect, it } from 'vitest';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { FAULT_KINDS } from './faults.ts';
import { RULES } from './invariants/rules.ts';
import { failureReport } from './report.ts';
import { type RunResult, runSimulation } from './run-simulation.ts';

const codec = singleObjectCodec();

/** Seeds of the short form; `npm run sim` runs as many as there is time for. */
const SHORT_RUNS = 40;

/** Seeds that found a bug once. What they did then depends on the simulator, so each bug has a test of its own as well. */
const FOUND_SOMETHING = [2, 58, 64, 223, 1_043, 1_502, 1_832, 1_986, 2_057, 6_143];

async function holds(seed: number): Promise<RunResult> {
  const result = await runSimulation(seed, { codec });
  if (result.violation !== null) throw new Error(failureReport(result));
  return result;
}

describe('the simulation', () => {
  it('is deterministic: the same seed gives the same trace, another seed another', async () => {
    const hashes = async (): Promise<string[]> => {
      const found: string[] = [];
      for (const seed of [8, 12, 15, 17, 18, 20]) found.push((await holds(seed)).traceHash);
      return found;
    };
    const once = await hashes();
    expect(await hashes()).toEqual(once);
    expect(new Set(once).size).toBe(once.length);
  });

  it(`breaks no rule in ${SHORT_RUNS} worlds, while nearly every kind of fault strikes`, async () => {
    const struck = new Map<string, number>();
    const checked = new Map<string, number>();
    const ends = new Map<string, number>();
    for (let seed = 10_001; seed <= 10_000 + SHORT_RUNS; seed++) {
      const result = await holds(seed);
      for (const [kind, n] of result.faults) struck.set(kind, (struck.get(kind) ?? 0) + n);
      for (const [rule, n] of result.checked) checked.set(rule, (checked.get(rule) ?? 0) + n);
      for (const [status, n] of result.ends) ends.set(status, (ends.get(status) ?? 0) + n);
    }
    // A simulation in which nothing happens finds nothing.
    expect(FAULT_KINDS.filter((kind) => !struck.has(kind))).toEqual([]);
    expect(Object.values(RULES).filter((rule) => (checked.get(rule) ?? 0) === 0)).toEqual([]);
    expect(ends.get('COMPLETED')).toBeGreaterThan(SHORT_RUNS);
    expect([...ends.keys()]).toEqual(
      expect.arrayContaining(['CANCELLED', 'FAILED', 'EVAL_FAILED', 'SAFETY_FAILED', 'REJECTED', 'ROLLED_BACK']),
    );
  });

  it.each(FOUND_SOMETHING)('breaks no rule in world %i, which found a bug once', async (seed) => {
    expect((await holds(seed)).jobs).toBeGreaterThan(0);
  });
});
