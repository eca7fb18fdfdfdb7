import { once } from 'node:events';
import { createServer } from 'node:net';
import { TrainyardError } from '#lib/kernel/errors.ts';

const LOCALHOST = '127.0.0.1';

const given = new Set<number>();
/** The kernel has some 14,000 to give. */
const REMEMBERED = 1_000;

/**
 * A TCP port of 127.0.0.1 that was free a moment ago, and none of the last thousand that were asked for here: those may be taken only later, and
 * a service that answers on the port of another one looks like it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = await tryPort(0);
    if (given.has(port)) continue;
    given.add(port);
    const [oldest] = given;
    if (given.size > REMEMBERED && oldest !== undefined) given.delete(oldest);
    return port;
  }
}

/** Throws `PortInUse` when something listens on the port. */
export async function ensurePortFree(port: number): Promise<void> {
  try {
    await tryPort(port);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE')
      throw new TrainyardError('PortInUse', `port ${port} is taken by another program: choose another GATEWAY_PORT`, {
        cause,
      });
    if (code === 'EACCES')
      throw new TrainyardError(
        'PortInUse',
        `this user may not listen on port ${port}: choose a GATEWAY_PORT above 1023`,
        {
          cause,
        },
      );
    throw cause;
  }
}

async function tryPort(port: number): Promise<number> {
  const probe = createServer().listen(port, LOCALHOST);
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error(`no TCP port on ${LOCALHOST}`);
  return address.port;
}
