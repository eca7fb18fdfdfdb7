import type { ModelVersion } from '#lib/model-registry/port.ts';
import { trainedBy } from '../sim-activities.ts';
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
    const log = this.#database.eventsOf(workflowId);
    this.#violations.check(
      RULES.versionOfGate,
      log.some((event) => event.state === 'registering'),
      () => `${workflowId} registers a version without having passed its gate`,
    );
    this.#checkArtifacts(version, workflowId, jobId);
  }

  /** The weights that the version names were written by the training attempt whose completion the log accepted. */
  #checkArtifacts(version: ModelVersion, workflowId: string, jobId: string): void {
    const completed = this.#database
      .eventsOf(workflowId)
      .map(({ type, dataJson }) => ({ type, data: JSON.parse(dataJson) as { activityId?: string; epoch?: number } }))
      .find(({ type, data }) => type === 'ActivityCompleted' && data.activityId === 'run_training');
    const epoch = completed?.data.epoch ?? 0;
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
