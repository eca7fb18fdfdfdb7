import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';

const LOOPBACK = '127.0.0.1';

/**
 * Ports of 127.0.0.1 that were free a moment ago, all different. Those that the folder had before are kept when they are still free, so that
 * a stack started anew is where its users expect it.
 */
export async function portsFor(folder: string, count: number): Promise<number[]> {
  const file = join(folder, 'ports.json');
  const before = await readPorts(file);
  const ports = before.length === count && (await areFree(before)) ? before : await freePorts(count);
  await writeFile(file, JSON.stringify(ports));
  return ports;
}

export async function freePorts(count: number): Promise<number[]> {
  // All are held at the same time: one after the other, the same port could come twice.
  const probes = await Promise.all(Array.from({ length: count }, () => listen(0)));
  const ports = probes.map((probe) => {
    const address = probe.address();
    if (address === null || typeof address === 'string') throw new Error(`no TCP port on ${LOOPBACK}`);
    return address.port;
  });
  await Promise.all(probes.map(close));
  return ports;
}

async function areFree(ports: readonly number[]): Promise<boolean> {
  const probes = await Promise.allSettled(ports.map(listen));
  await Promise.all(probes.flatMap((probe) => (probe.status === 'fulfilled' ? [close(probe.value)] : [])));
  return probes.every((probe) => probe.status === 'fulfilled');
}

async function listen(port: number): Promise<Server> {
  const server = createServer().listen(port, LOOPBACK);
  await once(server, 'listening');
  return server;
}

async function close(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

/** Empty when there is no such file or somebody else wrote it. */
async function readPorts(file: string): Promise<number[]> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'));
    return Array.isArray(value) ? value.filter((port) => Number.isInteger(port) && port > 0 && port < 65_536) : [];
  } catch {
    return [];
  }
}
