import { createRequire } from 'node:module';
import kafkajs from 'kafkajs';
import { expect, it } from 'vitest';
import { asKafkaFailure } from './kafka-failure.ts';
import { guardKafkajs } from './kafkajs-guards.ts';

interface Loop {
  readonly running: boolean;
  readonly consumerGroup: { commitOffsets(offsets: unknown): Promise<void> };
  readonly retrier: unknown;
  readonly logger: { debug(): void };
}

const require = createRequire(import.meta.url);
const createRetry = require('kafkajs/src/retry') as (options: object) => unknown;

/** A commit by kafkajs's own loop, with what it needs of itself. */
function commit(running: boolean, answer: () => Promise<void>): Promise<void> {
  guardKafkajs();
  const { prototype } = require('kafkajs/src/consumer/runner') as {
    prototype: { commitOffsets(this: Loop, offsets: unknown): Promise<void> };
  };
  return prototype.commitOffsets.call(
    {
      running,
      consumerGroup: { commitOffsets: answer },
      retrier: createRetry({ initialRetryTime: 1, retries: 5 }),
      logger: { debug: () => undefined },
    },
    { topics: [] },
  );
}

it('a commit that a broken connection interrupts is not tried again behind our back: by then the partition may be another member’s', async () => {
  let tries = 0;
  const broken = (): Promise<void> => {
    tries++;
    return Promise.reject(new kafkajs.KafkaJSConnectionError('the broker is gone'));
  };
  const failure = await commit(true, broken).then(
    () => null,
    (error: unknown) => error,
  );
  expect(asKafkaFailure(failure)).toMatchObject({ code: 'ServiceUnavailable' });
  expect(tries).toBe(1);
});

it('a commit of a consumer that does not run is refused, not passed over in silence', async () => {
  const failure = await Promise.resolve(commit(false, async () => undefined)).then(
    () => null,
    (error: unknown) => error,
  );
  expect(asKafkaFailure(failure)).toMatchObject({ code: 'ServiceUnavailable' });
});
