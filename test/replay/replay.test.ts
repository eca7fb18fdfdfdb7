import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { evolve, type WorkflowState } from '../../services/orchestrator/domain/workflow-state.ts';
import { PROFILES, workflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';
import type { Fact } from '../../services/orchestrator/domain/facts.ts';
import { type FactAt, foldFacts } from '../support/given-when-then.ts';
import { cancelRequested } from './fine-tune-facts.ts';
import { HISTORIES } from './histories.ts';
import { renamedFineTune } from './renamed-fine-tune.ts';

const folder = new URL('./histories/', import.meta.url);

interface Recorded {
  readonly name: string;
  readonly history: readonly FactAt[];
  readonly stateText: string;
}

const recordings: Recorded[] = readdirSync(folder)
  .filter((file) => file.endsWith('.json'))
  .map((file) => {
    const parsed = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as {
      history: ({ atMs: number } & Fact)[];
      state: WorkflowState;
    };
    const history = parsed.history.map(({ atMs, ...fact }) => ({ atMs, fact: fact as Fact }));
    return { name: file.replace(/\.json$/, ''), history, stateText: JSON.stringify(parsed.state) };
  });

describe('logs that shipped versions wrote', () => {
  it('are recorded, one for each way a workflow can go', () => {
    expect(recordings.map((r) => r.name).sort()).toEqual(Object.keys(HISTORIES).sort());
  });

  it.each(recordings)('$name folds to the recorded state, byte for byte', ({ history, stateText }) => {
    expect(JSON.stringify(foldFacts(workflowRegistry(), history))).toBe(stateText);
  });

  it.each(recordings)('$name folds to the same state from a snapshot at every prefix', ({ history, stateText }) => {
    for (let length = 1; length < history.length; length++) {
      const stored = JSON.stringify(foldFacts(workflowRegistry(), history.slice(0, length)));
      const snapshot = JSON.parse(stored) as WorkflowState;
      expect(JSON.stringify(foldFacts(workflowRegistry(), history.slice(length), snapshot))).toBe(stateText);
    }
  });

  it('would show a renamed state: another state in the fold, and a snapshot that does not restore', () => {
    const registry = workflowRegistry(PROFILES, [renamedFineTune]);
    const waiting = recordings.find((r) => r.name.endsWith('cancelled'))?.history.slice(0, 4) ?? [];
    const shipped = foldFacts(workflowRegistry(), waiting);
    expect(shipped?.machine.value).toBe('training');
    expect(foldFacts(registry, waiting)?.machine.value).toBe('trainingModel');
    expect(() => evolve(registry, 'wf', restored(shipped), cancelRequested, 2e6)).toThrow(/training/);
  });
});

const restored = (state: WorkflowState | null): WorkflowState => JSON.parse(JSON.stringify(state)) as WorkflowState;
