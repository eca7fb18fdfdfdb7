import type { S3Bucket } from './s3-bucket.ts';
import { STAGING_PREFIX } from './s3-stream-upload.ts';
import { RECORDS_PREFIX } from './s3-upload-record.ts';

/**
 * Aborts the uploads below the store's prefix, and removes the store's records and staged streams, of which nothing changed since
 * `before` (epoch ms, compared with the server's clock). Answers the bytes freed.
 */
export async function collectS3Garbage(bucket: S3Bucket, before: number): Promise<{ bytes: number }> {
  let bytes = 0;
  for await (const upload of bucket.uploads.running()) {
    if (upload.startedMs >= before) continue;
    const parts = (await bucket.uploads.parts(upload)) ?? [];
    // Old but still fed, by a long upload or one that was taken up again.
    if (parts.some(({ changedMs }) => changedMs >= before)) continue;
    await bucket.uploads.abort(upload);
    for (const part of parts) bytes += part.bytes;
  }
  for (const prefix of [STAGING_PREFIX, RECORDS_PREFIX]) bytes += await removeOld(bucket, prefix, before);
  return { bytes };
}

async function removeOld(bucket: S3Bucket, prefix: string, before: number): Promise<number> {
  let bytes = 0;
  let next: string | null = null;
  do {
    const page: Awaited<ReturnType<S3Bucket['list']>> = await bucket.list(prefix, { next });
    for (const object of page.objects) {
      if (object.changedMs >= before) continue;
      await bucket.delete(object.key);
      bytes += object.bytes;
    }
    next = page.next;
  } while (next !== null);
  return bytes;
}
