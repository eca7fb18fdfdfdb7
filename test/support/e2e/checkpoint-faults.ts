import { chmod, open, realpath, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { MANIFEST_NAME } from '#lib/object-store/manifest.ts';
import type { E2ePlatform } from './platform.ts';

/** A checkpoint in the object store that has its manifest. */
export interface StoredCheckpoint {
  readonly step: number;
  /** Object keys of its files, the manifest's not among them. */
  readonly files: readonly string[];
  readonly manifestKey: string;
}

/** Complete checkpoints of a training, newest first. */
export async function storedCheckpoints(
  platform: Pick<E2ePlatform, 'store'>,
  jobId: string,
): Promise<StoredCheckpoint[]> {
  const folders = new Map<string, string[]>();
  for await (const { key } of platform.store.list(`checkpoints/${jobId}/run_training/`)) {
    const folder = key.slice(0, key.indexOf('/', key.indexOf('/step-') + 1));
    folders.set(folder, [...(folders.get(folder) ?? []), key]);
  }
  return [...folders]
    .map(([folder, keys]) => ({
      step: Number(folder.slice(-8)),
      manifestKey: `${folder}/${MANIFEST_NAME}`,
      files: keys.filter((key) => !key.endsWith(`/${MANIFEST_NAME}`)),
      complete: keys.includes(`${folder}/${MANIFEST_NAME}`),
    }))
    .filter(({ complete }) => complete)
    .sort((a, b) => b.step - a.step);
}

export const DAMAGES = {
  'is truncated': async (platform: E2ePlatform, checkpoint: StoredCheckpoint) => {
    const { path, bytes } = await largestFile(platform, checkpoint);
    await truncate(path, Math.floor(bytes / 2));
  },
  'has one byte flipped': async (platform: E2ePlatform, checkpoint: StoredCheckpoint) => {
    const { path, bytes } = await largestFile(platform, checkpoint);
    const file = await open(path, 'r+');
    const byte = Buffer.alloc(1);
    const at = Math.floor(bytes / 2);
    await file.read(byte, 0, 1, at);
    await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, at);
    await file.close();
  },
  'has lost its manifest': async (platform: E2ePlatform, { manifestKey }: StoredCheckpoint) =>
    rm(join(platform.home.objects, 'objects', manifestKey)),
} as const;
export type Damage = keyof typeof DAMAGES;

/** Where the bytes lie, writable. */
async function largestFile(
  platform: E2ePlatform,
  { files }: StoredCheckpoint,
): Promise<{ path: string; bytes: number }> {
  const found = await Promise.all(
    files.map(async (key) => {
      const path = await realpath(join(platform.home.objects, 'objects', key));
      return { path, bytes: (await stat(path)).size };
    }),
  );
  const [largest] = found.sort((a, b) => b.bytes - a.bytes);
  if (largest === undefined) throw new Error('the checkpoint has no files');
  await chmod(largest.path, 0o600);
  return largest;
}
