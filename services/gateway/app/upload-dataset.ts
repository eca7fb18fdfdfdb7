import type { Readable } from 'node:stream';
import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { sortableId } from './ids.ts';
import type { DatasetVersion, Gateway } from './ports.ts';

/**
 * Streams a body into the object store and records it as the dataset's next version; the same bytes in the same format are the same version
 * (`created: false`). Nothing is held in memory; an upload that breaks off, is too large or has another digest than it claims leaves nothing.
 *
 * Throws `NotFound` (project), `BodyTooLarge`, `ValidationFailed` (digest).
 */
export async function uploadDataset(
  gateway: Gateway,
  request: {
    readonly project: string;
    readonly name: string;
    readonly format: DatasetFormat;
    readonly body: Readable;
    readonly maxBytes: number;
    /** What the client says the body's SHA-256 is, and the header that said so. */
    readonly claimed: { readonly sha256: string; readonly header: string } | null;
  },
): Promise<{ row: DatasetVersion; created: boolean }> {
  const { project, name, format, body, maxBytes, claimed } = request;
  if (!(await gateway.datasets.projectExists(project)))
    throw new TrainyardError('NotFound', `there is no project ${project}`);
  // The digest is known only at the end, so the key is an id: two uploads of the same bytes never meet on one key.
  const objectKey = `datasets/${project}/${name}/${sortableId(gateway.now())}`;
  const stored = await gateway.objects
    .putStream(objectKey, body, { maxBytes, ...(claimed === null ? {} : { sha256: claimed.sha256 }) })
    .catch((error: unknown) => {
      throw claimed !== null && error instanceof TrainyardError && error.code === 'ChecksumMismatch'
        ? new TrainyardError('ValidationFailed', 'the body is not what its digest says', {
            cause: error,
            fields: [{ pointer: `/headers/${claimed.header}`, message: "is not the body's SHA-256" }],
          })
        : error;
    });
  try {
    const added = await gateway.datasets.addVersion({
      project,
      name,
      format,
      objectKey,
      sha256: stored.sha256,
      bytes: stored.bytes,
    });
    if (!added.created) await gateway.objects.delete(objectKey);
    return added;
  } catch (error) {
    // The row was not written: without it nobody would ever look at the object. What cannot be removed now, retention finds.
    await gateway.objects.delete(objectKey).catch(() => undefined);
    throw error;
  }
}
