import { expect, it } from 'vitest';
import { bundleTypebox } from '../../scripts/typebox-bundle.ts';
import { read } from './source-tree.ts';

it('lib/vendor/typebox.js is the installed package and nothing else (else: npm run generate)', async () => {
  const fresh = await bundleTypebox();
  expect(fresh.length).toBeGreaterThan(100_000);
  // Not `toBe` on the texts: their difference would fill the screen.
  expect(read('lib/vendor/typebox.js') === fresh).toBe(true);
});
