import { createHash } from 'node:crypto';
import { encodeManifest, MANIFEST_NAME } from '#lib/object-store/manifest-format.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';

export interface StoredFolder {
  readonly manifestKey: string;
  readonly digest: string;
}

/** Shape of every simulated model; `register_model` reads it from the artifacts. */
const CONFIG = JSON.stringify({ n_layer: 1, n_head: 1, n_embd: 8, n_positions: 8 });

/** Stores a model's folder as the real activities do: the files, then the manifest, all by conditional create. */
export async function storeFolder(
  store: ObjectStore,
  prefix: string,
  weights: string,
  createdBy: { readonly jobId: string; readonly activity: string; readonly epoch: number },
  /** Between the two, in the order of their names. */
  more: readonly (readonly [path: string, content: string])[] = [],
): Promise<StoredFolder> {
  const files = [];
  const contents: (readonly [path: string, content: string])[] = [['config.json', CONFIG], ...more];
  for (const [path, content] of [...contents, ['weights.bin', weights] as const]) {
    const { key, sha256, bytes } = await store.put(`${prefix}/${path}`, Buffer.from(content));
    files.push({ path, key, bytes, sha256, partSize: Math.max(1, bytes) });
  }
  const manifest = encodeManifest({ format: 'trainyard-manifest/1', createdBy, files });
  const manifestKey = `${prefix}/${MANIFEST_NAME}`;
  await store.put(manifestKey, manifest);
  return { manifestKey, digest: digestOf(manifest) };
}

export const digestOf = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex');
