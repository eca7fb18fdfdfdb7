import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from '#typebox';
import { Value } from '#typebox/value';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { systemCodeOf } from './failure.ts';
import { sha256OfFile, syncFolder, writeDurably } from './formats/durable-file.ts';
import { type NamedTensor, openSafetensors, writeSafetensors } from './formats/safetensors.ts';

const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Count = Type.Integer({ minimum: 0 });

/** The point of a curve that is being averaged, and the newest finished one. */
const Curve = Type.Object(
  { sum: Type.Number(), count: Count, latest: Type.Union([Type.Number(), Type.Null()]) },
  { additionalProperties: false },
);

/** Everything besides tensors that decides what a run does next. */
const RunState = Type.Object(
  {
    /** Optimiser steps done. */
    step: Count,
    /** State of the dropout stream (mulberry32). */
    prngState: Type.Integer({ minimum: 0, maximum: 4_294_967_295 }),
    dataPosition: Type.Object({ epoch: Count, cursor: Count }, { additionalProperties: false }),
    /** The curve of the training loss. */
    curve: Curve,
    /** Further curves of the method by metric name; absent for `sft`. */
    curves: Type.Optional(Type.Record(Type.String(), Curve)),
    /** SHA-256 of all that the weights depend on: hyper-parameters, seed, base, data. */
    configDigest: Sha256,
  },
  { additionalProperties: false },
);
export type RunState = Static<typeof RunState>;

const CheckpointState = Type.Object(
  {
    format: Type.Literal('trainyard-checkpoint/1'),
    run: RunState,
    /** SHA-256 of the other files. */
    files: Type.Object(
      {
        'parameters.safetensors': Sha256,
        'optimiser.safetensors': Sha256,
        'method.safetensors': Type.Optional(Sha256),
      },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
);

/** The tensors of a checkpoint. Parameters keep their names (a model's or an adapter's), moments are flat. */
export interface CheckpointTensors {
  readonly parameters: readonly NamedTensor[];
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
  /** What else the method's next steps depend on (reference log-probabilities, rollouts); left out when empty. */
  readonly extra?: readonly NamedTensor[];
}

const STEP_DIGITS = 8;

export const checkpointName = (step: number): string => `step-${String(step).padStart(STEP_DIGITS, '0')}`;

/**
 * Writes `<checkpointDir>/step-<8 digits>/` and returns its path. `state.json` comes last and holds the digests of the other
 * files, so a folder without it, or with other digests, is not a checkpoint. Writing the same step twice is harmless.
 */
export async function saveCheckpoint(
  checkpointDir: string,
  run: RunState,
  tensors: CheckpointTensors,
): Promise<string> {
  const dir = join(checkpointDir, checkpointName(run.step));
  await mkdir(dir, { recursive: true });
  // Without this a crash half-way through a rewrite would leave an old state.json beside new tensors.
  await rm(join(dir, 'state.json'), { force: true });
  const extra = tensors.extra ?? [];
  const files = {
    'parameters.safetensors': await writeSafetensors(join(dir, 'parameters.safetensors'), tensors.parameters),
    'optimiser.safetensors': await writeSafetensors(join(dir, 'optimiser.safetensors'), moments(tensors)),
    ...(extra.length === 0
      ? {}
      : { 'method.safetensors': await writeSafetensors(join(dir, 'method.safetensors'), extra) }),
  };
  await writeDurably(join(dir, 'state.json'), [`${canonicalJson({ format: 'trainyard-checkpoint/1', run, files })}\n`]);
  await syncFolder(checkpointDir);
  return dir;
}

/**
 * Restores the tensors in place, those of `extraOf` for the state found included, and returns the run's state. Throws `CheckpointDamaged` when a file is missing or differs from
 * its digest, `CheckpointMismatch` when the checkpoint belongs to another configuration; then nothing was restored.
 */
export async function loadCheckpoint(
  dir: string,
  configDigest: string,
  tensors: CheckpointTensors,
  extraOf: (run: RunState) => readonly NamedTensor[] = () => [],
): Promise<RunState> {
  const { run, files } = await readState(dir);
  for (const [name, digest] of Object.entries(files)) {
    const actual = await orDamaged(dir, () => sha256OfFile(join(dir, name)));
    if (actual !== digest) throw damaged(dir, `${name} differs from its recorded SHA-256`);
  }
  if (run.configDigest !== configDigest) {
    throw new TrainyardError('CheckpointMismatch', `${dir} belongs to another configuration, base or data`);
  }
  await orDamaged(dir, () => readTensors(join(dir, 'parameters.safetensors'), tensors.parameters));
  await orDamaged(dir, () => readTensors(join(dir, 'optimiser.safetensors'), moments(tensors)));
  const extra = extraOf(run);
  if (extra.length > 0) await orDamaged(dir, () => readTensors(join(dir, 'method.safetensors'), extra));
  return run;
}

async function readState(dir: string): Promise<Static<typeof CheckpointState>> {
  const text = await orDamaged(dir, () => readFile(join(dir, 'state.json'), 'utf8'));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw damaged(dir, `state.json is not JSON: ${messageOf(error)}`);
  }
  if (!Value.Check(CheckpointState, json)) throw damaged(dir, 'state.json does not match its schema');
  return json;
}

async function readTensors(path: string, tensors: readonly NamedTensor[]): Promise<void> {
  const file = await openSafetensors(path);
  try {
    for (const { name, shape, data } of tensors) await file.readInto(name, shape, data);
  } finally {
    await file.close();
  }
}

const moments = ({ firstMoment, secondMoment }: CheckpointTensors): NamedTensor[] => [
  { name: 'first_moment', shape: [firstMoment.length], data: firstMoment },
  { name: 'second_moment', shape: [secondMoment.length], data: secondMoment },
];

async function orDamaged<T>(dir: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') throw damaged(dir, 'a file is missing', error);
    // A file with the right digest and wrong tensors is as useless as a damaged one.
    if (error instanceof TrainyardError && error.code.startsWith('Trainer')) throw damaged(dir, error.message, error);
    throw error;
  }
}

const damaged = (dir: string, reason: string, cause?: unknown): TrainyardError =>
  new TrainyardError('CheckpointDamaged', `${dir}: ${reason}`, { cause });
