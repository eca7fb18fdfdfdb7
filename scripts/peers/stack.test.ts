import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { expect, it } from 'vitest';
import { environmentText } from './stack.ts';

it('stack.env means the same to a shell and to Node, also with the & of a URL', () => {
  const variables = {
    BUS_URL: 'kafka://127.0.0.1:1,127.0.0.1:2',
    OBJECT_STORE_URL: 's3://trainyard/data?endpoint=http://127.0.0.1:3&region=us-east-1&pathStyle=true',
  };
  const text = environmentText(variables);
  expect(parseEnv(text)).toEqual(variables);
  const folder = mkdtempSync(join(tmpdir(), 'trainyard-stack-'));
  try {
    writeFileSync(join(folder, 'stack.env'), text);
    const script = 'set -a; . ./stack.env; set +a; printf "%s\\n%s" "$BUS_URL" "$OBJECT_STORE_URL"';
    const seen = execFileSync('/bin/sh', ['-c', script], { cwd: folder, encoding: 'utf8' });
    expect(seen.split('\n')).toEqual(Object.values(variables));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
