// Another program of the orchestrator, started by `trainyard upgrade-check`: would this code carry on what a live database holds? Reads only.
import { Type } from '#typebox';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { Database, sqlState } from '#lib/postgres/database.ts';
import { ConfigError, readConfig, VARIABLES } from '#lib/service/config.ts';
import { PostgresUpgradeSource } from '../adapters/postgres-upgrade-source.ts';
import { checkUpgrade } from '../app/upgrade-check.ts';
import { workflowRegistry } from '../domain/workflows/registry.ts';
import { jsonReport, textReport } from './report.ts';

const EXIT = {
  /** At least one workflow would differ or get stuck. */
  findings: 1,
  /** EX_UNAVAILABLE: the database could not be read, nothing is known. */
  unavailable: 69,
  /** EX_CONFIG. */
  badConfig: 78,
} as const;

/** Of PostgreSQL: no such table. */
const UNDEFINED_TABLE = '42P01';

process.exitCode = await main(process.argv.includes('--json'));

async function main(asJson: boolean): Promise<number> {
  let database: Database | null = null;
  try {
    const { DATABASE_URL: url } = readConfig(Type.Object({ DATABASE_URL: VARIABLES.DATABASE_URL }), process.env);
    database = new Database({ url, applicationName: 'trainyard-upgrade-check', maxConnections: 1 });
    await database.check();
    const report = (asJson ? jsonReport : textReport)((text) => void process.stdout.write(text));
    const result = await checkUpgrade(new PostgresUpgradeSource(database), workflowRegistry(), report.verdict);
    report.end(result);
    return result.ok ? 0 : EXIT.findings;
  } catch (error) {
    if (error instanceof ConfigError) return refuse(EXIT.badConfig, error.message);
    if (sqlState(error) === UNDEFINED_TABLE)
      return refuse(EXIT.unavailable, `this is no database of the platform (DATABASE_URL): ${messageOf(error)}`);
    if (!(error instanceof TrainyardError)) throw error;
    return refuse(EXIT.unavailable, messageOf(error));
  } finally {
    await database?.close();
  }
}

function refuse(code: number, message: string): number {
  process.stderr.write(`trainyard upgrade-check: ${message}\n`);
  return code;
}
