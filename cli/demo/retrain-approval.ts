import type { Job } from './api-answers.ts';
import { PROJECT } from './demo-jobs.ts';
import type { DemoScene } from './demo-platform.ts';
import { Approval, ApprovalList } from './retrain-answers.ts';
import { approverKey } from './retrain-beginning.ts';
import type { RestClient } from './rest-client.ts';

/** Whoever decides, with a key of their own. */
export async function approverOf(scene: DemoScene): Promise<RestClient> {
  return scene.client.withKey(await approverKey(scene));
}

/** Plays the person who approves, and says what a status means. Called once a status. */
export async function onStatus({ console }: DemoScene, { id, status }: Job, approver: RestClient): Promise<void> {
  if (status === 'CANARY') console.say('canary: half of the people are answered by the new version');
  if (status !== 'AWAITING_APPROVAL') return;
  const query = `project=${PROJECT}&job=${id}&status=open`;
  const { items } = await approver.call(ApprovalList, `/v1/approvals?${query}`);
  for (const ticket of items) {
    const body = { digest: ticket.digest, comment: 'read the comparison' };
    await approver.call(Approval, `/v1/approvals/${ticket.id}/approve`, { method: 'POST', body });
    console.say(`approved ${ticket.id}: model and reports with the digest ${ticket.digest.slice(0, 16)}…`);
  }
}
