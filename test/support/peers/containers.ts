import { join } from 'node:path';
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from 'testcontainers';
import { messageOf } from '#lib/kernel/errors.ts';
import type { Environment } from '../../../scripts/peers/cache.ts';
import { PINS } from '../../../scripts/peers/pins.ts';
import { freePorts } from '../../../scripts/peers/ports.ts';
import { createBucket } from '../../../scripts/peers/s3-server.ts';
import { DEFAULT_BUCKET } from './given-addresses.ts';
import type { Started, Starters } from './ladder.ts';

const MLFLOW_CONTEXT = join(import.meta.dirname, '../../../docker/mlflow');
/** The first start fetches images. */
const START_WITHIN_MS = 5 * 60_000;
const [KAFKA_PORT, REGISTRY_PORT, S3_PORT, MLFLOW_PORT] = [9_092, 8_080, 7_070, 5_000];

/** Null when a container runtime answers; PEERS_DOCKER=0 says that it must not be asked. */
export async function whyNoContainers(environment: Environment): Promise<string | null> {
  if (environment['PEERS_DOCKER'] === '0') return 'PEERS_DOCKER=0';
  try {
    await getContainerRuntimeClient();
    return null;
  } catch (error) {
    return `no container runtime answers (${messageOf(error)})`;
  }
}

/** The images and settings of docker-compose.yml, each alone and without a volume. */
export const containers: Starters = {
  kafka: async () => {
    // A client goes to the address that the broker tells it, so the port outside is chosen before the start.
    const [port = 0] = await freePorts(1);
    const container = await new GenericContainer(`apache/kafka:${PINS.kafka}`)
      .withExposedPorts({ container: KAFKA_PORT, host: port })
      .withEnvironment({
        CLUSTER_ID: 'dHJhaW55YXJkLWthZmthMQ',
        KAFKA_NODE_ID: '1',
        KAFKA_PROCESS_ROLES: 'broker,controller',
        KAFKA_CONTROLLER_QUORUM_VOTERS: '1@localhost:9093',
        KAFKA_LISTENERS: `PLAINTEXT://:${KAFKA_PORT},CONTROLLER://:9093`,
        KAFKA_ADVERTISED_LISTENERS: `PLAINTEXT://localhost:${port}`,
        KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
        KAFKA_INTER_BROKER_LISTENER_NAME: 'PLAINTEXT',
        KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
        KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false',
        KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: '1',
        KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: '1',
        KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: '1',
        KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR: '1',
        KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR: '1',
        KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: '0',
      })
      .withWaitStrategy(Wait.forLogMessage(/Kafka Server started/))
      .withStartupTimeout(START_WITHIN_MS)
      .start();
    return started(container, { brokers: [`${container.getHost()}:${port}`] });
  },
  registry: async () => {
    const container = await new GenericContainer(`apicurio/apicurio-registry:${PINS.apicurio}`)
      .withExposedPorts(REGISTRY_PORT)
      .withWaitStrategy(Wait.forHttp('/apis/ccompat/v7/subjects', REGISTRY_PORT))
      .withStartupTimeout(START_WITHIN_MS)
      .start();
    return started(container, { url: `${urlOf(container, REGISTRY_PORT)}/apis/ccompat/v7` });
  },
  s3: async () => {
    const keys = { accessKeyId: 'trainyard', secretAccessKey: 'trainyard-secret' };
    const container = await new GenericContainer(`versity/versitygw:v${PINS.versitygw}`)
      .withExposedPorts(S3_PORT)
      .withEnvironment({ ROOT_ACCESS_KEY: keys.accessKeyId, ROOT_SECRET_KEY: keys.secretAccessKey })
      .withCommand(['--port', `:${S3_PORT}`, '--region', 'us-east-1', '--quiet', 'posix', '/tmp'])
      .withWaitStrategy(Wait.forListeningPorts())
      .withStartupTimeout(START_WITHIN_MS)
      .start();
    const access = { endpoint: urlOf(container, S3_PORT), region: 'us-east-1', ...keys };
    await createBucket(access, DEFAULT_BUCKET);
    return started(container, { ...access, bucket: DEFAULT_BUCKET });
  },
  mlflow: async () => {
    const image = await GenericContainer.fromDockerfile(MLFLOW_CONTEXT).build();
    const container = await image
      .withExposedPorts(MLFLOW_PORT)
      .withWaitStrategy(Wait.forHttp('/health', MLFLOW_PORT))
      .withStartupTimeout(START_WITHIN_MS)
      .start();
    return started(container, { url: urlOf(container, MLFLOW_PORT) });
  },
};

const urlOf = (container: StartedTestContainer, port: number): string =>
  `http://${container.getHost()}:${container.getMappedPort(port)}`;

const started = <Address>(container: StartedTestContainer, address: Address): Started<Address> => ({
  address,
  stop: async () => void (await container.stop()),
});
