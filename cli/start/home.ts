import { chmod, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';

/** Everything the local platform keeps, below `TRAINYARD_HOME`. Deleting the folder while nothing runs is a complete reset. */
export interface Home {
  readonly root: string;
  /** Who runs the platform; see `home-lock.ts`. */
  readonly lockFile: string;
  /** The processes of the running platform; see `process-record.ts`. */
  readonly recordFile: string;
  readonly postgresData: string;
  readonly objects: string;
  readonly workspace: string;
  readonly logs: string;
  /** Written by the gateway at its first start, mode 0600. */
  readonly adminKeyFile: string;
  logFile(process: string): string;
}

/** The absolute paths below a home; nothing is made. */
export function homeAt(folder: string): Home {
  const root = resolve(folder);
  const logs = join(root, 'logs');
  return {
    root,
    lockFile: join(root, 'platform.lock'),
    recordFile: join(root, 'processes.json'),
    postgresData: join(root, 'postgres', 'data'),
    objects: join(root, 'objects'),
    workspace: join(root, 'workspace'),
    logs,
    adminKeyFile: join(root, 'admin.key'),
    logFile: (process) => join(logs, `${process}.log`),
  };
}

/** Makes the folders. Datasets, weights and logs are the owner's alone; PostgreSQL, which may run as another user, may pass through to its own. */
export async function makeHome(home: Home): Promise<void> {
  await makeFolder(home.root, 0o711);
  await makeFolder(join(home.root, 'postgres'), 0o711);
  for (const folder of [home.objects, home.workspace, home.logs]) await makeFolder(folder, 0o700);
}

/** The umask may take from the mode what PostgreSQL needs, so it is set once more; an existing folder keeps what its owner chose. */
async function makeFolder(folder: string, mode: number): Promise<void> {
  const made = await mkdir(folder, { recursive: true, mode });
  if (made !== undefined) await chmod(folder, mode);
}
