import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '#lib/kernel/errors.ts';
import { PeerUnavailable } from '../../scripts/peers/cache.ts';
import { createBucket, type S3Access, startS3Server as startLocal } from '../../scripts/peers/s3-server.ts';
import { givenAddress } from './peers/given-addresses.ts';

export interface S3Server {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Folder in which the server keeps bucket `b` as the folder `b`; null for a server that we did not start. */
  readonly folder: string | null;
  /** Of the server's process; null for a server that we did not start. */
  readonly pid: number | null;
  makeBucket(name: string): Promise<void>;
  stop(): Promise<void>;
}

export type S3ServerOrReason = { readonly server: S3Server } | { readonly reason: string };

/**
 * A real S3 server of a suite's own, since suites damage what it stores: the one that the environment names (support/peers), else versitygw on
 * a free port of the loopback; otherwise the reason why there is none.
 */
export async function startS3Server(): Promise<S3ServerOrReason> {
  const given = givenAddress('s3', process.env);
  if (given !== null) return { server: serverAt(given, { folder: null, pid: null, stop: async () => undefined }) };
  const dir = await mkdtemp(join(tmpdir(), 'trainyard-s3-'));
  try {
    const local = await startLocal({ dir });
    const stop = async (): Promise<void> => {
      await local.stop();
      await rm(dir, { recursive: true, force: true });
    };
    return { server: serverAt(local, { folder: join(dir, 'data'), pid: local.pid, stop }) };
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    if (error instanceof PeerUnavailable) return { reason: messageOf(error) };
    throw error;
  }
}

function serverAt(access: S3Access, own: Pick<S3Server, 'folder' | 'pid' | 'stop'>): S3Server {
  const { endpoint, region, accessKeyId, secretAccessKey } = access;
  return {
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    ...own,
    makeBucket: (name) => createBucket(access, name),
  };
}
