import { Value } from '#typebox/value';
import { EvaluationReport } from '#lib/contracts/trainer-protocol.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';

/** Tokens of one generated sample, and how freely they are drawn. */
export const SAMPLES = { tokens: 48, temperature: 0.8 };

/** What an evaluation program wrote; anything else than the protocol's report is `TrainerFailed`. */
export function parseEvaluationReport(body: Buffer): EvaluationReport {
  const value: unknown = JSON.parse(body.toString('utf8'));
  if (Value.Check(EvaluationReport, value)) return value;
  throw new TrainyardError('TrainerFailed', 'the evaluation program wrote no valid report');
}
