import { isKey } from './object-keys.ts';
import type { ObjectInfo } from './port.ts';
import type { S3Bucket } from './s3-bucket.ts';

/** HEAD requests at once: a listing gives no user metadata, so every object costs one. */
const READ_AHEAD = 32;

/**
 * The objects of this store whose keys start with `prefix`, in code-point order (S3's own). What other programs put there, and the
 * store's own records, are left out. What is created or deleted meanwhile may be seen or not.
 */
export async function* listObjects(bucket: S3Bucket, prefix: string): AsyncGenerator<ObjectInfo> {
  let next: string | null = null;
  do {
    const page: Awaited<ReturnType<S3Bucket['list']>> = await bucket.list(prefix, { next });
    const keys = page.objects.map(({ key }) => key).filter(isKey);
    for (let at = 0; at < keys.length; at += READ_AHEAD) {
      const found = await Promise.all(keys.slice(at, at + READ_AHEAD).map((key) => bucket.head(key)));
      for (const object of found) if (object !== null && object.info !== null) yield object.info;
    }
    next = page.next;
  } while (next !== null);
}
