import { randomBytes } from 'node:crypto';
import { open, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { s3Suite } from '../../test/support/s3-suite.ts';
import { objectStoreContract } from './object-store.contract.ts';
import { S3ObjectStore } from './s3-store.ts';

await s3Suite('s3', (server) => {
  const { endpoint, region, credentials } = server;

  objectStoreContract('s3', async () => {
    const bucket = `contract-${randomBytes(6).toString('hex')}`;
    await server.makeBucket(bucket);
    const partBytes = 5 * 1_024 * 1_024;
    const location = { bucket, prefix: '', endpoint, region, pathStyle: true, encryption: null };
    return {
      partBytes,
      open: (onWrite) =>
        new S3ObjectStore({
          location,
          partBytes,
          client: { credentials },
          ...(onWrite && { onWrite: ({ bytes }) => onWrite(bytes) }),
        }),
      damage: async (key, how) => {
        const path = join(server.folder ?? '', bucket, key);
        if (how === 'truncate') return truncate(path, 10);
        const file = await open(path, 'r+');
        const byte = Buffer.alloc(1);
        await file.read(byte, 0, 1, 50);
        await file.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, 50);
        return file.close();
      },
      close: () => Promise.resolve(),
    };
  });
});
