import { FileObjectStore } from './file-store.ts';

/**
 * A second process for the tests: `node file-store.child.ts <command>` with the command as JSON. Prints one JSON line per result.
 * `race` prints `ready`, waits for a line on stdin and then creates the key as several creators at once.
 */
export interface ChildCommand {
  readonly root: string;
  readonly partBytes: number;
  readonly key: string;
  /** The file to put, or null to race with small bodies. */
  readonly file: string | null;
  /** kill -9 of itself after that many written parts. */
  readonly killAfter: number;
  readonly creators: readonly string[];
}

const command = JSON.parse(process.argv[2] ?? '') as ChildCommand;
let written = 0;
const store = new FileObjectStore({
  root: command.root,
  partBytes: command.partBytes,
  onWrite: () => {
    if (++written === command.killAfter) process.kill(process.pid, 'SIGKILL');
  },
});

if (command.file !== null) {
  print(await store.putFile(command.key, command.file));
} else {
  await store.check();
  print('ready');
  await new Promise((resolve) => process.stdin.once('data', resolve));
  process.stdin.pause();
  await Promise.all(
    command.creators.map(async (body) => {
      try {
        print({ body, ...(await store.put(command.key, Buffer.from(body))) });
      } catch (error) {
        print({ body, code: (error as { code?: string }).code });
      }
    }),
  );
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
