import { type FactAt, timed } from '../support/given-when-then.ts';
import {
  activityCompleted,
  activityFailed,
  activityStarted,
  cancelRequested,
  checkpointSaved,
  executionTimedOut,
  leaseEnded,
  upTo,
  workflowStarted,
} from './fine-tune-facts.ts';
import { FLOW_HISTORIES } from './flow-histories.ts';

const at = (atMs: number, fact: FactAt['fact']): FactAt => ({ fact, atMs });

/** What `record.ts` writes down: one log for each way a workflow can go. Times are fixed. */
export const HISTORIES: Readonly<Record<string, readonly FactAt[]>> = {
  'fine_tune@1-happy-path': timed(upTo(null)),
  'fine_tune@1-eval-failed': timed([
    ...upTo('run_evaluation', [{ metric: 'held_out.bits_per_byte', operator: '<', threshold: 2 }]),
    activityCompleted('run_evaluation'),
  ]),
  'fine_tune@1-retry-lost-resume': timed([
    ...upTo('run_training'),
    at(1_010_000, activityStarted('run_training', 1, 1_009_000)),
    at(1_020_000, checkpointSaved(50, 1)),
    at(1_030_000, leaseEnded('run_training', 1, 'lost')),
    at(1_040_000, activityStarted('run_training', 2, 1_039_500)),
    at(1_050_000, checkpointSaved(100, 2)),
    at(1_060_000, activityFailed('run_training', 2)),
    at(1_061_000, leaseEnded('run_training', 3, 'not_started')),
    at(1_062_000, {
      type: 'LateMessageIgnored',
      data: { message: 'ActivityCompleted', activityId: 'run_training', epoch: 1 },
    }),
    at(1_070_000, activityStarted('run_training', 4, 1_070_000)),
    at(1_080_000, {
      type: 'ActivityYielded',
      data: {
        activityId: 'run_training',
        epoch: 4,
        workerId: 'w2',
        startedAtMs: 1_070_000,
        reason: 'WorkerStopping',
      },
    }),
    at(1_080_500, {
      type: 'ActivityDeclined',
      data: { activityId: 'run_training', epoch: 5, workerId: 'w3', reason: 'NoFreeSlot' },
    }),
    at(1_100_000, activityCompleted('run_training', { epoch: 6, startedAtMs: 1_090_000 })),
    activityCompleted('upload_artifacts'),
    activityCompleted('run_evaluation'),
    activityCompleted('register_model'),
  ]),
  'fine_tune@1-failed': timed([workflowStarted(), activityFailed('validate_dataset', 1, false)]),
  'fine_tune@1-cancelled': timed([
    ...upTo('run_training'),
    activityStarted('run_training', 1, 1_003_500),
    cancelRequested,
  ]),
  'fine_tune@1-failed-after-retries': timed([
    ...upTo('preprocess_data'),
    activityFailed('preprocess_data', 1),
    activityFailed('preprocess_data', 2),
    activityFailed('preprocess_data', 3),
  ]),
  'fine_tune@1-failed-lost-workers': timed([
    ...upTo('run_training'),
    ...[1, 2, 3, 4, 5].flatMap((epoch) => [
      activityStarted('run_training', epoch, 1_004_000 + epoch),
      leaseEnded('run_training', epoch, 'lost'),
    ]),
  ]),
  'fine_tune@1-failed-stalled': timed([
    ...upTo('run_evaluation'),
    activityStarted('run_evaluation', 1, 1_005_500),
    leaseEnded('run_evaluation', 1, 'stalled'),
    activityStarted('run_evaluation', 2, 1_007_500),
    leaseEnded('run_evaluation', 2, 'timed_out'),
    activityStarted('run_evaluation', 3, 1_009_500),
    leaseEnded('run_evaluation', 3, 'stalled'),
  ]),
  'fine_tune@1-cancelled-while-queued': timed([
    workflowStarted(),
    cancelRequested,
    {
      type: 'LateMessageIgnored',
      data: { message: 'ActivityStarted', activityId: 'validate_dataset', epoch: 1 },
    },
  ]),
  'fine_tune@1-open-with-a-stray-timer': timed([
    ...upTo('run_training'),
    { type: 'TimerFired', data: { name: 'nobody-waits' } },
    activityStarted('run_training', 1, 1_003_500),
    checkpointSaved(50, 1),
  ]),
  'fine_tune@1-timed-out': timed([...upTo('run_training'), at(173_800_000, executionTimedOut)]),
  ...FLOW_HISTORIES,
};
