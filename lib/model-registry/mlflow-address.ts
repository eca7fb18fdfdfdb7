import { TrainyardError } from '#lib/kernel/errors.ts';

export interface MlflowCredentials {
  /** Bearer token; wins over user and password. */
  readonly token?: string;
  readonly username?: string;
  readonly password?: string;
}

/** The credentials that a service's environment holds. */
export const mlflowCredentials = (variables: {
  readonly MLFLOW_TRACKING_TOKEN?: string | undefined;
  readonly MLFLOW_TRACKING_USERNAME?: string | undefined;
  readonly MLFLOW_TRACKING_PASSWORD?: string | undefined;
}): MlflowCredentials => {
  const {
    MLFLOW_TRACKING_TOKEN: token,
    MLFLOW_TRACKING_USERNAME: username,
    MLFLOW_TRACKING_PASSWORD: password,
  } = variables;
  return {
    ...(token === undefined ? {} : { token }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
};

export interface MlflowAddress {
  /** Of the server, without credentials and without a slash at its end. */
  readonly address: string;
  /** Value of the `authorization` header; absent: none. */
  readonly authorization?: string;
  /** '' = the default one: names in MLflow carry no prefix. */
  readonly namespace: string;
}

const NAMESPACE = /^[a-z0-9][a-z0-9-]{0,31}$/;

/**
 * Reads `mlflow+http(s)://[user:password@]host[:port][/path][?namespace=name]`. Credentials given beside the URL win over those in it.
 * Throws `ValidationFailed` that names the variable and shows no part of the URL that may be secret.
 */
export function parseMlflowUrl(url: string, credentials: MlflowCredentials = {}): MlflowAddress {
  const parsed = URL.parse(url.replace(/^mlflow\+/, ''));
  if (parsed === null || parsed.hostname === '') throw unusable('it is not mlflow+http://host:port');
  const unknown = [...parsed.searchParams.keys()].filter((name) => name !== 'namespace');
  if (unknown.length > 0 || parsed.hash !== '') throw unusable('the only parameter it may have is namespace');
  const namespace = parsed.searchParams.get('namespace') ?? '';
  if (namespace !== '' && !NAMESPACE.test(namespace))
    throw unusable('namespace must be 1 to 32 small letters, digits and -, and begin with a letter or digit');
  const authorization = authorizationOf({
    ...(parsed.username === '' ? {} : { username: decoded(parsed.username), password: decoded(parsed.password) }),
    ...credentials,
  });
  return {
    address: `${parsed.protocol}//${parsed.host}${parsed.pathname.replace(/\/+$/, '')}`,
    namespace,
    ...(authorization === null ? {} : { authorization }),
  };
}

/** A half-encoded password is taken as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function authorizationOf({ token, username, password }: MlflowCredentials): string | null {
  if (token !== undefined) return `Bearer ${token}`;
  if (username === undefined) return null;
  return `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}`;
}

function unusable(reason: string): TrainyardError {
  return new TrainyardError('ValidationFailed', `MODEL_REGISTRY_URL cannot be used: ${reason}`, {
    fields: [{ pointer: '/MODEL_REGISTRY_URL', message: reason }],
  });
}
