import { type Static, Type } from '#typebox';
import { Value } from '#typebox/value';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { sha256Of } from './durable-files.ts';
import { checkKey } from './object-keys.ts';
import type { ObjectStore } from './port.ts';

const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });

/** Who wrote the files; the epoch fences: an artifact of an old epoch is never published. */
const ManifestAuthor = Type.Object(
  {
    jobId: Type.String({ minLength: 1, maxLength: 200 }),
    activity: Type.String({ minLength: 1, maxLength: 200 }),
    epoch: Type.Integer({ minimum: 0 }),
  },
  { additionalProperties: false },
);
export type ManifestAuthor = Static<typeof ManifestAuthor>;

const ManifestFile = Type.Object(
  {
    /** Relative path, `/`-separated. */
    path: Type.String({ minLength: 1, maxLength: 4_096 }),
    key: Type.String({ minLength: 1, maxLength: 1_024 }),
    bytes: Type.Integer({ minimum: 0 }),
    sha256: Sha256,
    /** Bytes of a part of the upload; the last part may be shorter. */
    partSize: Type.Integer({ minimum: 1 }),
  },
  { additionalProperties: false },
);
export type ManifestFile = Static<typeof ManifestFile>;

/** The files of a folder in the object store. Written last: without it, the files do not count. `files` is sorted by path. */
export const Manifest = Type.Object(
  {
    format: Type.Literal('trainyard-manifest/1'),
    createdBy: ManifestAuthor,
    files: Type.Array(ManifestFile, { maxItems: 100_000 }),
  },
  { additionalProperties: false },
);
export type Manifest = Static<typeof Manifest>;

/** Name of the manifest below its prefix; no file of a folder may have it. */
export const MANIFEST_NAME = 'manifest.json';

/** What is stored: canonical JSON, so that the object's SHA-256 is the manifest's digest. */
export const encodeManifest = (manifest: Manifest): Buffer => Buffer.from(canonicalJson(manifest), 'utf8');

/** SHA-256 of the canonical JSON. */
const manifestDigest = (manifest: Manifest): string => sha256Of(encodeManifest(manifest));

/**
 * The manifest at a key. `ObjectNotFound` when absent, `ManifestInvalid` when it is none of ours, `ChecksumMismatch` when
 * `expectedDigest` is given and differs.
 */
export async function readManifest(
  store: ObjectStore,
  manifestKey: string,
  options: { readonly expectedDigest?: string } = {},
): Promise<Manifest> {
  const manifest = decodeManifest(await store.get(manifestKey), manifestKey);
  const digest = manifestDigest(manifest);
  if (options.expectedDigest !== undefined && digest !== options.expectedDigest)
    throw new TrainyardError('ChecksumMismatch', `manifest ${manifestKey} is not the one that was asked for`, {
      details: { manifestKey, digest, expectedDigest: options.expectedDigest },
    });
  return manifest;
}

/** Parses stored bytes. Throws `ManifestInvalid` for another shape, an unsorted or doubled path, or one that leads outside a folder. */
function decodeManifest(body: Buffer, manifestKey: string): Manifest {
  const value = parseJson(body, manifestKey);
  if (!Value.Check(Manifest, value)) {
    const [first] = Value.Errors(Manifest, value);
    throw invalid(manifestKey, first?.instancePath ?? '', first?.message ?? 'is no manifest');
  }
  let before = '';
  for (const [index, file] of value.files.entries()) {
    const problem = pathProblem(file.path) ?? orderProblem(before, file.path) ?? keyProblem(file.key);
    if (problem !== null) throw invalid(manifestKey, `/files/${index}`, problem);
    before = file.path;
  }
  return value;
}

function parseJson(body: Buffer, manifestKey: string): unknown {
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch (error) {
    throw invalid(manifestKey, '', `is no JSON: ${messageOf(error)}`);
  }
}

/** Why a path of a manifest must not be written to, or null. */
export function pathProblem(path: string): string | null {
  if (path.startsWith('/')) return `path ${JSON.stringify(path)} is absolute`;
  // A NUL ends a path in system calls, a backslash separates on other systems.
  if (path.includes('\0') || path.includes('\\')) return `path ${JSON.stringify(path)} has a forbidden character`;
  if (path.split('/').some((name) => name === '' || name === '.' || name === '..'))
    return `path ${JSON.stringify(path)} is not a plain relative path`;
  return null;
}

const orderProblem = (before: string, path: string): string | null =>
  before === '' || comparePaths(before, path) < 0 ? null : `path ${JSON.stringify(path)} is doubled or out of order`;

function keyProblem(key: string): string | null {
  try {
    checkKey(key);
    return null;
  } catch (error) {
    return messageOf(error);
  }
}

/** The order of `files`: by UTF-16 code units, as JSON keys are ordered. */
export const comparePaths = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const invalid = (manifestKey: string, pointer: string, message: string): TrainyardError =>
  new TrainyardError('ManifestInvalid', `manifest ${manifestKey}: ${pointer} ${message}`, {
    fields: [{ pointer, message }],
    details: { manifestKey },
  });
