import type { Said } from './display.ts';
import type { FlowStep, JobProgress } from './job-progress.ts';
import { workFacts } from './progress-frame.ts';
import { seconds } from './quantities.ts';

/** A long training says where it is this often, in ms of the job's own time. */
const WORK_EVERY_MS = 5_000;

/** The lines a log gets when there is no terminal to draw on: each step as it begins and ends, a training every few seconds. */
export function progressLog(said: Said, progress: JobProgress): { readonly lines: string[]; readonly said: Said } {
  const steps = new Map(said.steps);
  const lines: string[] = [];
  for (const step of progress.steps) {
    const state = `${step.state}${step.note === null ? '' : `, ${step.note}`}`;
    if (step.state === 'pending' || steps.get(step.number) === state) continue;
    steps.set(step.number, state);
    lines.push(stepText(progress, step));
  }
  const due = progress.elapsedMs - said.workAtMs >= WORK_EVERY_MS;
  if (progress.work === null || !due) return { lines, said: { steps, workAtMs: said.workAtMs } };
  const slot =
    progress.gpuSlot === null ? [] : [`GPU slots in use ${progress.gpuSlot.inUse} of ${progress.gpuSlot.slots}`];
  lines.push(`${progress.model}        ${[...workFacts(progress.work), ...slot].join(' · ')}`);
  return { lines, said: { steps, workAtMs: progress.elapsedMs } };
}

const WORDS: Readonly<Record<FlowStep['state'], string>> = {
  pending: '',
  waiting: 'waits',
  active: 'begins',
  done: 'done',
  failed: 'failed',
};

function stepText({ model, steps }: JobProgress, step: FlowStep): string {
  const lane = step.lane === '' ? '' : `${step.lane} `;
  const took = step.state === 'done' && step.tookMs !== null ? ` in ${seconds(step.tookMs / 1_000)}` : '';
  const note = step.note === null ? '' : ` (${step.note})`;
  return `${model}  ${String(step.number).padStart(2)}/${steps.length}  ${lane}${step.name}: ${WORDS[step.state]}${took}${note}`;
}
