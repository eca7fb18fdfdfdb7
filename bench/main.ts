// npm run bench -- <name> [options]. Without a name: lists the benchmarks and runs all of them in order, each in a process of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Benchmark, helpOf, optionsOf } from './support/benchmark.ts';
import { alignment } from './alignment.ts';
import { bus } from './bus.ts';
import { canary } from './canary.ts';
import { demo } from './demo.ts';
import { drift } from './drift.ts';
import { engine } from './engine.ts';
import { gateway } from './gateway.ts';
import { heartbeats } from './heartbeats.ts';
import { hpoReal } from './hpo-real.ts';
import { ingress } from './ingress.ts';
import { latency } from './latency.ts';
import { memory } from './memory.ts';
import { objectStore } from './object-store.ts';
import { pruning } from './pruning.ts';
import { recovery } from './recovery.ts';
import { scheduler } from './scheduler.ts';
import { serving } from './serving.ts';
import { sweep } from './sweep.ts';
import { timers } from './timers.ts';
import { trainer } from './trainer.ts';

const BENCHMARKS: readonly Benchmark[] = [
  engine,
  latency,
  timers,
  recovery,
  heartbeats,
  scheduler,
  pruning,
  sweep,
  hpoReal,
  gateway,
  ingress,
  memory,
  trainer,
  alignment,
  bus,
  objectStore,
  drift,
  canary,
  serving,
  demo,
];

const [name, ...args] = process.argv.slice(2);
process.exitCode = name === undefined ? await runAll() : await runOne(name);

async function runOne(wanted: string): Promise<number> {
  const benchmark = BENCHMARKS.find((each) => each.name === wanted);
  if (benchmark === undefined || args.includes('--help')) {
    console.log((benchmark === undefined ? BENCHMARKS : [benchmark]).map(helpOf).join('\n'));
    return benchmark === undefined ? 64 : 0;
  }
  await benchmark.run(optionsOf(benchmark, args));
  return 0;
}

async function runAll(): Promise<number> {
  console.log(`${BENCHMARKS.map(helpOf).join('\n')}\n`);
  let failed = 0;
  for (const benchmark of BENCHMARKS) {
    const child = spawn(process.execPath, [import.meta.filename, benchmark.name], { stdio: 'inherit' });
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) failed++;
    console.log('');
  }
  return failed === 0 ? 0 : 1;
}
