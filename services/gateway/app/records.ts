import { Name } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Principal } from '../domain/access.ts';

export const PROJECT_NAME = new RegExp((Name as unknown as { pattern: string }).pattern);

/** An answer repeats what a request said, which may be a megabyte of anything: so much of each member, and so many members. */
const MAX_CHARACTERS = 1_000;
export const MAX_FIELDS = 100;
export const cut = (text: string): string => text.slice(0, MAX_CHARACTERS);

/** What is no project name came from outside and may be anything: no key for a bus. */
export const keyOf = (project: string): string => (PROJECT_NAME.test(project) ? project : 'unknown');

/** Whose record it is, by its API key. */
export async function principalOf(
  identify: (key: string) => Promise<Principal | null>,
  headers: Readonly<Record<string, string>>,
): Promise<Principal | TrainyardError> {
  const key = /^Bearer (\S+)$/i.exec(headers['authorization'] ?? '')?.[1];
  const principal = key === undefined ? null : await identify(key);
  return (
    principal ?? new TrainyardError('Unauthenticated', 'header authorization: no API key, or one that is not known')
  );
}
