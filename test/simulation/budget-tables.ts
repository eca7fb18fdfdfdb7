/** A row of `projects`. */
export interface ProjectRow {
  readonly id: string;
  readonly maxRunningWorkflows: number;
  readonly gpuSecondsBudget: number;
  readonly gpuSecondsReserved: number;
  readonly gpuSecondsUsed: number;
}

/** A row of `budget_ledger`; unique by job and kind. */
export interface LedgerRow {
  readonly project: string;
  readonly jobId: string;
  readonly kind: 'reserve' | 'settle';
  readonly reserved: number;
  readonly used: number;
}

/** `projects` and `budget_ledger`: what is reserved at submission and settled at the end. */
export class BudgetTables {
  readonly projects = new Map<string, ProjectRow>();
  readonly ledger: LedgerRow[] = [];
  readonly #keys = new Set<string>();

  /** False when the project's free seconds do not cover it; then nothing changed. */
  reserve(projectId: string, jobId: string, gpuSeconds: number): boolean {
    const project = this.projects.get(projectId);
    if (project === undefined) return false;
    if (project.gpuSecondsBudget - project.gpuSecondsUsed - project.gpuSecondsReserved < gpuSeconds) return false;
    this.insert({ project: projectId, jobId, kind: 'reserve', reserved: gpuSeconds, used: 0 });
    this.projects.set(projectId, { ...project, gpuSecondsReserved: project.gpuSecondsReserved + gpuSeconds });
    return true;
  }

  /** Frees the reservation and books what was used. A later end of the job, after a retry, books the difference. */
  settle(projectId: string, jobId: string, reserved: number, used: number): void {
    const row: LedgerRow = { project: projectId, jobId, kind: 'settle', reserved: -reserved, used };
    const at = this.ledger.findIndex((other) => other.jobId === jobId && other.kind === 'settle');
    const booked = this.ledger[at];
    if (booked === undefined) this.insert(row);
    else this.ledger[at] = { ...booked, used };
    const project = this.projects.get(projectId);
    if (project === undefined) return;
    this.projects.set(projectId, {
      ...project,
      gpuSecondsReserved: Math.max(0, project.gpuSecondsReserved - (booked === undefined ? reserved : 0)),
      gpuSecondsUsed: project.gpuSecondsUsed + used - (booked?.used ?? 0),
    });
  }

  /** `on conflict (job_id, kind) do nothing`. */
  insert(row: LedgerRow): boolean {
    const key = `${row.jobId} ${row.kind}`;
    if (this.#keys.has(key)) return false;
    this.#keys.add(key);
    this.ledger.push(row);
    return true;
  }
}
