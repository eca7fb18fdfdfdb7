import type { ReleaseSettings } from '#lib/contracts/release.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { at } from './findings.ts';

/** What no schema can say about a release: nobody waits for an approval that cannot come, no canary runs that leads nowhere. */
export function checkRelease(
  release: ReleaseSettings | undefined,
  submittedBy: string | null,
  pointer = '/spec/release',
): FieldError[] {
  if (release === undefined) return [];
  const { promote, approval, canary } = release;
  const errors: FieldError[] = [];
  const aimless = 'leads nowhere: nothing is promoted unless promote is true';
  if (!promote && approval !== undefined) errors.push(at(`${pointer}/approval`, aimless));
  if (!promote && canary !== undefined) errors.push(at(`${pointer}/canary`, aimless));
  if (approval !== undefined) errors.push(...checkApproval(approval, submittedBy, `${pointer}/approval`));
  if (canary !== undefined) errors.push(...checkCanary(canary, `${pointer}/canary`));
  return errors;
}

function checkApproval(
  { required, approvers }: NonNullable<ReleaseSettings['approval']>,
  submittedBy: string | null,
  pointer: string,
): FieldError[] {
  if (approvers === undefined) return [];
  if (required > approvers.length)
    return [at(`${pointer}/required`, `asks for ${required} of ${approvers.length} approvers`)];
  const others = approvers.filter((approver) => approver !== submittedBy);
  if (others.length === 0)
    return [at(`${pointer}/approvers`, 'names only whoever submits the job, and nobody approves a job of their own')];
  if (required > others.length)
    return [
      at(`${pointer}/approvers`, `has ${others.length} besides whoever submits the job; ${required} are required`),
    ];
  return [];
}

function checkCanary(
  { minimumHours, maximumHours, metrics }: NonNullable<ReleaseSettings['canary']>,
  pointer: string,
): FieldError[] {
  const errors: FieldError[] = [];
  if (minimumHours > maximumHours)
    errors.push(at(`${pointer}/minimumHours`, `must be at most maximumHours (${maximumHours})`));
  const keys = metrics.map(({ name, against }) => `${name} against ${against}`);
  keys.forEach((key, index) => {
    if (keys.indexOf(key) < index) errors.push(at(`${pointer}/metrics/${index}`, `${key} is listed twice`));
  });
  return errors;
}
