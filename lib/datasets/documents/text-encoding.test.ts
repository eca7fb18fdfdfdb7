import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { binaryKind } from './text-encoding.ts';

test('compressed files and UTF-16 are known by their first bytes, text is not taken for one', () => {
  expect(binaryKind(gzipSync('text'))).toBe('gzip');
  expect(binaryKind(zstdCompressSync('text'))).toBe('zstd');
  expect(binaryKind(Buffer.from('%PDF-1.7'))).toBe('PDF');
  expect(binaryKind(Buffer.from('\ufefftext', 'utf16le'))).toBe('UTF-16');
  expect(binaryKind(Buffer.from('{"text":""}'))).toBeNull();
  expect(binaryKind(Buffer.from(''))).toBeNull();
  // Brotli has no signature; the zero bytes and invalid UTF-8 in it are found elsewhere.
  expect(binaryKind(brotliCompressSync('text'))).toBeNull();
});
