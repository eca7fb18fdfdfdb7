import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleTypebox } from './typebox-bundle.ts';

// `npm run generate`: the package typebox -> lib/vendor/typebox.js
writeFileSync(join(import.meta.dirname, '../lib/vendor/typebox.js'), await bundleTypebox());
