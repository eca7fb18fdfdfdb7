export interface KafkaPorts {
  readonly client: number;
  readonly controller: number;
}

export interface KafkaNodeSettings {
  readonly node: number;
  readonly dataDir: string;
  /** Of all nodes, by number. */
  readonly ports: Readonly<Record<number, KafkaPorts>>;
  /** One more listener, with TLS and logins; the others stay as they are. */
  readonly secure?: SecureListener;
}

export interface SecureListener {
  readonly port: number;
  /** PKCS12 with the broker's key and certificate. */
  readonly keystore: string;
  readonly keystorePassword: string;
  /** Password by user, for PLAIN; those of SCRAM are stored when the data folder is formatted. */
  readonly users: Readonly<Record<string, string>>;
}

/**
 * server.properties of a node that is broker and controller at once, on loopback. Topics are copied to all nodes, and a write is acknowledged
 * when all but one have it: a cluster of three loses nothing and stops nothing when one is killed.
 */
export function serverProperties({ node, dataDir, ports, secure }: KafkaNodeSettings): string {
  const nodes = Object.keys(ports).length;
  const own = ports[node];
  if (own === undefined) throw new Error(`no ports for node ${node}`);
  const voters = Object.entries(ports).map(([id, each]) => `${id}@127.0.0.1:${each.controller}`);
  const copies = nodes;
  const acknowledging = Math.max(1, copies - 1);
  // A killed broker can only come back when its session has run out, 9 s by default. Three on two cores miss heartbeats, one does not.
  const [sessionMs, heartbeatMs] = nodes === 1 ? [1_500, 500] : [3_000, 1_000];
  const clients = [
    `PLAINTEXT://127.0.0.1:${own.client}`,
    ...(secure === undefined ? [] : [`SASL_SSL://127.0.0.1:${secure.port}`]),
  ];
  const settings: Readonly<Record<string, string | number | boolean>> = {
    'process.roles': 'broker,controller',
    'node.id': node,
    'controller.quorum.voters': voters.join(','),
    listeners: [...clients, `CONTROLLER://127.0.0.1:${own.controller}`].join(','),
    'advertised.listeners': clients.join(','),
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL',
    'inter.broker.listener.name': 'PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': dataDir,
    // A mistyped topic must be an error, not a topic.
    'auto.create.topics.enable': false,
    'num.partitions': 4,
    'default.replication.factor': copies,
    'min.insync.replicas': acknowledging,
    'offsets.topic.num.partitions': 4,
    'offsets.topic.replication.factor': copies,
    'transaction.state.log.num.partitions': 2,
    'transaction.state.log.replication.factor': copies,
    'transaction.state.log.min.isr': acknowledging,
    'share.coordinator.state.topic.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': copies,
    'share.coordinator.state.topic.min.isr': acknowledging,
    // Tests of crashed members do not wait for the default of 6 s.
    'group.min.session.timeout.ms': 500,
    'group.initial.rebalance.delay.ms': 0,
    'broker.session.timeout.ms': sessionMs,
    'broker.heartbeat.interval.ms': heartbeatMs,
    'num.network.threads': 2,
    'num.io.threads': 2,
    'background.threads': 2,
    'num.recovery.threads.per.data.dir': 1,
    // The default, 128 MB of heap, does not fit into -Xmx256m.
    'log.cleaner.dedupe.buffer.size': 8_388_608,
    'log.segment.bytes': 67_108_864,
    ...(secure === undefined ? {} : secureProperties(secure)),
  };
  return `${Object.entries(settings)
    .map(([name, value]) => `${name}=${value}`)
    .join('\n')}\n`;
}

function secureProperties({ keystore, keystorePassword, users }: SecureListener): Record<string, string> {
  const logins = Object.entries(users).map(([name, password]) => `user_${name}="${password}"`);
  const module = 'org.apache.kafka.common.security';
  const ofListener = 'listener.name.sasl_ssl';
  return {
    'ssl.keystore.type': 'PKCS12',
    'ssl.keystore.location': keystore,
    'ssl.keystore.password': keystorePassword,
    'ssl.key.password': keystorePassword,
    [`${ofListener}.sasl.enabled.mechanisms`]: 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    [`${ofListener}.plain.sasl.jaas.config`]: `${module}.plain.PlainLoginModule required ${logins.join(' ')};`,
    [`${ofListener}.scram-sha-256.sasl.jaas.config`]: `${module}.scram.ScramLoginModule required;`,
    [`${ofListener}.scram-sha-512.sasl.jaas.config`]: `${module}.scram.ScramLoginModule required;`,
  };
}
