import { join } from 'node:path';
import type { ResolvedSubject } from '#lib/contracts/eval-only-job.ts';
import type { TrainerBase } from '#lib/contracts/trainer-protocol.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { readManifest } from '#lib/object-store/manifest.ts';
import { pull, type StoredFolder } from '#lib/worker/workspace.ts';
import type { GpuPlatform } from './trainer-run.ts';

/** What a folder of a whole model holds at least. */
const MODEL_FILES = ['config.json', 'model.safetensors', 'tokenizer.json'];

/**
 * SHA-256 of the tokenizer that all subjects have. Reads manifests only, so that what cannot be compared fails before anything large is
 * fetched: `EvaluationSubjectInvalid` for a folder that is no whole model, `TokenizersDiffer`, and what `readManifest` throws.
 */
export async function commonTokenizer(
  { store }: Pick<GpuPlatform, 'store'>,
  subjects: readonly ResolvedSubject[],
): Promise<string> {
  const digests: { label: string; sha256: string }[] = [];
  for (const { label, weights } of subjects) {
    const { files } = await readManifest(store, weights.manifestKey, { expectedDigest: weights.digest });
    const byPath = new Map(files.map((file) => [file.path, file.sha256]));
    const missing = MODEL_FILES.filter((path) => !byPath.has(path));
    if (missing.length > 0) {
      const kind = byPath.has('adapter_model.safetensors') ? 'an adapter without the model it lies on' : 'no model';
      throw new TrainyardError('EvaluationSubjectInvalid', `${label} is ${kind}: it has no ${missing.join(', ')}`);
    }
    digests.push({ label, sha256: byPath.get('tokenizer.json') ?? '' });
  }
  const [first] = digests;
  if (first === undefined) throw new TrainyardError('EvaluationSubjectInvalid', 'nothing is to be evaluated');
  const other = digests.find(({ sha256 }) => sha256 !== first.sha256);
  if (other !== undefined)
    throw new TrainyardError(
      'TokenizersDiffer',
      `${other.label} has another tokenizer than ${first.label}: their items would not be the same`,
    );
  return first.sha256;
}

/** Brings a subject into the job's folder. Folders are named by digest: what several subjects share is fetched once. */
export async function pullSubject(
  platform: GpuPlatform,
  { weights, adapter }: ResolvedSubject,
  folder: string,
  signal: AbortSignal,
): Promise<TrainerBase> {
  const bring = async (stored: StoredFolder): Promise<string> => {
    const dir = join(folder, 'subjects', stored.digest);
    await pull(platform, stored, dir, signal);
    return dir;
  };
  const dir = await bring(weights);
  return adapter === undefined ? { kind: 'model', dir } : { kind: 'model', dir, adapterDir: await bring(adapter) };
}
