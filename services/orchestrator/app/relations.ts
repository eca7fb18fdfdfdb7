import type { Effect } from '../domain/workflow-state.ts';
import type { Announcements } from './announcements.ts';
import type { Batch } from './batch.ts';
import type { Cell } from './cell.ts';

/** Effects outside the workflow itself: children and parents, people, the promotion ledger, traffic. */
type Relation = Extract<
  Effect,
  { type: 'startChild' | 'cancelChild' | 'signal' | 'approvalChanged' | 'promote' | 'startCanary' | 'endCanary' }
>;

const RELATIONS: readonly string[] = [
  'startChild',
  'cancelChild',
  'signal',
  'approvalChanged',
  'promote',
  'startCanary',
  'endCanary',
] satisfies readonly Relation['type'][];

export const isRelation = (effect: Effect): effect is Relation => RELATIONS.includes(effect.type);

/** Turns one into rows and messages of the batch. */
export function carryOutRelation(
  to: { readonly batch: Batch; readonly announce: Announcements; readonly nowMs: number },
  cell: Cell,
  effect: Relation,
): void {
  const { batch, announce, nowMs } = to;
  const { header, workflowId, seq } = cell;
  if (header === null) return;
  const { jobId, project } = header;
  switch (effect.type) {
    case 'startChild': {
      const { childId, jobType } = effect;
      batch.children.push({
        jobId: effect.jobId,
        parentJobId: jobId,
        jobType,
        keySuffix: `~${childId}`,
        workflowId: effect.workflowId,
        specJson: JSON.stringify(effect.spec),
        atMs: nowMs,
      });
      batch.messages.push(announce.startChild(cell, effect, nowMs));
      return;
    }
    case 'cancelChild':
      batch.messages.push(announce.cancel(effect.workflowId, workflowId, effect.reason, nowMs));
      return;
    case 'signal': {
      const id = `signal:${workflowId}:${seq}:${effect.signal}:${effect.workflowId}`;
      batch.messages.push(announce.signal(effect.workflowId, effect, { id, from: workflowId }, nowMs));
      return;
    }
    case 'approvalChanged': {
      const id = `${jobId}-${effect.ticket.approval}`;
      batch.approval({ id, project, jobId, workflowId, ticket: effect.ticket });
      batch.messages.push(announce.approvalChanged(cell, id, effect.ticket, effect.reminder, nowMs));
      return;
    }
    case 'promote':
      batch.promotions.push({ project, ...effect.promotion, jobId, requestedBy: 'workflow', atMs: nowMs });
      return;
    case 'startCanary': {
      const { model, version, baseline, settings } = effect.canary;
      const { weightPercent } = settings;
      const policyJson = JSON.stringify(settings);
      const split = { project, model, canary: version, baseline, weightPercent, jobId, workflowId, policyJson };
      batch.splitsStarted.push({ ...split, atMs: nowMs });
      return;
    }
    case 'endCanary':
      batch.splitsEnded.push({ project, model: effect.model, jobId, outcome: effect.outcome, atMs: nowMs });
      return;
  }
}
