import type { ErrorCode } from '#lib/kernel/error-catalogue.ts';

/** Each role may do what the ones before it may. */
export const ROLES = ['viewer', 'submitter', 'approver', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** Who a request comes from. */
export interface Principal {
  readonly keyId: string;
  /** Null: a platform admin, who may act in every project. */
  readonly project: string | null;
  readonly role: Role;
}

export type Access =
  | { readonly ok: true; readonly project: string | null }
  | { readonly ok: false; readonly code: ErrorCode; readonly reason: string };

/** Whoever may approve may also release what nobody was asked about. */
export const mayApprove = (role: Role): boolean => ROLES.indexOf(role) >= ROLES.indexOf('approver');

export const hasRole = (principal: Principal, needed: Role): boolean =>
  ROLES.indexOf(principal.role) >= ROLES.indexOf(needed);

/**
 * The project a request acts in: the one it names, else the key's own; null only for a platform admin who names none.
 * Another project's name is `NotFound`, as if it did not exist; a role too low is `Forbidden`.
 */
export function accessTo(principal: Principal, named: string | undefined, needed: Role): Access {
  if (principal.project !== null && named !== undefined && named !== principal.project)
    return { ok: false, code: 'NotFound', reason: `there is no project ${named}` };
  if (!hasRole(principal, needed))
    return { ok: false, code: 'Forbidden', reason: `this needs the role ${needed}; the key has ${principal.role}` };
  return { ok: true, project: principal.project ?? named ?? null };
}
