import { setTimeout as delay } from 'node:timers/promises';
import { COMPATIBILITY, SchemaType } from '@kafkajs/confluent-schema-registry';
import { MESSAGE_SCHEMAS } from '#lib/contracts/generated/messages.ts';
import { type MessageType, TOPICS } from '#lib/contracts/topics.ts';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { registryClient, type RegistrySettings, subjectOf, unreachable } from './registry-codec.ts';

/** What the registry answers to a schema that breaks its subject's rule; and to one of two migrations that set the same rule at once. */
const CONFLICT = 409;

/** A subject that another migration makes has its rule a moment later than its schema. */
const TRIES = 5;
const PAUSE_MS = 300;

/**
 * Registers every message of this release under its subject, with the rule of its topic. Idempotent: what is there stays; several may do it at once. Throws
 * `SchemaIncompatible` with the subject and the registry's reason (nothing of that subject is changed), `ServiceUnavailable` when it does not answer.
 * `schemas` is for tests.
 */
export async function registerSchemas(
  settings: RegistrySettings,
  schemas: Readonly<Record<MessageType, string>> = MESSAGE_SCHEMAS,
): Promise<readonly { subject: string; id: number }[]> {
  const registry = registryClient(settings);
  const registered: { subject: string; id: number }[] = [];
  // One after the other: a registry on one database answers parallel registrations with conflicts.
  for (const { type, compatibility } of messages()) {
    const subject = subjectOf(type);
    try {
      const schema = { type: SchemaType.AVRO, schema: schemas[type] } as const;
      const options = { subject, compatibility: COMPATIBILITY[compatibility] };
      const { id } = await triedAgain(() => registry.register(schema, options));
      registered.push({ subject, id });
    } catch (error) {
      if (!isRefusal(error)) throw unreachable(error);
      throw new TrainyardError('SchemaIncompatible', `${subject} cannot be registered: ${messageOf(error)}`, {
        cause: error,
        details: { subject, compatibility },
      });
    }
  }
  return registered;
}

async function triedAgain<T>(register: () => Promise<T>): Promise<T> {
  for (let left = TRIES - 1; ; left--) {
    try {
      return await register();
    } catch (error) {
      if (left === 0 || !isRefusal(error)) throw error;
      await delay(PAUSE_MS);
    }
  }
}

function messages(): { type: MessageType; compatibility: 'FULL_TRANSITIVE' | 'BACKWARD_TRANSITIVE' }[] {
  return Object.values(TOPICS).flatMap(({ messages: types, compatibility }) =>
    types.map((type) => ({ type, compatibility })),
  );
}

/** The registry's 409, or the client's own word that the subject has another rule. */
const isRefusal = (error: unknown): boolean =>
  (error as { status?: unknown }).status === CONFLICT ||
  (error as { name?: unknown }).name === 'ConfluentSchemaRegistryCompatibilityError';
