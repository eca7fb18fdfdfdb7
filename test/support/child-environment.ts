/**
 * What a program of ours that a test starts inherits, where it must see nothing else of ours: how to find other programs, and where Node keeps
 * what it has compiled (scripts/bootstrap.mjs): without it each start strips the types of 400 files again.
 */
export const childEnvironment = (): Record<string, string> =>
  Object.fromEntries(
    ['PATH', 'HOME', 'NODE_COMPILE_CACHE'].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
