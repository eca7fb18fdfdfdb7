import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateAsyncapi } from './contracts/asyncapi.ts';
import { ASYNCAPI_FILE } from './contracts/asyncapi-prose.ts';

// Part of `npm run generate`: lib/contracts/topics.ts and the generated messages -> docs/asyncapi.yaml
const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')) as {
  version: string;
};
writeFileSync(ASYNCAPI_FILE, generateAsyncapi(version));
