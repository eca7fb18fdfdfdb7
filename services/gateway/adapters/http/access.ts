import type { FastifyInstance, FastifyRequest } from 'fastify';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Authenticator } from '../../app/api-keys.ts';
import { accessTo, hasRole, type Principal, type Role } from '../../domain/access.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Null: no key, or none of ours. */
    principal: Principal | null;
  }
}

/** Finds out who asks; refusing comes later (`requireKey`), so that requests without a key are limited too. */
export function identifyCallers(app: FastifyInstance, authenticator: Authenticator): void {
  app.decorateRequest('principal', null);
  app.addHook('onRequest', async (request) => {
    const key = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (key !== undefined) request.principal = await authenticator.identify(key);
  });
}

/** 401 for every route of the scope; after the rate limit, which runs last in `onRequest`, and before the body is read. */
export function requireKey(app: FastifyInstance): void {
  app.addHook('preParsing', async (request) => {
    principalOf(request);
  });
}

export function principalOf({ principal }: FastifyRequest): Principal {
  if (principal === null) throw new TrainyardError('Unauthenticated', 'no API key, or one that is not known');
  return principal;
}

/** The project that the request acts in; null = a platform admin who names none, which means all of them. */
export function scopeOf(request: FastifyRequest, role: Role, named?: string): string | null {
  const access = accessTo(principalOf(request), named, role);
  if (!access.ok) throw new TrainyardError(access.code, access.reason);
  return access.project;
}

/** The same where one project is needed; `pointer` says where it can be named. */
export function projectOf(request: FastifyRequest, role: Role, named: string | undefined, pointer: string): string {
  const project = scopeOf(request, role, named);
  if (project !== null) return project;
  throw new TrainyardError('ValidationFailed', 'a platform admin names the project', {
    fields: [{ pointer, message: "is required with a platform admin's key" }],
  });
}

export function requirePlatformAdmin(request: FastifyRequest, project: string): void {
  const principal = principalOf(request);
  if (principal.project === null && hasRole(principal, 'admin')) return;
  // Another project does not exist for this key; its own does, but is not its to change.
  if (principal.project !== project) throw new TrainyardError('NotFound', `there is no project ${project}`);
  throw new TrainyardError('Forbidden', 'this needs a platform admin');
}
