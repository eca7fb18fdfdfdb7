import type { ReleaseSettings } from '#lib/contracts/release.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { mayApprove } from './access.ts';
import { at, type Findings, type ReleasePeople } from './findings.ts';

/** What no schema can say about a release: nobody waits for an approval that cannot come, no canary runs that leads nowhere. */
export function checkRelease(
  release: ReleaseSettings | undefined,
  { submittedBy, people }: Pick<Findings, 'submittedBy' | 'people'>,
  pointer = '/spec/release',
): FieldError[] {
  if (release === undefined) return [];
  const { promote, approval, canary } = release;
  const errors: FieldError[] = [];
  const aimless = 'leads nowhere: nothing is promoted unless promote is true';
  if (!promote && approval !== undefined) errors.push(at(`${pointer}/approval`, aimless));
  if (!promote && canary !== undefined) errors.push(at(`${pointer}/canary`, aimless));
  if (promote && approval === undefined && !mayRelease(people))
    errors.push(at(`${pointer}/approval`, 'needs the role approver, or an approval'));
  if (approval !== undefined) errors.push(...checkApproval(approval, submittedBy, `${pointer}/approval`));
  if (approval?.approvers !== undefined && people !== null)
    errors.push(...checkApprovers(approval.approvers, submittedBy, people, `${pointer}/approval/approvers`));
  if (canary !== undefined) errors.push(...checkCanary(canary, `${pointer}/canary`));
  return errors;
}

/** What goes to production without being asked about has been decided by whoever submits it. */
const mayRelease = (people: ReleasePeople | null): boolean =>
  people !== null && people.role !== null && mayApprove(people.role);

function checkApprovers(
  approvers: readonly string[],
  submittedBy: string | null,
  people: ReleasePeople,
  pointer: string,
): FieldError[] {
  return approvers.flatMap((approver, i) =>
    approver === submittedBy || people.approvers.has(approver)
      ? []
      : [at(`${pointer}/${i}`, 'is no key of the project that may approve')],
  );
}

/** Each of them is a fact of the workflow's log, and a message to everybody. */
const MAX_REMINDERS = 500;

function checkApproval(
  approval: NonNullable<ReleaseSettings['approval']>,
  submittedBy: string | null,
  pointer: string,
): FieldError[] {
  const { expiresAfterHours, remindEveryHours } = approval;
  const reminders = expiresAfterHours / remindEveryHours;
  const tooMany =
    reminders <= MAX_REMINDERS
      ? []
      : [
          at(
            `${pointer}/remindEveryHours`,
            `must be at least ${expiresAfterHours / MAX_REMINDERS}: at most ${MAX_REMINDERS} reminders in expiresAfterHours (${expiresAfterHours})`,
          ),
        ];
  return [...tooMany, ...checkNames(approval, submittedBy, pointer)];
}

function checkNames(
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
