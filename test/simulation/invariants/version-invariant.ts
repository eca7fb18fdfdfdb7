import type { ModelVersion } from '#lib/model-registry/port.ts';
import { SAFE_BELOW } from '../job-bodies.ts';
import { trainedBy } from '../sim-training.ts';
import type { SimDatabase } from '../sim-database.ts';
import type { ObjectTable } from '../sim-object-store.ts';
import { RULES } from './rules.ts';
import type { Violations } from './violations.ts';

/** What is published: at the moment a version comes into being. */
export class VersionInvariant {
  readonly #violations: Violations;
  readonly #database: SimDatabase;
  readonly #objects: ObjectTable;
  readonly #byJob = new Map<string, ModelVersion>();

  constructor(violations: Violations, database: SimDatabase, objects: ObjectTable) {
    this.#violations = violations;
    this.#database = database;
    this.#objects = objects;
  }

  created(version: ModelVersion): void {
    const { jobId } = version.lineage;
    const before = this.#byJob.get(jobId);
    this.#byJob.set(jobId, version);
    const job = this.#database.jobs.get(jobId);
    const workflowId = job?.workflowId ?? '';
    this.#violations.check(
      RULES.oneVersion,
      before === undefined,
      () => `${workflowId} has version ${before?.version} and ${version.version} of ${version.name}`,
    );
    // The best trial of a search is registered by the search, under the trial's job.
    const isTrial = (this.#database.eventsOf(workflowId)[0]?.dataJson ?? '').includes('"purpose":"trial"');
    const registers = isTrial ? (this.#database.jobs.get(job?.parentJobId ?? '')?.workflowId ?? '') : workflowId;
    this.#violations.check(
      RULES.versionOfGate,
      this.#database.eventsOf(registers).some((event) => event.state === 'registering'),
      () => `${workflowId} registers a version without having passed its gate`,
    );
    this.#checkArtifacts(version, workflowId, jobId);
    if (job?.type === 'rlhf') this.#checkSafety(workflowId);
  }

  /** What the safety evaluation answered, judged here anew: measured, and below the bound. */
  #checkSafety(workflowId: string): void {
    const output = this.#completed(workflowId, 'run_safety_evaluation')?.output as {
      metrics: readonly { name: string; value: number }[];
    };
    const share = output.metrics.find(({ name }) => name === 'toxicity.share')?.value;
    this.#violations.check(
      RULES.safety,
      share !== undefined && share < SAFE_BELOW,
      () => `${workflowId} registers a version with a toxicity of ${share}`,
    );
  }

  /** The answer of an activity that the log accepted. */
  #completed(workflowId: string, activityId: string): Completed | undefined {
    return this.#database
      .eventsOf(workflowId)
      .filter(({ type }) => type === 'ActivityCompleted')
      .map(({ dataJson }) => JSON.parse(dataJson) as Completed)
      .find((data) => data.activityId === activityId);
  }

  /** The weights that the version names were written by the training attempt whose completion the log accepted. */
  #checkArtifacts(version: ModelVersion, workflowId: string, jobId: string): void {
    const completed =
      this.#completed(workflowId, 'run_training') ?? this.#completed(workflowId, 'run_alignment_training');
    const epoch = completed?.epoch ?? 0;
    const key = version.manifestKey.replace(/manifest\.json$/, 'weights.bin');
    const weights = this.#objects.objects.get(key)?.body.toString() ?? 'nothing';
    const manifest = JSON.parse(this.#objects.objects.get(version.manifestKey)?.body.toString() ?? '{}') as {
      createdBy?: { epoch: number };
    };
    this.#violations.check(
      RULES.versionOfCurrent,
      weights === trainedBy(jobId, epoch) && manifest.createdBy?.epoch === epoch,
      () =>
        `${workflowId}: training ended as epoch ${epoch}; the version holds what epoch ${weights.split(' ').at(-1)} wrote ` +
        `and epoch ${manifest.createdBy?.epoch} published`,
    );
  }
}

interface Completed {
  readonly activityId: string;
  readonly epoch: number;
  readonly output: unknown;
}
