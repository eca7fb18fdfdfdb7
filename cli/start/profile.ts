import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { type Environment, UsageError } from '../command.ts';

/** Where the ports of the platform are: on this machine alone, or on the components that a company runs. */
const PROFILES = ['embedded', 'distributed'] as const;

/** Variables that choose and reach the components of the distributed profile. */
const PORT_VARIABLES =
  /^(?:BUS_URL|OBJECT_STORE_URL|MODEL_REGISTRY_URL|TOPIC_PREFIX|SCHEMA_REGISTRY_[A-Z]+|KAFKA_[A-Z_]+|MLFLOW_[A-Z_]+|AWS_[A-Z_]+)$/;

export const PROFILE_OPTION = {
  name: 'profile',
  value: '<name>',
  summary:
    'embedded (default), or distributed: Kafka, schema registry, S3 and MLflow of `npm run stack` or of the environment',
};

/**
 * The variables for `startPlatform`'s `ports`: none for `embedded`; for `distributed` those of the environment over those that `npm run stack`
 * wrote below `home`. Throws `UsageError` for another name, and when nothing says where the bus is.
 */
export async function portsOf(
  profile: string | undefined,
  environment: Environment,
  home: string,
): Promise<Readonly<Record<string, string>>> {
  if (profile === undefined || profile === 'embedded') return {};
  if (profile !== 'distributed')
    throw new UsageError(`the profile must be one of ${PROFILES.join(', ')}, not ${profile}`);
  const ports = { ...(await stackVariables(join(home, 'stack', 'stack.env'))), ...chosen(environment) };
  if (ports['BUS_URL'] === undefined)
    throw new UsageError(
      'the distributed profile needs its components: run `npm run stack` in another terminal, or set BUS_URL and the others',
    );
  return ports;
}

async function stackVariables(file: string): Promise<Record<string, string>> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  return chosen(parseEnv(text));
}

const chosen = (environment: Environment): Record<string, string> =>
  Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) =>
      value !== undefined && value !== '' && PORT_VARIABLES.test(name) ? [[name, value]] : [],
    ),
  );
