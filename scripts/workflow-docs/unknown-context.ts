import { FineTuneSpec } from '../../lib/contracts/jobs.ts';

/** A copy of a spec has the members of one: the flows copy no other part of their input member by member and read it again. */
const MEMBERS = Object.keys(FineTuneSpec.properties);

/**
 * A context of which nothing is known: every member of it is again such a value, every call of it too. The parameters of an action can be
 * computed with it; what comes out where the job matters means nothing.
 */
export function unknownContext(): never {
  const value: unknown = new Proxy(() => undefined, {
    get: (_, key) => {
      if (key === Symbol.toPrimitive) return () => 0;
      // Canonical JSON ends here.
      if (key === 'toJSON') return () => 'unknown';
      if (key === Symbol.iterator) return function* nothing() {};
      return value;
    },
    apply: () => value,
    ownKeys: () => MEMBERS,
    getOwnPropertyDescriptor: () => ({ configurable: true, enumerable: true, value }),
  });
  return value as never;
}
