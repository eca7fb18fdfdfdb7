import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { EvaluateSpec, TrainerBase } from '#lib/contracts/trainer-protocol.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { pull, pullBase, WORKSPACE } from '#lib/worker/workspace.ts';
import { parseEvaluationReport, SAMPLES } from './evaluation-report.ts';
import { type GpuPlatform, runTrainer } from './trainer-run.ts';

type Context = ActivityContext<ActivityInput<'run_evaluation'>>;

/**
 * Step 10 of the flow: scores the stored model, and its base on the same items, and stores the report. Whether the figures are good
 * enough is the workflow's decision, not this activity's.
 */
export async function runEvaluation(
  platform: GpuPlatform,
  context: Context,
): Promise<ActivityOutput<'run_evaluation'>> {
  const { input, epoch, signal, jobId, project } = context;
  const folder = join(platform.workspaceDir, input.workspace);
  const dataDir = join(folder, WORKSPACE.data);
  await pull(platform, input.data, dataDir, signal);
  const { base } = await pullBase(platform, input.base, folder, signal);
  const artifacts = join(folder, WORKSPACE.artifacts);
  await pull(platform, input.artifacts, artifacts, signal);
  const outputDir = join(folder, `evaluation-e${epoch}`);
  const spec: EvaluateSpec = {
    protocol: 'trainyard-trainer/1',
    method: 'evaluate',
    model: trained(input.technique, base, artifacts),
    ...(base.kind === 'model' ? { baseline: base } : {}),
    dataDir,
    outputDir,
    suites: input.suites,
    samples: { count: input.samples, ...SAMPLES },
    seed: input.seed,
    limits: platform.limits,
  };
  // An evaluation has no checkpoints: stopped, it starts again.
  await runTrainer(platform, context, spec, folder, { onMessage: () => undefined, beforeYield: async () => null });
  const body = await readFile(join(outputDir, 'report.json'));
  const report = parseEvaluationReport(body);
  const digest = createHash('sha256').update(body).digest('hex');
  const { key } = await platform.store.put(`reports/${project}/${jobId}/${digest}.json`, body, { sha256: digest });
  return { report: { key, digest }, metrics: report.metrics, samples: report.samples };
}

/** The model as a trainer loads it: a folder of its own, or the base with the trained adapter. */
function trained(technique: string, base: TrainerBase, artifacts: string): TrainerBase {
  if (technique === 'full') return { kind: 'model', dir: artifacts };
  if (base.kind === 'config' || base.adapterDir !== undefined)
    throw new TrainyardError('TrainerBadConfig', 'an adapter lies on a model of full weights');
  return { kind: 'model', dir: base.dir, adapterDir: artifacts };
}
