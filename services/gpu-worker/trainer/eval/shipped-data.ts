import { readFile } from 'node:fs/promises';
import type { Static, TSchema } from '#typebox';
import { Value } from '#typebox/value';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { required } from '../failure.ts';

/** Reads `data/<name>.json` and checks it; throws `TrainerBadData` naming what is wrong. */
export async function readShipped<Schema extends TSchema>(name: string, schema: Schema): Promise<Static<Schema>> {
  const file = new URL(`data/${name}.json`, import.meta.url);
  const text = await required(`eval/data/${name}.json`, () => readFile(file, 'utf8'));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new TrainyardError('TrainerBadData', `${name}: ${messageOf(error)}`, { cause: error });
  }
  if (Value.Check(schema, json)) return json;
  const error = Value.Errors(schema, json)[0];
  throw new TrainyardError('TrainerBadData', `${name}: ${error?.instancePath ?? ''} ${error?.message ?? ''}`);
}
