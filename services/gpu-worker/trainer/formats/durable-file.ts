import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Writes a file so that it is either absent or complete: temporary name, fsync, rename, fsync of the folder. Returns the
 * lower-case hex SHA-256 of what was written. A failed write leaves at most `<path>.tmp` behind, which the next one replaces.
 */
export async function writeDurably(path: string, chunks: Iterable<Uint8Array | string>): Promise<string> {
  const temporary = `${path}.tmp`;
  const hash = createHash('sha256');
  const file = await open(temporary, 'w');
  try {
    for (const chunk of chunks) {
      const bytes = typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk;
      hash.update(bytes);
      await file.writeFile(bytes);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
  return hash.digest('hex');
}

/** Makes the names inside a folder survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Lower-case hex SHA-256 of a file, read as a stream. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}
