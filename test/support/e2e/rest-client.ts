import { FINAL_STATUSES, type JobStatus } from '#lib/contracts/jobs.ts';
import type { Body } from '../../../services/gateway/adapters/http/schemas.ts';
import { eventually } from '../eventually.ts';

export type Job = Body<'Job'>;
export type ActivityView = Body<'ActivityList'>['items'][number];
export type ModelVersion = Body<'ModelVersion'>;
export type Project = Body<'Project'>;

/** One fact of a job's log, as `GET /v1/jobs/{id}/events` shows it. */
export interface JobEvent {
  readonly seq: number;
  readonly type: string;
  readonly at: string;
  readonly state: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What a failed job says. */
export interface JobError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly logTail: readonly string[];
}

/** The gateway refused; `code` and the rest of the problem document are in `problem`. */
class Refused extends Error {
  readonly status: number;
  readonly problem: Readonly<Record<string, unknown>>;
  constructor(request: string, status: number, problem: Record<string, unknown>) {
    super(`${request}: ${status} ${JSON.stringify(problem)}`);
    this.name = 'Refused';
    this.status = status;
    this.problem = problem;
  }
}

interface Request {
  readonly method?: string;
  readonly json?: unknown;
  readonly raw?: Uint8Array | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request that a dead gateway never answers must not eat the bound of the test. */
const REQUEST_TIMEOUT_MS = 10_000;
/** A tiny job takes 2 to 4 s alone; killed workers, back-off and a busy machine come on top. */
const JOB_WITHIN_MS = 60_000;

/** The REST interface as one project's user, typed by the gateway's own schemas. Throws `Refused` for every answer that is not 2xx. */
export class RestClient {
  readonly project: string;
  readonly #baseUrl: () => string;
  readonly #key: () => string;

  constructor(options: { readonly baseUrl: () => string; readonly key: () => string; readonly project: string }) {
    this.project = options.project;
    this.#baseUrl = options.baseUrl;
    this.#key = options.key;
  }

  async request<T>(path: string, { method, json, raw, headers = {} }: Request = {}): Promise<T> {
    const body = raw ?? (json === undefined ? undefined : JSON.stringify(json));
    const verb = method ?? (body === undefined ? 'GET' : 'POST');
    const response = await fetch(new URL(path, this.#baseUrl()), {
      method: verb,
      headers: {
        authorization: `Bearer ${this.#key()}`,
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: body as string }),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const text = await response.text();
    const answer = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
    if (!response.ok) throw new Refused(`${verb} ${path}`, response.status, answer);
    return answer as T;
  }

  submit(job: object): Promise<Job> {
    return this.request('/v1/jobs', { json: { project: this.project, ...job } });
  }

  job(id: string): Promise<Job> {
    return this.request(`/v1/jobs/${id}`);
  }

  cancel(id: string): Promise<Job> {
    return this.request(`/v1/jobs/${id}/cancel`, { json: { reason: 'a test says so' } });
  }

  async activities(id: string): Promise<ActivityView[]> {
    return (await this.request<Body<'ActivityList'>>(`/v1/jobs/${id}/activities`)).items;
  }

  async activity(id: string, name: string): Promise<ActivityView | undefined> {
    return (await this.activities(id)).find((activity) => activity.name === name);
  }

  async events(id: string): Promise<JobEvent[]> {
    const page = await this.request<{ items: JobEvent[] }>(`/v1/jobs/${id}/events?limit=1000`);
    return page.items;
  }

  /** The output that the log has for a completed activity. */
  async output<T>(id: string, activity: string): Promise<T> {
    const events = await this.events(id);
    const done = events.find(({ type, data }) => type === 'ActivityCompleted' && data['activityId'] === activity);
    if (done === undefined) throw new Error(`${activity} is not completed`);
    return done.data['output'] as T;
  }

  async curves(id: string): Promise<Body<'Curves'>['series']> {
    return (await this.request<Body<'Curves'>>(`/v1/jobs/${id}/metrics?maxPoints=10000`)).series;
  }

  artifacts(id: string): Promise<Body<'Artifacts'>> {
    return this.request(`/v1/jobs/${id}/artifacts`);
  }

  /** Registered versions of a model, newest first; none for a model that does not exist. */
  async versions(model: string): Promise<ModelVersion[]> {
    try {
      const path = `/v1/models/${model}/versions?project=${this.project}&limit=200`;
      return (await this.request<Body<'ModelVersionPage'>>(path)).items;
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return [];
      throw error;
    }
  }

  async lanes(): Promise<Body<'LaneList'>['items']> {
    return (await this.request<Body<'LaneList'>>('/v1/lanes')).items;
  }

  budget(): Promise<Project> {
    return this.request(`/v1/projects/${this.project}`);
  }

  upload(dataset: string, body: Uint8Array | string, format = 'text'): Promise<Body<'DatasetVersion'>> {
    return this.request(`/v1/datasets/${dataset}/versions?project=${this.project}&format=${format}`, {
      raw: body,
      headers: { 'content-type': format === 'text' ? 'text/plain' : 'application/jsonl' },
    });
  }

  /** Waits until the job has a final status; the gateway may be away meanwhile. */
  async finished(id: string, withinMs = JOB_WITHIN_MS): Promise<Job> {
    return eventually(
      async () => {
        const job = await this.job(id);
        if (!FINAL_STATUSES.includes(job.status)) throw new Error(`the job is ${job.status} in ${job.step}`);
        return job;
      },
      { withinMs, everyMs: 50 },
    );
  }

  /** Waits for the job's end and fails with its log of events when that is not `status`. */
  async finishedAs(id: string, status: JobStatus, withinMs?: number): Promise<Job> {
    const job = await this.finished(id, withinMs);
    if (job.status === status) return job;
    const events = (await this.events(id)).map(({ seq, type, data }) => `${seq} ${type} ${JSON.stringify(data)}`);
    throw new Error(
      `job ${id} ended ${job.status}, not ${status}: ${JSON.stringify(job.error)}\n${events.join('\n').slice(0, 8_000)}`,
    );
  }

  /** Waits until the activity is in the state and satisfies `also`; throws at once when the job ended before that. */
  async activityIs(
    id: string,
    name: string,
    also: (activity: ActivityView) => boolean,
    options: { readonly withinMs?: number; readonly everyMs?: number } = {},
  ): Promise<ActivityView> {
    const found = await eventually(
      async () => {
        const activity = await this.activity(id, name);
        if (activity !== undefined && also(activity)) return { activity };
        const job = await this.job(id);
        if (FINAL_STATUSES.includes(job.status)) return { job };
        throw new Error(`${name} is ${activity?.state ?? 'not there'}, the job in ${job.step}`);
      },
      { withinMs: options.withinMs ?? 30_000, everyMs: options.everyMs ?? 15 },
    );
    if (found.activity !== undefined) return found.activity;
    throw new Error(
      `${name} was never as wanted; the job ended ${found.job.status} ${JSON.stringify(found.job.error)}`,
    );
  }
}

export const errorOf = (job: Job): JobError => job.error as JobError;
