// node test/replay/record.ts: records the logs of `histories.ts` with the state they fold to now. A file that is there already is left
// alone: what a release has written must fold the same way for ever. A new machine version adds files.
import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { workflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';
import { foldFacts } from '../support/given-when-then.ts';
import { HISTORIES } from './histories.ts';

for (const [name, history] of Object.entries(HISTORIES)) {
  const file = fileURLToPath(new URL(`./histories/${name}.json`, import.meta.url));
  if (existsSync(file)) continue;
  const state = foldFacts(workflowRegistry(), history);
  const recorded = { history: history.map(({ atMs, fact }) => ({ atMs, ...fact })), state };
  writeFileSync(file, `${JSON.stringify(recorded, null, 2)}\n`);
  process.stdout.write(`${name}: ${history.length} facts\n`);
}
