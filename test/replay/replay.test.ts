import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { evolve, type WorkflowState } from '../../services/orchestrator/domain/workflow-state.ts';
import type { LeaseEnd } from '../../services/orchestrator/domain/activity-ledger.ts';
import { MACHINES, PROFILES, workflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';
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

  it.each(MACHINES.map((machine) => [machine.id, machine] as const))(
    '%s: every state it can end in was recorded',
    (definition, machine) => {
      const ends = Object.keys(machine.states).filter((name) => machine.states[name]?.type === 'final');
      const recorded = recordings
        .filter(({ name }) => name.startsWith(`${definition}-`))
        .map(({ stateText }) => (JSON.parse(stateText) as WorkflowState).machine.value);
      // A version that was shipped without its histories fails here: `node test/replay/record.ts` after adding them to histories.ts.
      expect(recorded.length, `histories of ${definition}`).toBeGreaterThan(0);
      expect(ends.filter((end) => !recorded.includes(end))).toEqual([]);
    },
  );

  it('contain every kind of fact, and every way a lease can end', () => {
    const facts = recordings.flatMap(({ history }) => history.map(({ fact }) => fact));
    const kinds = new Set(facts.map(({ type }) => type));
    const ends = new Set(facts.flatMap((fact) => (fact.type === 'LeaseEnded' ? [fact.data.reason] : [])));
    expect([...kinds].sort()).toEqual(Object.keys(EVERY_FACT).sort());
    expect([...ends].sort()).toEqual(Object.keys(EVERY_LEASE_END).sort());
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
    const waiting = recordings.find((r) => r.name === 'fine_tune@1-cancelled')?.history.slice(0, 4) ?? [];
    const shipped = foldFacts(workflowRegistry(), waiting);
    expect(shipped?.machine.value).toBe('training');
    expect(foldFacts(registry, waiting)?.machine.value).toBe('trainingModel');
    expect(() => evolve(registry, 'wf', restored(shipped), cancelRequested, 2e6)).toThrow(/training/);
  });
});

/** Mapped types: a new kind does not compile until it is here, and then not pass until it is recorded. */
const EVERY_FACT: Readonly<Record<Fact['type'], true>> = {
  WorkflowStarted: true,
  ActivityStarted: true,
  CheckpointSaved: true,
  ActivityCompleted: true,
  ActivityFailed: true,
  ActivityYielded: true,
  ActivityDeclined: true,
  LeaseEnded: true,
  CancelRequested: true,
  PauseRequested: true,
  ResumeRequested: true,
  RetryRequested: true,
  ApprovalVoted: true,
  ApprovalVoided: true,
  SignalReceived: true,
  ExecutionTimedOut: true,
  TimerFired: true,
  LateMessageIgnored: true,
};
const EVERY_LEASE_END: Readonly<Record<LeaseEnd, true>> = {
  lost: true,
  stalled: true,
  timed_out: true,
  not_started: true,
};

const restored = (state: WorkflowState | null): WorkflowState => JSON.parse(JSON.stringify(state)) as WorkflowState;
