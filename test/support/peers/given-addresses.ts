import type { Environment } from '../../../scripts/peers/cache.ts';
import type { PeerName } from '../../../scripts/peers/install.ts';
import type { PeerAddresses } from './peer-state.ts';

const DEFAULT_REGION = 'us-east-1';
export const DEFAULT_BUCKET = 'trainyard-test';

/** The address of a peer that somebody runs for the tests, or null. Throws when it is given by half. */
export function givenAddress<Name extends PeerName>(name: Name, environment: Environment): PeerAddresses[Name] | null {
  const text = (variable: string): string | undefined => {
    const value = environment[variable]?.trim();
    return value === '' ? undefined : value;
  };
  const url = (variable: string): { url: string } | null => {
    const value = text(variable);
    return value === undefined ? null : { url: value.replace(/\/+$/, '') };
  };
  const addresses: { readonly [Each in PeerName]: () => PeerAddresses[Each] | null } = {
    kafka: () => {
      const brokers = text('TEST_KAFKA_BROKERS')?.split(/[\s,]+/);
      return brokers === undefined ? null : { brokers };
    },
    registry: () => url('TEST_SCHEMA_REGISTRY_URL'),
    s3: () => {
      const endpoint = text('TEST_S3_ENDPOINT');
      if (endpoint === undefined) return null;
      const accessKeyId = text('TEST_S3_ACCESS_KEY_ID');
      const secretAccessKey = text('TEST_S3_SECRET_ACCESS_KEY');
      if (accessKeyId === undefined || secretAccessKey === undefined)
        throw new Error('TEST_S3_ENDPOINT needs TEST_S3_ACCESS_KEY_ID and TEST_S3_SECRET_ACCESS_KEY');
      const region = text('TEST_S3_REGION') ?? DEFAULT_REGION;
      return { endpoint, accessKeyId, secretAccessKey, region, bucket: text('TEST_S3_BUCKET') ?? DEFAULT_BUCKET };
    },
    mlflow: () => url('TEST_MLFLOW_URL'),
  };
  return addresses[name]();
}
