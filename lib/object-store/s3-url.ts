import { checkKey } from './object-keys.ts';

/** Where an S3 store lies and how it is reached. Credentials are never part of it: they come from the SDK's default chain. */
export interface S3Location {
  readonly bucket: string;
  /** Begins every key in the bucket: empty, or ends with a slash. */
  readonly prefix: string;
  /** Base address of a server that is not AWS. */
  readonly endpoint?: string;
  /** Default with an endpoint: `us-east-1` (such servers ignore it, the signature needs one); without: the SDK's chain. */
  readonly region?: string;
  /** `http://host/bucket/key` instead of `http://bucket.host/key`. */
  readonly pathStyle: boolean;
  /** Encryption at rest by the server; null leaves it to the bucket's default. */
  readonly encryption: S3Encryption | null;
}

export interface S3Encryption {
  readonly mode: 'AES256' | 'aws:kms';
  readonly kmsKeyId?: string;
}

export type ParsedS3Url =
  | { readonly ok: true; readonly location: S3Location }
  | { readonly ok: false; readonly reason: string };

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const PARAMETERS = ['endpoint', 'region', 'pathStyle', 'sse', 'kmsKeyId'];

/**
 * Reads `s3://bucket/prefix?endpoint=…&region=…&pathStyle=true&sse=AES256|aws:kms&kmsKeyId=…`; everything but the bucket is optional.
 * A reason quotes names of parameters and no values: somebody may have put a secret into the URL.
 */
export function parseS3Url(url: string): ParsedS3Url {
  if (!URL.canParse(url)) return refused('it is no URL');
  const { hostname, pathname, searchParams, hash, username, password, port } = new URL(url);
  if (username !== '' || password !== '')
    return refused('it holds credentials; those belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile');
  if (!BUCKET.test(hostname) || port !== '' || hash !== '') return refused('a bucket is written s3://bucket/prefix');
  for (const name of new Set(searchParams.keys())) {
    if (!PARAMETERS.includes(name)) return refused(`it has a parameter other than ${PARAMETERS.join(', ')}`);
    if (searchParams.getAll(name).length > 1) return refused(`it has ${name} twice`);
    if (searchParams.get(name) === '') return refused(`${name} is empty`);
  }
  const path = pathname.replace(/^\//, '').replace(/\/$/, '');
  try {
    if (path !== '') checkKey(path);
  } catch {
    return refused('the prefix has a character or a segment that keys may not have');
  }
  return withParameters({ bucket: hostname, prefix: path === '' ? '' : `${path}/` }, searchParams);
}

function withParameters(place: { bucket: string; prefix: string }, parameters: URLSearchParams): ParsedS3Url {
  const endpoint = parameters.get('endpoint');
  if (endpoint !== null && !isEndpoint(endpoint)) return refused('endpoint is not http(s)://host:port');
  const region = parameters.get('region') ?? (endpoint === null ? null : 'us-east-1');
  if (region !== null && !/^[a-z0-9-]{1,40}$/.test(region)) return refused('region is no name of a region');
  const pathStyle = parameters.get('pathStyle') ?? 'false';
  if (pathStyle !== 'true' && pathStyle !== 'false') return refused('pathStyle is true or false');
  const sse = parameters.get('sse');
  const kmsKeyId = parameters.get('kmsKeyId');
  if (sse !== null && sse !== 'AES256' && sse !== 'aws:kms') return refused('sse is AES256 or aws:kms');
  if (kmsKeyId !== null && sse !== 'aws:kms') return refused('kmsKeyId needs sse=aws:kms');
  return {
    ok: true,
    location: {
      ...place,
      ...(endpoint === null ? {} : { endpoint }),
      ...(region === null ? {} : { region }),
      pathStyle: pathStyle === 'true',
      encryption: sse === null ? null : { mode: sse, ...(kmsKeyId === null ? {} : { kmsKeyId }) },
    },
  };
}

function isEndpoint(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^https?:$/.test(protocol) && username === '' && password === '' && search === '' && hash === '';
}

const refused = (reason: string): ParsedS3Url => ({ ok: false, reason });
