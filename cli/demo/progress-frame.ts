import type { FlowStep, JobProgress, StepState, Work } from './job-progress.ts';
import { clock, compact, count, seconds } from './quantities.ts';
import { fitted, type Line, span, type Tone, widthOf } from './text-style.ts';

export interface Screen {
  readonly columns: number;
  readonly rows: number;
}

/** From this size on all twelve steps are shown; below it only the current one. */
const FULL = { columns: 80, rows: 20 };
const MAX_COLUMNS = 100;
const SYMBOLS: Readonly<Record<StepState, readonly [string, Tone]>> = {
  pending: ['·', 'faint'],
  waiting: ['…', 'accent'],
  active: ['▸', 'active'],
  done: ['✓', 'good'],
  failed: ['✗', 'bad'],
};

/** The live display of a job: lines that fit the screen, at most `rows - 1` of them, one column short of its width (no terminal wraps then). */
export function progressFrame(progress: JobProgress, screen: Screen): Line[] {
  const columns = Math.min(screen.columns, MAX_COLUMNS) - 1;
  const lines =
    screen.columns >= FULL.columns && screen.rows >= FULL.rows
      ? fullFrame(progress, columns)
      : smallFrame(progress, columns);
  return lines.map((line) => fitted(line, columns)).slice(0, Math.max(1, screen.rows - 1));
}

function fullFrame(progress: JobProgress, columns: number): Line[] {
  const lines: Line[] = [
    spread([span(progress.heading, 'strong')], [span(clock(progress.elapsedMs), 'faint')], columns),
  ];
  for (const step of progress.steps) {
    lines.push(stepLine(step, columns));
    if (step.state === 'active' && progress.work !== null) lines.push(...workLines(progress, columns));
  }
  return lines;
}

function stepLine(step: FlowStep, columns: number): Line {
  const [symbol, tone] = SYMBOLS[step.state];
  const text: Tone = step.state === 'pending' ? 'faint' : step.state === 'active' ? 'strong' : 'plain';
  const note = step.note === null ? [] : [span(`  ${step.note}`, 'accent')];
  const left = [
    span(`  ${symbol} `, tone),
    span(String(step.number).padStart(2), 'faint'),
    span(`  ${step.lane.padEnd(7)}  `, 'faint'),
    span(step.name, text),
    ...note,
  ];
  return spread(left, step.tookMs === null ? [] : [span(seconds(step.tookMs / 1_000), 'faint')], columns);
}

const INDENT = ' '.repeat(17);

function workLines({ work, gpuSlot }: JobProgress, columns: number): Line[] {
  if (work === null) return [];
  const bar: Line = [
    span(INDENT),
    ...progressBar(work, Math.min(50, columns - INDENT.length - 7)),
    span(percent(work), 'strong'),
  ];
  const facts = workFacts(work).join(' · ');
  const lines: Line[] = [bar, [span(`${INDENT}${facts}`)]];
  if (gpuSlot !== null)
    lines.push([
      span(
        `${INDENT}GPU lane: slot ${gpuSlot.slot} of ${gpuSlot.worker || 'its worker'}, ${gpuSlot.inUse} of ${gpuSlot.slots} in use`,
        'faint',
      ),
    ]);
  return lines;
}

/** Few columns or rows: where it is, the bar, and the figures under each other. */
function smallFrame(progress: JobProgress, columns: number): Line[] {
  const { steps, work, gpuSlot } = progress;
  const step = currentStep(progress);
  const [symbol, tone] = SYMBOLS[step.state];
  const lines: Line[] = [
    [span(`${progress.model} ${progress.status} `, 'strong'), span(clock(progress.elapsedMs), 'faint')],
    [span(`${symbol} `, tone), span(`step ${step.number}/${steps.length} ${step.lane} ${step.name}`)],
  ];
  if (work === null) return lines;
  lines.push([...progressBar(work, Math.max(4, columns - 6)), span(percent(work))]);
  const facts = workFacts(work);
  if (gpuSlot !== null) facts.push(`GPU slot ${gpuSlot.inUse}/${gpuSlot.slots}`);
  return [...lines, ...packed(facts, columns)];
}

/** The step a person should look at: the one that runs or waits, else the last one that ended. */
export function currentStep({ steps }: JobProgress): FlowStep {
  const busy = steps.find(({ state }) => state === 'active' || state === 'waiting' || state === 'failed');
  const step = busy ?? steps.findLast(({ state }) => state === 'done') ?? steps[0];
  if (step === undefined) throw new Error('a flow has steps');
  return step;
}

/** `step 1,612 of 3,500`, `loss 3.981`, `45k tokens/s`, `ETA 0:22`, as far as known. */
export function workFacts({ step, stepsTotal, loss, tokensPerSecond, etaMs }: Work): string[] {
  const facts = [`step ${count(step)} of ${count(stepsTotal)}`];
  if (loss !== null) facts.push(`loss ${loss.toFixed(3)}`);
  if (tokensPerSecond !== null) facts.push(`${compact(tokensPerSecond)} tokens/s`);
  if (etaMs !== null) facts.push(`ETA ${clock(etaMs)}`);
  return facts;
}

const percent = ({ step, stepsTotal }: Work): string =>
  ` ${String(Math.floor((100 * step) / stepsTotal)).padStart(3)} %`;

/** Eighths of a block: a bar of 20 columns moves 160 times. */
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

function progressBar({ step, stepsTotal }: Work, columns: number): Line {
  const eighths = Math.round((Math.min(step, stepsTotal) / stepsTotal) * columns * 8);
  const filled = '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '');
  return [span(filled, 'active'), span('░'.repeat(Math.max(0, columns - filled.length)), 'faint')];
}

function packed(facts: readonly string[], columns: number): Line[] {
  const lines: string[] = [];
  for (const fact of facts) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 3 + fact.length <= columns) lines[lines.length - 1] = `${last} · ${fact}`;
    else lines.push(fact);
  }
  return lines.map((line) => [span(line)]);
}

/** `left` at the left, `right` at the right end. */
function spread(left: Line, right: Line, columns: number): Line {
  const gap = columns - widthOf(left) - widthOf(right);
  return gap < 1 ? left : [...left, span(' '.repeat(gap)), ...right];
}
