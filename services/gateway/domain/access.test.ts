import { describe, expect, it } from 'vitest';
import { accessTo, hasRole, type Principal, ROLES } from './access.ts';

const member = (role: Principal['role']): Principal => ({ keyId: 'k', project: 'one', role });
const platform: Principal = { keyId: 'p', project: null, role: 'admin' };

describe('accessTo', () => {
  it('each role may do what the ones before it may', () => {
    for (const [i, role] of ROLES.entries())
      for (const [j, needed] of ROLES.entries()) expect(hasRole(member(role), needed)).toBe(i >= j);
  });
  it('a key acts in its own project, named or not', () => {
    expect(accessTo(member('viewer'), undefined, 'viewer')).toEqual({ ok: true, project: 'one' });
    expect(accessTo(member('viewer'), 'one', 'viewer')).toEqual({ ok: true, project: 'one' });
  });
  it('another project does not exist, before the role is looked at', () => {
    expect(accessTo(member('viewer'), 'two', 'admin')).toMatchObject({ ok: false, code: 'NotFound' });
  });
  it('a role too low is forbidden', () => {
    expect(accessTo(member('viewer'), 'one', 'submitter')).toMatchObject({ ok: false, code: 'Forbidden' });
  });
  it('a platform admin acts in the project named, or in all', () => {
    expect(accessTo(platform, 'two', 'admin')).toEqual({ ok: true, project: 'two' });
    expect(accessTo(platform, undefined, 'admin')).toEqual({ ok: true, project: null });
  });
});
