import type { Queryable } from '#lib/postgres/database.ts';
import type { Project } from '../../app/ports.ts';

interface ProjectRecord {
  id: string;
  display_name: string;
  tier: string;
  max_running_workflows: number;
  gpu_seconds_budget: number;
  gpu_seconds_reserved: number;
  gpu_seconds_used: number;
  created_at: Date;
}

const COLUMNS = `id, display_name, tier, max_running_workflows, gpu_seconds_budget, gpu_seconds_reserved, gpu_seconds_used, created_at`;

const projectOf = (row: ProjectRecord): Project => ({
  id: row.id,
  displayName: row.display_name,
  tier: row.tier,
  maxRunningWorkflows: row.max_running_workflows,
  gpuSecondsBudget: row.gpu_seconds_budget,
  gpuSecondsReserved: row.gpu_seconds_reserved,
  gpuSecondsUsed: row.gpu_seconds_used,
  createdAt: row.created_at,
});

export interface ProjectChange {
  readonly displayName?: string;
  readonly tier?: string;
  readonly maxRunningWorkflows?: number;
  readonly gpuSecondsBudget?: number;
}

/** What a new project has unless it is said. The budget is 100 GPU hours. */
const DEFAULTS = { displayName: '', tier: 'standard', maxRunningWorkflows: 8, gpuSecondsBudget: 360_000 };

export async function findProject(database: Queryable, id: string): Promise<Project | null> {
  const { rows } = await database.query<ProjectRecord>(`select ${COLUMNS} from projects where id = $1`, [id]);
  return rows[0] === undefined ? null : projectOf(rows[0]);
}

export async function listProjects(
  database: Queryable,
  page: { readonly limit: number; readonly after: string | null },
): Promise<{ items: Project[]; next: string | null }> {
  const { rows } = await database.query<ProjectRecord>(
    `select ${COLUMNS} from projects where id > $1 order by id limit $2`,
    [page.after ?? '', page.limit + 1],
  );
  const items = rows.slice(0, page.limit).map(projectOf);
  return { items, next: rows.length > page.limit ? (items.at(-1)?.id ?? null) : null };
}

/** Creates the project, or changes the members that are given. */
export async function putProject(
  database: Queryable,
  id: string,
  change: ProjectChange,
): Promise<{ project: Project; created: boolean }> {
  const { displayName = null, tier = null, maxRunningWorkflows = null, gpuSecondsBudget = null } = change;
  const { rows } = await database.query<ProjectRecord & { created: boolean }>(
    `insert into projects as p (id, display_name, tier, max_running_workflows, gpu_seconds_budget)
     values ($1, coalesce($2, $6), coalesce($3, $7), coalesce($4::int, $8::int), coalesce($5::float8, $9::float8))
     on conflict (id) do update set
       display_name = coalesce($2, p.display_name), tier = coalesce($3, p.tier),
       max_running_workflows = coalesce($4::int, p.max_running_workflows),
       gpu_seconds_budget = coalesce($5::float8, p.gpu_seconds_budget)
     returning ${COLUMNS}, xmax = 0 as created`,
    [id, displayName, tier, maxRunningWorkflows, gpuSecondsBudget, ...Object.values(DEFAULTS)],
  );
  const [row] = rows;
  if (row === undefined) throw new Error('upsert returned no row');
  return { project: projectOf(row), created: row.created };
}
