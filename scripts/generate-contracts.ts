import { readdirSync, readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { generateMessages } from '#lib/contracts/generate.ts';

// `npm run generate`: schemas/avro/*.avsc -> lib/contracts/generated/messages.ts
const root = join(import.meta.dirname, '..');
const folder = join(root, 'schemas/avro');
const schemas = readdirSync(folder)
  .filter((name) => name.endsWith('.avsc'))
  .sort()
  .map((name) => readFileSync(join(folder, name), 'utf8'));
mkdirSync(join(root, 'lib/contracts/generated'), { recursive: true });
writeFileSync(join(root, 'lib/contracts/generated/messages.ts'), generateMessages(schemas));
