import { Database } from '#lib/postgres/database.ts';
import { PostgresBus } from '../postgres-bus.ts';
import { type MemberSpec, runMember } from './member-process.ts';

const spec = JSON.parse(process.argv[2] ?? '') as MemberSpec;
const database = new Database({ url: spec.url, applicationName: 'bus-member' });
await runMember(new PostgresBus({ database }), spec);
