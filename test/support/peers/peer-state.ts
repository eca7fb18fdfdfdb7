import type { S3Access } from '../../../scripts/peers/s3-server.ts';

/** How a suite reaches each peer. Only what survives JSON: it travels from vitest's main process to the workers. */
export interface PeerAddresses {
  readonly kafka: { readonly brokers: readonly string[] };
  /** `url`: base of the Confluent-compatible interface. */
  readonly registry: { readonly url: string };
  /** `bucket` exists. */
  readonly s3: S3Access & { readonly bucket: string };
  readonly mlflow: { readonly url: string };
}

export type { PeerName } from '../../../scripts/peers/install.ts';

/** Where a peer came from, from the top of the ladder down. */
export type Rung = 'environment' | 'container' | 'local process';

export type PeerState<Address> =
  | ({ readonly available: true; readonly rung: Rung } & Address)
  | { readonly available: false; readonly reason: string };
