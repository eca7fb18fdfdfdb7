import type { JobStatus } from '#lib/contracts/jobs.ts';
import { MANIFEST_NAME } from '#lib/object-store/manifest.ts';
import type { AcceptedJob } from './load.ts';
import { isRefusal, patiently } from './patience.ts';
import { PROJECT, type Site } from './site.ts';

export interface Published {
  /** What must not be. */
  readonly violations: readonly string[];
  /** Versions beyond the first of a job, in whatever registry is used. */
  readonly versionsPublishedTwice: number;
}

/**
 * Compares what was published with the log: one version per completed job, as the registry itself answers; one manifest, written by the training
 * attempt whose completion is in the log; files of that attempt alone. A search publishes one of its trials, a retrain what its child trained (released or
 * not), an evaluation nothing.
 */
export async function checkPublished(site: Site, jobs: readonly AcceptedJob[]): Promise<Published> {
  const violations: string[] = [];
  const trained = await trainingEpochs(site);
  const manifests = await manifestKeys(site);
  const inMlflow = site.peers.mlflow === null ? null : await versionsInMlflow(site.peers.mlflow.url);
  const versions = await versionsOfJobs(site, inMlflow ?? []);
  const children = await childrenOfJobs(site);
  const registering = await registeringJobs(site);
  for (const { job, id, status } of jobs) {
    const own = [id, ...(children.get(id) ?? [])];
    const found = own.flatMap((each) => versions.get(each) ?? []);
    if (job.type === 'eval_only' || status === null || !PUBLISHING.has(status)) {
      // A job that is cancelled during its registration may have made a version; it does not show it.
      const most = status === 'CANCELLED' && own.some((each) => registering.has(each)) ? 1 : 0;
      if (found.length > most) violations.push(`job ${job.key} ended ${status} and has versions: ${found.join(', ')}`);
      continue;
    }
    if (found.length !== 1) violations.push(`job ${job.key} has ${found.length} versions: ${found.join(', ')}`);
    if (job.type === 'hpo') continue;
    const trainee = own.at(-1) ?? id;
    const epoch = trained.get(trainee);
    const written = manifests.get(trainee) ?? [];
    // An alignment is stored by the attempt that trained: one that was lost after its work was done leaves a manifest of its own, which nobody names.
    const ofEpoch = (key: string): boolean => key.endsWith(`-e${epoch}/${MANIFEST_NAME}`);
    const [manifestKey, ...more] = job.type === 'rlhf' ? written.filter(ofEpoch) : written;
    if (manifestKey === undefined || more.length > 0) {
      violations.push(`job ${job.key} has the manifests ${[manifestKey, ...more].join(', ')}`);
      continue;
    }
    const artifacts = await patiently(() => site.client.artifacts(trainee));
    if (artifacts.manifestKey !== manifestKey)
      violations.push(`job ${job.key} answers ${artifacts.manifestKey}, stored is ${manifestKey}`);
    if (artifacts.epoch !== epoch)
      violations.push(`job ${job.key}: attempt ${epoch} trained, the manifest is of attempt ${artifacts.epoch}`);
    const weights = artifacts.files.find(({ path }) => path === 'model.safetensors');
    const text = weights === undefined ? '(no weights)' : (await site.store.get(weights.key)).toString();
    // The paced trainer writes its attempt into the weights.
    if (job.scenario === 'paced' && !text.endsWith(`, attempt ${epoch}`))
      violations.push(`job ${job.key}: attempt ${epoch} trained, the weights say: ${text}`);
  }
  if (inMlflow !== null) violations.push(...(await strangeStages(site, inMlflow)));
  const twice = [...versions.values()].reduce((sum, { length }) => sum + Math.max(0, length - 1), 0);
  return { violations, versionsPublishedTwice: twice };
}

/** REJECTED: a retrain whose version is not released; it stays in dev. */
const PUBLISHING: ReadonlySet<string> = new Set<JobStatus>(['COMPLETED', 'REJECTED']);

/** Ids of the trials of each search, and of the training of each retrain. */
async function childrenOfJobs({ database }: Site): Promise<Map<string, string[]>> {
  const { rows } = await database.query<{ parent: string; ids: string[] }>(
    'select parent_job_id as parent, array_agg(id) as ids from jobs where parent_job_id is not null group by 1',
  );
  return new Map(rows.map(({ parent, ids }) => [parent, ids]));
}

/** Jobs that came as far as their registration. */
async function registeringJobs({ database }: Site): Promise<Set<string>> {
  const { rows } = await database.query<{ job_id: string }>(
    `select w.job_id from activities a join workflows w using (workflow_id) where a.name in ('register_model', 'register_aligned_model')`,
  );
  return new Set(rows.map(({ job_id }) => job_id));
}

