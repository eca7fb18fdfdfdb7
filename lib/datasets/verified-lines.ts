import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { binaryKind, SIGNATURE_BYTES } from './documents/text-encoding.ts';

/** One read; a batch of lines is what ends within it. Blocks the event loop for 10-20 ms with everything done to its lines. */
const CHUNK_BYTES = 1_024 * 1_024;

export interface LineReading {
  readonly path: string;
  /** Lower-case hex; the file must have it. */
  readonly expectedSha256: string;
  readonly maxBytes: number;
  readonly maxLineBytes: number;
  readonly signal?: AbortSignal | undefined;
  /** Called after each chunk. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Gives every line of a UTF-8 file to `onLine`, in order, without line feed and byte order mark, holding one chunk or one line in
 * memory. Resolves to size and digest. Throws TrainyardError `DatasetMissing`, `DatasetEmpty`, `DatasetTooLarge`, `DatasetBinary`,
 * `DatasetInvalidUtf8`, and before all of these but the first `DatasetDigestMismatch`: other bytes explain any other finding.
 * So `onLine` may have seen lines of a file that is refused in the end. Aborting the signal throws its reason.
 */
export async function readVerifiedLines(reading: LineReading, onLine: (line: string) => void): Promise<FileDigest> {
  const batches = verifiedLines(reading);
  try {
    for (;;) {
      const next = await batches.next();
      if (next.done === true) return next.value;
      for (const line of next.value) onLine(line);
    }
  } finally {
    // Closes the file when `onLine` threw.
    await batches.return({ bytes: 0, sha256: '' });
  }
}

export interface FileDigest {
  readonly bytes: number;
  readonly sha256: string;
}

/** The same, lines chunk by chunk at the pace of the reader: the next chunk is read when the last one is done with. */
export async function* verifiedLines({
  path,
  expectedSha256,
  maxBytes,
  maxLineBytes,
  signal,
  onProgress,
}: LineReading): AsyncGenerator<readonly string[], FileDigest, void> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw new TrainyardError('DatasetMissing', `the dataset file cannot be opened: ${messageOf(error)}`, {
      cause: error,
    });
  });
  try {
    const total = (await file.stat()).size;
    const hash = createHash('sha256');
    let batch: string[] = [];
    const lines = new LineSplitter(maxLineBytes, (line) => batch.push(line));
    let fault: TrainyardError | null =
      total > maxBytes ? tooLarge(`the dataset has ${total} bytes, at most ${maxBytes}`) : null;
    let bytes = 0;
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, bytes);
      const chunk = buffer.subarray(0, bytesRead);
      hash.update(chunk);
      bytes += bytesRead;
      // After a fault the rest is only hashed: a wrong digest is the better explanation.
      fault ??= bytesRead > 0 ? lines.push(chunk) : lines.end();
      if (batch.length > 0) yield batch;
      batch = [];
      if (bytesRead === 0) break;
      onProgress?.(bytes, Math.max(total, bytes));
    }
    const sha256 = hash.digest('hex');
    if (sha256 !== expectedSha256)
      throw new TrainyardError('DatasetDigestMismatch', `the dataset has SHA-256 ${sha256}, not ${expectedSha256}`, {
        details: { bytes, sha256, expectedSha256 },
      });
    if (fault !== null) throw fault;
    return { bytes, sha256 };
  } finally {
    await file.close();
  }
}

/** Splits chunks at line feeds and decodes whole lines at once. Methods return the fault that ends the reading, or null. */
class LineSplitter {
  readonly #maxLineBytes: number;
  readonly #onLine: (line: string) => void;
  /** Copies of the chunks of an unfinished line. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #lines = 0;
  #bytes = 0;

  constructor(maxLineBytes: number, onLine: (line: string) => void) {
    this.#maxLineBytes = maxLineBytes;
    this.#onLine = onLine;
  }

  push(chunk: Buffer): TrainyardError | null {
    const kind = this.#bytes === 0 ? binaryKind(chunk.subarray(0, SIGNATURE_BYTES)) : null;
    if (kind !== null) return new TrainyardError('DatasetBinary', `the dataset looks like ${kind}, not like text`);
    const nul = chunk.indexOf(0);
    if (nul >= 0)
      return new TrainyardError('DatasetBinary', `the dataset holds a zero byte at offset ${this.#bytes + nul}`);
    this.#bytes += chunk.length;
    const end = chunk.lastIndexOf(0x0a) + 1;
    if (end > 0) {
      const fault = this.#emit(Buffer.concat([...this.#pending, chunk.subarray(0, end)]));
      if (fault !== null) return fault;
      this.#pending = [];
      this.#pendingBytes = 0;
    }
    if (end < chunk.length) {
      this.#pending.push(Buffer.from(chunk.subarray(end)));
      this.#pendingBytes += chunk.length - end;
    }
    return this.#pendingBytes > this.#maxLineBytes ? this.#lineTooLong(this.#lines + 1) : null;
  }

  end(): TrainyardError | null {
    if (this.#bytes === 0) return new TrainyardError('DatasetEmpty', 'the dataset has no bytes');
    if (this.#pendingBytes === 0) return null;
    return this.#emit(Buffer.concat(this.#pending));
  }

  /** Decodes complete lines; the last one may lack its line feed at the end of the file. */
  #emit(block: Buffer): TrainyardError | null {
    if (!isUtf8(block)) return invalidUtf8(block, this.#lines);
    const lines = block.toString('utf8').split('\n');
    if (lines.at(-1) === '') lines.pop();
    for (const [i, line] of lines.entries()) {
      // UTF-16 units are at most as many as UTF-8 bytes: the exact length is needed for few lines only.
      if (3 * line.length > this.#maxLineBytes && Buffer.byteLength(line) > this.#maxLineBytes)
        return this.#lineTooLong(this.#lines + 1);
      this.#lines += 1;
      const isFirst = this.#lines === 1 && i === 0;
      this.#onLine(isFirst && line.startsWith('\ufeff') ? line.slice(1) : line);
    }
    return null;
  }

  #lineTooLong(line: number): TrainyardError {
    return tooLarge(`line ${line} is longer than ${this.#maxLineBytes} bytes`);
  }
}

const tooLarge = (message: string): TrainyardError => new TrainyardError('DatasetTooLarge', message);

/** Names the first line that is not UTF-8. */
function invalidUtf8(block: Buffer, linesBefore: number): TrainyardError {
  let line = linesBefore;
  for (let start = 0; start < block.length; ) {
    line += 1;
    const end = block.indexOf(0x0a, start);
    const bytes = block.subarray(start, end < 0 ? block.length : end);
    if (!isUtf8(bytes)) break;
    start += bytes.length + 1;
  }
  return new TrainyardError('DatasetInvalidUtf8', `line ${line} is not UTF-8`, {
    details: { line },
    fields: [{ pointer: `/lines/${line}`, message: 'holds bytes that are not UTF-8' }],
  });
}
