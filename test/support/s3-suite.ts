import { afterAll, describe, expect, test } from 'vitest';
import { type S3Server, startS3Server } from './s3-server.ts';

/** A suite against a real S3 server of its own; without one it is a skipped test whose title says why. */
export async function s3Suite(name: string, define: (server: S3Server) => void): Promise<void> {
  const started = await startS3Server();
  if ('reason' in started) return notRun(name, started.reason);
  describe(`on a real server: ${name}`, () => {
    afterAll(() => started.server.stop());
    define(started.server);
  });
}

function notRun(name: string, reason: string): void {
  console.log(`not run: s3: ${reason}`);
  test.skipIf(reason !== '')(`${name}: not run: s3: ${reason}`, () => expect.unreachable());
}