/** Epoch of the training that the log has as completed, by job. */
async function trainingEpochs({ database }: Site): Promise<Map<string, number>> {
  const { rows } = await database.query<{ job_id: string; epoch: number }>(
    `select w.job_id, (e.data->>'epoch')::int as epoch from events e join workflows w using (workflow_id)
     where e.type = 'ActivityCompleted' and e.data->>'activityId' in ('run_training', 'run_alignment_training')`,
  );
  return new Map(rows.map(({ job_id, epoch }) => [job_id, epoch]));
}

/** Manifests in the store, by job, whatever attempt wrote them. */
async function manifestKeys({ store }: Site): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for await (const { key } of store.list(`artifacts/${PROJECT}/`)) {
    if (!key.endsWith(`/${MANIFEST_NAME}`)) continue;
    const jobId = key.split('/')[2] ?? '';
    found.set(jobId, [...(found.get(jobId) ?? []), key]);
  }
  return found;
}

/** `model/version` by job, as the registry's own interface answers. */
async function versionsOfJobs(site: Site, inMlflow: readonly MlflowVersion[]): Promise<Map<string, string[]>> {
  const { rows } = await site.database.query<{ model: string }>(
    `select distinct spec->'model'->>'name' as model from jobs where project = $1 and spec->'model'->>'name' is not null`,
    [PROJECT],
  );
  const found = new Map<string, string[]>();
  const add = (jobId: string, version: string): void => void found.set(jobId, [...(found.get(jobId) ?? []), version]);
  for (const { model } of rows) {
    const path = `/v1/models/${model}/versions?project=${PROJECT}&limit=200`;
    for (let cursor: string | null = null, first = true; first || cursor !== null; first = false) {
      const page = await patiently(
        () => site.client.request<VersionPage>(cursor === null ? path : `${path}&cursor=${cursor}`),
        isRefusal,
      ).catch((error: unknown): VersionPage => {
        if ((error as { status?: number }).status === 404) return { items: [], nextCursor: null };
        throw error;
      });
      for (const { version, lineage } of page.items) add(lineage['jobId'] ?? '', `${model}/${version}`);
      cursor = page.nextCursor ?? null;
    }
  }
  for (const twin of twinsAmong(inMlflow, found)) add(twin.jobId, twin.version);
  return found;
}

interface VersionPage {
  readonly items: readonly { readonly version: number; readonly lineage: Readonly<Record<string, string>> }[];
  readonly nextCursor?: string | null;
}

interface MlflowVersion {
  readonly name: string;
  readonly version: string;
  readonly tags: ReadonlyMap<string, string>;
}

interface MlflowPage {
  readonly model_versions?: readonly {
    readonly name: string;
    readonly version: string;
    readonly tags?: readonly { readonly key: string; readonly value: string }[];
  }[];
  readonly next_page_token?: string;
}

/** All versions as MLflow itself answers. */
async function versionsInMlflow(url: string): Promise<MlflowVersion[]> {
  const versions: MlflowVersion[] = [];
  for (let token = '', first = true; first || token !== ''; first = false) {
    const query = new URLSearchParams({ max_results: '200', ...(token === '' ? {} : { page_token: token }) });
    const response = await fetch(`${url}/api/2.0/mlflow/model-versions/search?${query.toString()}`);
    if (!response.ok) throw new Error(`MLflow answers ${response.status}: ${await response.text()}`);
    const page = (await response.json()) as MlflowPage;
    for (const { name, version, tags = [] } of page.model_versions ?? [])
      versions.push({ name, version, tags: new Map(tags.map(({ key, value }) => [key, value])) });
    token = page.next_page_token ?? '';
  }
  return versions;
}

/** Versions that MLflow has of a job beyond those that the gateway shows. */
function twinsAmong(
  versions: readonly MlflowVersion[],
  shown: ReadonlyMap<string, readonly string[]>,
): { jobId: string; version: string }[] {
  const counted = new Map<string, number>();
  return versions.flatMap(({ name, version, tags }) => {
    const jobId = tags.get('trainyard.job_id') ?? `(no job: ${name})`;
    const count = (counted.get(jobId) ?? 0) + 1;
    counted.set(jobId, count);
    return count > (shown.get(jobId)?.length ?? 0) ? [{ jobId, version: `MLflow ${name}/${version}` }] : [];
  });
}

/** Where MLflow shows another stage than the ledger says; the gateway would hide it. */
async function strangeStages({ database }: Site, inMlflow: readonly MlflowVersion[]): Promise<string[]> {
  const shown = new Map(
    inMlflow.map(({ tags }) => [
      `${tags.get('trainyard.name')}/${tags.get('trainyard.version')}`,
      tags.get('trainyard.stage'),
    ]),
  );
  const { rows } = await database.query<{ version: string; stage: string }>(
    `select model || '/' || version as version, stage from model_stages where project = $1`,
    [PROJECT],
  );
  return rows
    .filter(({ version, stage }) => shown.get(version) !== stage)
    .map(({ version, stage }) => `${version} is in ${stage}, and MLflow shows ${shown.get(version) ?? 'nothing'}`);
}
