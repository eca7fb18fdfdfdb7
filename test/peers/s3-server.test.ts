import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { describe, expect, it } from 'vitest';
import { type S3Access, startS3Server } from '../../scripts/peers/s3-server.ts';
import { addressOf, peer } from '../support/peers/peer.ts';

const s3 = await peer('s3');

const clientOf = ({ endpoint, region, accessKeyId, secretAccessKey }: S3Access): S3Client =>
  new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: 1,
  });

const newKey = (): string => `peers-test/${randomBytes(6).toString('hex')}`;
const sha256 = (body: Buffer): string => createHash('sha256').update(body).digest('base64');

describe.skipIf(!s3.available)('the S3 server', () => {
  it('lets exactly one of 16 racing conditional puts win, and keeps that one', async () => {
    const client = clientOf(addressOf(s3));
    const Bucket = addressOf(s3).bucket;
    const Key = newKey();
    const results = await Promise.allSettled(
      Array.from({ length: 16 }, (_, n) =>
        client.send(new PutObjectCommand({ Bucket, Key, Body: `writer ${n}`, IfNoneMatch: '*' })),
      ),
    );
    const winners = results.flatMap((result, n) => (result.status === 'fulfilled' ? [n] : []));
    expect(winners).toHaveLength(1);
    const statuses = results.flatMap((result) =>
      result.status === 'rejected'
        ? [(result.reason as { $metadata: { httpStatusCode?: number } }).$metadata.httpStatusCode]
        : [],
    );
    // 412: somebody was first; 409: somebody is at it right now.
    expect(statuses.filter((status) => status !== 412 && status !== 409)).toEqual([]);
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
    expect(await Body?.transformToString()).toBe(`writer ${winners[0]}`);
    client.destroy();
  });

  it('refuses a body whose SHA-256 is another one, and stores nothing', async () => {
    const client = clientOf(addressOf(s3));
    const Bucket = addressOf(s3).bucket;
    const Key = newKey();
    const wrong = { Bucket, Key, Body: 'what is sent', ChecksumSHA256: sha256(Buffer.from('what was meant')) };
    await expect(client.send(new PutObjectCommand(wrong))).rejects.toMatchObject({ name: 'BadDigest' });
    await expect(client.send(new HeadObjectCommand({ Bucket, Key }))).rejects.toMatchObject({ name: 'NotFound' });
    client.destroy();
  });

  it('refuses a wrong secret', async () => {
    const client = clientOf({ ...addressOf(s3), secretAccessKey: 'wrong' });
    const Bucket = addressOf(s3).bucket;
    await expect(client.send(new PutObjectCommand({ Bucket, Key: newKey(), Body: 'x' }))).rejects.toMatchObject({
      name: 'SignatureDoesNotMatch',
    });
    client.destroy();
  });
});

describe.skipIf(!s3.available || s3.rung !== 'local process')('an S3 server on this machine', () => {
  it('has every object and its checksum after kill -9, under the same keys and port', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'trainyard-s3-'));
    const own = await startS3Server({ dir });
    const client = clientOf(own);
    try {
      await own.createBucket('kept');
      const bodies = Array.from({ length: 20 }, (_, n) => randomBytes(1_000 + n));
      for (const [n, Body] of bodies.entries())
        await client.send(
          new PutObjectCommand({ Bucket: 'kept', Key: `object-${n}`, Body, ChecksumSHA256: sha256(Body) }),
        );
      own.kill('SIGKILL');
      await own.restart();
      for (const [n, body] of bodies.entries()) {
        const object = { Bucket: 'kept', Key: `object-${n}` };
        const { Body } = await client.send(new GetObjectCommand(object));
        expect(Buffer.from((await Body?.transformToByteArray()) ?? []).equals(body)).toBe(true);
        const { ChecksumSHA256 } = await client.send(new HeadObjectCommand({ ...object, ChecksumMode: 'ENABLED' }));
        expect(ChecksumSHA256).toBe(sha256(body));
      }
    } finally {
      client.destroy();
      await own.stop();
      await rm(dir, { recursive: true, force: true });
    }
  });
});
