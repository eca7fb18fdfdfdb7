import { join } from 'node:path';
import type { ResolvedModel } from '#lib/contracts/jobs.ts';
import type { ModelConfig, TrainerBase } from '#lib/contracts/trainer-protocol.ts';
import { downloadFolder } from '#lib/object-store/manifest.ts';
import type { WorkerPlatform } from './worker-service.ts';

/** A stored folder: its manifest's key and digest. */
export interface StoredFolder {
  readonly manifestKey: string;
  readonly digest: string;
}

export type Base =
  | { readonly kind: 'config'; readonly config: ModelConfig }
  | { readonly kind: 'model'; readonly model: ResolvedModel };

/** Folder of a job below the workspace root. */
export const jobFolder = (jobId: string): string => `jobs/${jobId}`;

/** Where things lie in a job's folder. Names with an epoch belong to one attempt, so that a zombie never writes into another's. */
export const WORKSPACE = {
  data: 'data',
  base: 'base',
  baseAdapter: 'base-adapter',
  artifacts: 'artifacts',
  output: (epoch: number): string => `output-e${epoch}`,
  metrics: (epoch: number): string => `output-e${epoch}.metrics.jsonl`,
} as const;

/** Brings a stored folder into the workspace, verified against its manifest; what is there and right stays. Returns its files' bytes. */
export async function pull(
  platform: WorkerPlatform,
  stored: StoredFolder,
  folder: string,
  signal: AbortSignal,
): Promise<{ files: number; bytes: number }> {
  const manifest = await downloadFolder(platform.store, stored.manifestKey, folder, {
    signal,
    expectedDigest: stored.digest,
    marginBytes: platform.workspaceMarginBytes,
  });
  return { files: manifest.files.length, bytes: manifest.files.reduce((sum, file) => sum + file.bytes, 0) };
}

/** Brings a base model into the job's folder and says where a trainer finds it. */
export async function pullBase(
  platform: WorkerPlatform,
  base: Base,
  folder: string,
  signal: AbortSignal,
): Promise<{ base: TrainerBase; files: number; bytes: number }> {
  return base.kind === 'config' ? { base, files: 0, bytes: 0 } : pullModel(platform, base.model, folder, signal);
}

/** Brings a registered model, and the adapter on it if there is one, into the job's folder. */
export async function pullModel(
  platform: WorkerPlatform,
  model: ResolvedModel,
  folder: string,
  signal: AbortSignal,
): Promise<{ base: Extract<TrainerBase, { kind: 'model' }>; files: number; bytes: number }> {
  const dir = join(folder, WORKSPACE.base);
  const weights = await pull(platform, model.weights, dir, signal);
  if (model.adapter === undefined) return { base: { kind: 'model', dir }, ...weights };
  const adapterDir = join(folder, WORKSPACE.baseAdapter);
  const adapter = await pull(platform, model.adapter, adapterDir, signal);
  return {
    base: { kind: 'model', dir, adapterDir },
    files: weights.files + adapter.files,
    bytes: weights.bytes + adapter.bytes,
  };
}
