import { singleObjectCodec } from '#lib/contracts/codec.ts';
import type { Violation } from './invariants/violations.ts';
import type { Mutation } from './mutation.ts';
import { MUTATIONS } from './mutations.ts';
import { runSimulation } from './run-simulation.ts';

export interface Hunt {
  readonly mutation: Mutation;
  /** Runs made, the finding one included. */
  readonly runs: number;
  readonly foundBy: Violation | null;
  readonly seed: number;
}

/** For each mutation: runs from the first seed on until a rule is broken, at most `runs`. */
export async function huntMutations(options: {
  readonly firstSeed: number;
  readonly runs: number;
  readonly mutations?: readonly Mutation[];
}): Promise<Hunt[]> {
  const codec = singleObjectCodec();
  const hunts: Hunt[] = [];
  for (const mutation of options.mutations ?? MUTATIONS) {
    let hunt: Hunt = { mutation, runs: options.runs, foundBy: null, seed: options.firstSeed };
    for (let n = 0; n < options.runs && hunt.foundBy === null; n++) {
      const seed = options.firstSeed + n;
      const { violation } = await runSimulation(seed, { codec, mutation });
      if (violation !== null) hunt = { mutation, runs: n + 1, foundBy: violation, seed };
    }
    hunts.push(hunt);
  }
  return hunts;
}
