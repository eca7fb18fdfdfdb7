import { mkdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { PeerCache } from './cache.ts';
import { formatArgs, type KafkaInstallation } from './kafka-install.ts';
import { type SecureListener, serverProperties } from './kafka-properties.ts';
import { runTool } from './tools.ts';

/** Who may log in at the listener with TLS. */
export interface KafkaSecurity {
  /** Password by user: for PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. Letters, digits, `-`. */
  readonly users: Readonly<Record<string, string>>;
}

export interface PreparedSecurity {
  readonly listener: SecureListener;
  /** PEM file of the authority that signed the broker's certificate. */
  readonly caFile: string;
}

/** Of a file that only a test broker on loopback reads. */
const KEYSTORE_PASSWORD = 'keystore';
const ALIAS = 'broker';

/**
 * Key and self-signed certificate for 127.0.0.1 by the keytool that comes with every Java, and a data folder that knows the users of SCRAM (they can
 * only be given to a broker that nobody can log in to yet when its storage is formatted). Done once per folder.
 */
export async function prepareSecurity(
  cache: PeerCache,
  installation: KafkaInstallation,
  options: {
    readonly folder: string;
    readonly dataDir: string;
    readonly port: number;
    readonly security: KafkaSecurity;
  },
): Promise<PreparedSecurity> {
  const { folder, dataDir, port, security } = options;
  const [keystore, caFile] = [join(folder, 'broker.p12'), join(folder, 'authority.pem')];
  const listener = { port, keystore, keystorePassword: KEYSTORE_PASSWORD, users: security.users };
  const isNew = await stat(join(dataDir, 'meta.properties')).then(
    () => false,
    () => true,
  );
  if (!isNew) return { listener, caFile };
  const store = ['-alias', ALIAS, '-keystore', keystore, '-storetype', 'PKCS12', '-storepass', KEYSTORE_PASSWORD];
  const key = ['-keyalg', 'EC', '-groupname', 'secp256r1', '-validity', '30'];
  const name = ['-dname', 'CN=127.0.0.1', '-ext', 'san=ip:127.0.0.1,dns:localhost'];
  const keytool = join(dirname(installation.java.program), 'keytool');
  await runTool(cache, { command: keytool, args: ['-genkeypair', ...store, ...key, ...name], cwd: folder });
  await runTool(cache, { command: keytool, args: ['-exportcert', '-rfc', '-file', caFile, ...store], cwd: folder });
  // The ports do not matter for the format, only the number of the node and the place of the data.
  const file = join(folder, 'format.properties');
  await mkdir(dataDir, { recursive: true });
  await writeFile(file, serverProperties({ node: 1, dataDir, ports: { 1: { client: 1, controller: 2 } } }));
  const users = Object.entries(security.users).flatMap(([user, password]) =>
    ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name=${user},password=${password}]`,
    ]),
  );
  await runTool(cache, {
    command: installation.java.program,
    args: [...installation.javaArgs, ...formatArgs(file), ...users],
    cwd: folder,
  });
  return { listener, caFile };
}
