import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';

/** The bytes of a corpus file, decompressed when its name ends in `.br`. Held in memory: corpora are a few megabytes. */
export function readCorpus(path: string): Buffer {
  const bytes = readFileSync(path);
  return path.endsWith('.br') ? brotliDecompressSync(bytes) : bytes;
}
