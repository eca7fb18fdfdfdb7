/** An error as node-postgres reports it: with a SQLSTATE. */
export class DatabaseError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** A broken connection: no SQLSTATE, the code of the system call (one that looks like an SQLSTATE). The outcome of what was sent is unknown. */
export const connectionLost = (): Error => Object.assign(new Error('connection lost'), { code: 'EPIPE' });

/** The server ends one of two transactions that wait for each other; nothing was written. */
export const deadlock = (): Error => new DatabaseError('40P01', 'deadlock detected');
