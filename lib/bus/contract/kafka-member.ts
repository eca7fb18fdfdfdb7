import { Database } from '#lib/postgres/database.ts';
import { KafkaBus } from '../kafka/kafka-bus.ts';
import { type MemberSpec, runMember } from './member-process.ts';

const spec = JSON.parse(process.argv[2] ?? '') as MemberSpec & { readonly databaseUrl: string };
const database = new Database({ url: spec.databaseUrl, applicationName: 'bus-member' });
const producer = `member-${process.pid}`;
await runMember(
  await KafkaBus.connect({ url: spec.url, clientId: producer, producer, database, prefix: '', replication: null }),
  spec,
);
