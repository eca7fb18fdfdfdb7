import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type { ObjectInfo, ObjectStore } from './port.ts';

/** One empty storage. Close it after the suite. */
export interface ObjectStoreHarness {
  /** Another store on this storage; `onWrite` is called after every body or part that was sent (not for reused parts). */
  open(onWrite?: (bytes: number) => void): ObjectStore;
  /** Parts of `putFile`; files of the suite have up to six. */
  readonly partBytes: number;
  /** Changes what is stored behind the store's back. */
  damage(key: string, how: 'truncate' | 'flip'): Promise<void>;
  close(): Promise<void>;
}

export const sha256 = (body: Uint8Array): string => createHash('sha256').update(body).digest('hex');
export const withCode = (code: string): unknown => expect.objectContaining({ code });

export async function collect(objects: AsyncIterable<ObjectInfo>): Promise<ObjectInfo[]> {
  const all: ObjectInfo[] = [];
  for await (const info of objects) all.push(info);
  return all;
}
