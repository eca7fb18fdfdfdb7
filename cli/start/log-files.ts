import { closeSync, openSync } from 'node:fs';
import { copyFile, stat, truncate } from 'node:fs/promises';

/** One older file is kept beside each, so a platform's logs take at most six times 20 MiB. */
const LOG_BYTES = 10 * 1024 * 1024;
const CHECK_MS = 2_000;

/**
 * Hands `use` a descriptor that appends to a log file. Children get it as standard output: they keep their log when the supervisor
 * is killed, and no line costs the supervisor anything.
 */
export function withLog<T>(file: string, use: (descriptor: number) => T): T {
  const descriptor = openSync(file, 'a', 0o600);
  try {
    return use(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Keeps log files that others append to below a size until stopped. Lines written during the copy itself (about 10 ms) may be lost. */
export function boundLogs(files: readonly string[], maxBytes = LOG_BYTES): { stop(): void } {
  const timer = setInterval(() => void Promise.all(files.map((file) => boundLog(file, maxBytes))), CHECK_MS);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

/** Copied and emptied, not renamed: whoever has it open goes on writing to the same file. A full disk loses the old lines, never the bound. */
export async function boundLog(file: string, maxBytes: number): Promise<void> {
  const info = await stat(file).catch(() => null);
  if (info === null || info.size <= maxBytes) return;
  await copyFile(file, `${file}.1`).catch(() => undefined);
  await truncate(file).catch(() => undefined);
}
