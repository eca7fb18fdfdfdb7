import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Technique, TrainerMessage } from '#lib/contracts/trainer-protocol.ts';
import type { Benchmark } from './support/benchmark.ts';
import { cpuMs as ownCpuMs, machineBusyMs, machineKind, requireLinux } from './support/machine.ts';
import { median, print, printTable, type Row } from './support/report.ts';
import { tokenizeCorpus } from './support/tokenized-corpus.ts';

const TRAINER = resolve(import.meta.dirname, '../services/gpu-worker/trainer/main.ts');
/** The sizes of the demo (cli/demo/demo-jobs.ts). */
const SIZE = { layers: 2, heads: 2, embeddingSize: 64, contextLength: 64 };
const BATCH = { batchSize: 8, sequenceLength: 64 };
const VOCABULARY = 1_024;
/** Steps in which the engine of the trainer still warms up. */
const WARM_UP_STEPS = 50;
const TECHNIQUES: readonly Technique[] = ['full', 'lora', 'qlora'];

export const trainer: Benchmark = {
  name: 'trainer',
  summary: 'tokens a second of the built-in trainer at the size of the demo, one thread',
  options: {
    steps: { standard: 600, summary: 'optimiser steps of one run' },
    rounds: { standard: 3, summary: 'rounds' },
  },
  run: async (options) => {
    requireLinux();
    const folder = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
    try {
      const dataDir = await tokenizeCorpus(folder, VOCABULARY);
      const { layers, embeddingSize, contextLength } = SIZE;
      print(
        `trainer\n${machineKind()}\n\n${layers} layers, width ${embeddingSize}, context ${contextLength}, vocabulary ${VOCABULARY}, ` +
          `${BATCH.batchSize} x ${BATCH.sequenceLength} tokens a step, ${options.number('steps')} steps, no checkpoint or validation before the last step`,
      );
      const rows: Row[] = [];
      for (const technique of TECHNIQUES) {
        const runs: Run[] = [];
        for (let round = 0; round < options.number('rounds'); round++)
          runs.push(await train(folder, dataDir, technique, options.number('steps')));
        const of = (value: (run: Run) => number, digits = 0): string => median(runs.map(value)).toFixed(digits);
        rows.push({
          technique,
          'tokens/s': of((run) => run.tokensPerSecond),
          'ms/step': of((run) => run.stepMs, 2),
          'CPU ms/step': of((run) => run.cpuMsPerStep, 2),
          'tokens/CPU s': of((run) => run.tokensPerCpuSecond),
          'whole process s': of((run) => run.seconds, 1),
          'other load': of((run) => run.otherCores, 2),
        });
      }
      printTable(rows);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

interface Run {
  readonly tokensPerSecond: number;
  readonly tokensPerCpuSecond: number;
  readonly stepMs: number;
  readonly cpuMsPerStep: number;
  readonly seconds: number;
  readonly otherCores: number;
}

/** One run of the trainer as a worker starts it; an adapter goes on the result of the full run before. */
async function train(folder: string, dataDir: string, technique: Technique, maxSteps: number): Promise<Run> {
  const output = join(folder, technique);
  const base =
    technique === 'full' ? { kind: 'config', config: SIZE } : { kind: 'model', dir: join(folder, 'full', 'output') };
  const spec = {
    protocol: 'trainyard-trainer/1',
    method: 'sft',
    technique,
    base,
    dataDir,
    outputDir: join(output, 'output'),
    checkpointDir: join(output, 'checkpoints'),
    seed: 1,
    hyperparameters: {
      ...BATCH,
      maxSteps,
      learningRate: technique === 'full' ? 0.008 : 0.004,
      checkpointEverySteps: maxSteps,
      evaluateEverySteps: 0,
    },
    limits: { maxMemoryMib: 0, threads: 1 },
  };
  await rm(output, { recursive: true, force: true });
  const specPath = join(folder, 'spec.json');
  await writeFile(specPath, JSON.stringify(spec));
  return measure(specPath, BATCH.batchSize * BATCH.sequenceLength);
}

async function measure(specPath: string, tokensPerStep: number): Promise<Run> {
  const began = performance.now();
  const child = spawn(process.execPath, [TRAINER, specPath], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const steps: { step: number; at: number; busyMs: number; cpuMs: number }[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const message = JSON.parse(line) as TrainerMessage;
    if (message.type !== 'step') continue;
    steps.push({ step: message.step, at: performance.now(), busyMs: machineBusyMs(), cpuMs: ownCpuMs(child.pid ?? 0) });
  }
  const [code] = (await exited) as [number | null];
  if (code !== 0) throw new Error(`the trainer ended with ${code}`);
  const first = steps.find(({ step }) => step >= WARM_UP_STEPS);
  const last = steps.at(-1);
  if (first === undefined || last === undefined || first === last) throw new Error('too few steps to measure');
  const count = last.step - first.step;
  const [ms, cpuMs] = [last.at - first.at, last.cpuMs - first.cpuMs];
  return {
    tokensPerSecond: (count * tokensPerStep * 1_000) / ms,
    tokensPerCpuSecond: (count * tokensPerStep * 1_000) / cpuMs,
    stepMs: ms / count,
    cpuMsPerStep: cpuMs / count,
    seconds: (performance.now() - began) / 1_000,
    otherCores: Math.max(0, (last.busyMs - first.busyMs - cpuMs) / ms),
  };
}
