import { readFile } from 'node:fs/promises';
import { assertNever, messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { TRAINER_EXIT, type TrainerSpec } from '#lib/contracts/trainer-protocol.ts';
import { describeFailure, systemCodeOf } from './failure.ts';
import { runDpo } from './programs/dpo.ts';
import { runEvaluation } from './programs/evaluate.ts';
import { runPpo } from './programs/ppo.ts';
import { runReward } from './programs/reward.ts';
import type { Outcome, RunContext } from './programs/run-loop.ts';
import { runSft } from './programs/sft.ts';
import { parseTrainerSpec } from './spec.ts';

/** Runs the spec at `specPath` and returns the exit code; a failure is printed as an `error` line first. */
export async function runTrainer(specPath: string | undefined, context: RunContext): Promise<number> {
  try {
    const outcome = await runSpec(await readSpec(specPath), context);
    return outcome === 'done' ? TRAINER_EXIT.done : TRAINER_EXIT.yielded;
  } catch (error) {
    const { code, message, retryable, exitCode } = describeFailure(error);
    // The reader is gone, and with it whoever would care: end quietly instead of training on as an orphan.
    if (systemCodeOf(error) === 'EPIPE') return exitCode;
    // Unknown failures need their stack; classified ones say all there is to say.
    if (code === 'TrainerFailed') console.error(error);
    context.send({ type: 'error', code, message, retryable });
    return exitCode;
  }
}

function runSpec(spec: TrainerSpec, context: RunContext): Promise<Outcome> {
  switch (spec.method) {
    case 'sft':
      return runSft(spec, context);
    case 'reward':
      return runReward(spec, context);
    case 'dpo':
      return runDpo(spec, context);
    case 'ppo':
      return runPpo(spec, context);
    case 'evaluate':
      return runEvaluation(spec, context);
    default:
      return assertNever(spec);
  }
}

async function readSpec(path: string | undefined): Promise<TrainerSpec> {
  if (path === undefined) throw new TrainyardError('TrainerBadConfig', 'usage: main.ts <spec.json>');
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new TrainyardError('TrainerBadConfig', `${path}: ${messageOf(error)}`, { cause: error });
  }
  return parseTrainerSpec(json);
}
