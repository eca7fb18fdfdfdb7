import type { TSchema } from '#typebox';
import type { FieldError } from '#lib/kernel/errors.ts';
import type { SlotSpeed } from '../estimate.ts';
import type { Findings, References } from '../findings.ts';

/** What a machine's input says besides the spec and its references. */
export interface JobFacts {
  readonly jobId: string;
  readonly project: string;
  readonly submittedAtMs: number;
  /** Commit of the code that took the job in. */
  readonly codeCommit: string;
  /** SHA-256 of the canonical JSON of a value. */
  readonly digestOf: (value: unknown) => string;
}

/**
 * A type of job as the gateway knows it. All of it is pure; the use cases look the references up between `references` and the rest.
 * Members are methods on purpose: the registry holds kinds of every spec, and hands each only specs that its schema accepted.
 */
export interface JobKind<Spec, Input extends object> {
  /** Schema of the member `spec` of a submission. */
  readonly spec: TSchema;
  /** Fills in the groups that are optional as a whole but needed by what is asked for. The spec has its defaults and is not checked yet. */
  fill(spec: Record<string, unknown>): void;
  /** What the spec names; pointers go into the submitted body. */
  references(spec: Spec): References;
  /** Every broken rule that no schema can say, with a pointer; empty = the job can run. */
  check(spec: Spec, findings: Findings): FieldError[];
  /** GPU seconds to reserve: an upper guess. */
  estimate(spec: Spec, findings: Findings, speed: SlotSpeed): number;
  /** Input of the machine, for findings that `check` has nothing against. */
  input(spec: Spec, findings: Findings, job: JobFacts): Input;
}
