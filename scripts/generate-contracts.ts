import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateMessages } from '#lib/contracts/generate.ts';
import { releasedSchemas, schemas } from './contracts/schema-files.ts';

// `npm run generate`: schemas/avro/*.avsc (and the released ones) -> lib/contracts/generated/messages.ts
const folder = join(import.meta.dirname, '../lib/contracts/generated');
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, 'messages.ts'), generateMessages(schemas(), releasedSchemas()));
