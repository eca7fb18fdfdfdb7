import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

const ROOT = join(import.meta.dirname, '..');
const PACKAGE = join(ROOT, 'node_modules/typebox');

/** What the bundle exports: what `#typebox`, `#typebox/value` and `#typebox/compile` (package.json, `imports`) are for. */
const ENTRY = [
  `export * from 'typebox';`,
  `export { Value } from 'typebox/value';`,
  `export { Compile } from 'typebox/compile';`,
].join('\n');

/**
 * The installed package `typebox` as one module, lib/vendor/typebox.js. It comes as 680 modules of 1 kB, which cost each process that starts
 * 190 ms of CPU and 16 MB; their bundle costs 8 ms and 4 MB (docs/decisions/0015).
 */
export async function bundleTypebox(): Promise<string> {
  const bundle = await rolldown({
    input: 'entry',
    cwd: ROOT,
    plugins: [
      {
        name: 'entry',
        resolveId: (id) => (id === 'entry' ? '\0entry' : null),
        load: (id) => (id === '\0entry' ? ENTRY : null),
      },
    ],
  });
  const { output } = await bundle.generate({ format: 'esm', banner: licence() });
  await bundle.close();
  const [module, ...others] = output;
  if (others.length > 0) throw new Error(`typebox should make one module, not ${output.length}`);
  // One character beyond Latin-1, and V8 keeps the text with two bytes for each.
  return module.code.replaceAll(/[\u0080-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function licence(): string {
  const { version } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as { version: string };
  const text = readFileSync(join(PACKAGE, 'license'), 'utf8').trim();
  return `/* typebox ${version}, bundled by \`npm run generate\` (scripts/bundle-typebox.ts): do not edit.\n\n${text} */`;
}
