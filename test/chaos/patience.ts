import { eventually } from '../support/eventually.ts';

/** Longest outage of the platform's own making that a caller of it bridges: PostgreSQL or a broker of a busy machine that starts again. */
const PATIENCE_MS = 60_000;

/** What a caller does whose request got no answer: the same again, for a minute. Errors that `isFinal` knows are thrown at once. */
export async function patiently<T>(
  work: () => Promise<T>,
  isFinal: (error: unknown) => boolean = () => false,
): Promise<T> {
  const result = await eventually(
    async () => {
      try {
        return { value: await work() };
      } catch (error) {
        if (isFinal(error)) return { error };
        throw error;
      }
    },
    { withinMs: PATIENCE_MS, everyMs: 200 },
  );
  if ('error' in result) throw result.error;
  return result.value;
}

/** A refusal with a status below 500 (but no 429) will be the same the next time. */
export function isRefusal(error: unknown): boolean {
  const { status } = error as { status?: unknown };
  return typeof status === 'number' && status < 500 && status !== 429;
}
