import type { TestProject } from 'vitest/node';
import { openDesk } from './desk.ts';
import { ladderOf } from './ladder.ts';

/** globalSetup of vitest projects whose files call `peer()`. Nothing starts before a file asks for it; everything ends with the run. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const desk = await openDesk(ladderOf(process.env, (line) => void process.stderr.write(`peers: ${line}\n`)));
  project.provide('peerDesk', desk.url);
  return () => desk.close();
}
