import { fileURLToPath } from 'node:url';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { FileObjectStore } from './file-store.ts';
import type { ObjectStore } from './port.ts';
import { S3ObjectStore } from './s3-store.ts';
import { parseS3Url } from './s3-url.ts';

/**
 * The object store that a URL names: `file:///absolute/folder` or `s3://bucket/prefix` (parameters: `s3-url.ts`). Touches nothing yet
 * (`check()` does). Throws `ValidationFailed` with the name of the variable, for a start-up message.
 */
export function openObjectStore(url: string): ObjectStore {
  if (!URL.canParse(url)) throw refusal('it is no URL');
  const { protocol, search, hash } = new URL(url);
  if (protocol === 's3:') return openS3(url);
  if (protocol !== 'file:')
    throw refusal(`the scheme ${protocol}// is not supported; use file:///absolute/folder or s3://bucket/prefix`);
  if (!url.startsWith('file:///') || search !== '' || hash !== '')
    throw refusal('a folder is written file:///absolute/folder');
  try {
    return new FileObjectStore({ root: fileURLToPath(url) });
  } catch (error) {
    throw refusal(messageOf(error));
  }
}

function openS3(url: string): ObjectStore {
  const parsed = parseS3Url(url);
  if (!parsed.ok) throw refusal(parsed.reason);
  return new S3ObjectStore({ location: parsed.location });
}

const refusal = (reason: string): TrainyardError =>
  new TrainyardError('ValidationFailed', `OBJECT_STORE_URL cannot be used: ${reason}`, {
    fields: [{ pointer: '/OBJECT_STORE_URL', message: reason }],
  });
