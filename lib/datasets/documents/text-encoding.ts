/** First bytes of formats people upload by mistake. */
const SIGNATURES: readonly (readonly [name: string, bytes: readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['zip', [0x50, 0x4b, 0x03, 0x04]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['PDF', [0x25, 0x50, 0x44, 0x46, 0x2d]],
  ['Parquet', [0x50, 0x41, 0x52, 0x31]],
  ['UTF-16', [0xff, 0xfe]],
  ['UTF-16', [0xfe, 0xff]],
];

/** Bytes `binaryKind` needs; a shorter file is given as a whole. */
export const SIGNATURE_BYTES = 6;

/** The binary format whose signature the first bytes of a file carry, or null. */
export function binaryKind(start: Uint8Array): string | null {
  const found = SIGNATURES.find(([, bytes]) => bytes.every((byte, i) => start[i] === byte));
  return found?.[0] ?? null;
}
