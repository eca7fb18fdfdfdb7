import type { MessagingMigration } from '#lib/messaging/migrate.ts';
import type { ServerExit } from '#lib/postgres/embedded-server.ts';
import type { MigrationResult } from '#lib/postgres/migrate.ts';

/** What happens to the processes of a platform, for a console or a test. */
export type PlatformEvent =
  | { readonly type: 'leftover_found'; readonly name: string; readonly pid: number }
  | { readonly type: 'database_migrated'; readonly result: MigrationResult }
  | { readonly type: 'messaging_migrated'; readonly result: MessagingMigration }
  | { readonly type: 'process_started'; readonly name: string; readonly pid: number }
  /** `afterMs` since the start of the process. */
  | { readonly type: 'process_ready'; readonly name: string; readonly pid: number; readonly afterMs: number }
  /** Not asked for by us; it is started again after `restartInMs`, or given up (null). */
  | {
      readonly type: 'process_crashed';
      readonly name: string;
      readonly pid: number | null;
      readonly exit: ProcessExit;
      readonly afterMs: number;
      readonly restartInMs: number | null;
    }
  /** Gave no sign of life for so long that it is killed with its group now; `process_crashed` follows. `reason`: what the last probe met. */
  | {
      readonly type: 'process_hung';
      readonly name: string;
      readonly pid: number;
      readonly silentMs: number;
      readonly reason: string;
    }
  | { readonly type: 'process_stopped'; readonly name: string; readonly exit: ProcessExit; readonly killed: boolean };

/** `error` when the program could not be started at all. */
export interface ProcessExit extends ServerExit {
  readonly error?: string;
}

export type OnPlatformEvent = (event: PlatformEvent) => void;
