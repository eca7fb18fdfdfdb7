import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '../../schemas/avro');

/** Texts of today's schemas, in name order. */
export const schemas = (): string[] => read(FOLDER);

/** Texts of the schemas of every release, `schemas/avro/released/<number>/`, oldest release first. */
export const releasedSchemas = (): string[] =>
  readdirSync(join(FOLDER, 'released'))
    .sort((a, b) => Number(a) - Number(b))
    .flatMap((release) => read(join(FOLDER, 'released', release)));

const read = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.avsc'))
    .sort()
    .map((name) => readFileSync(join(folder, name), 'utf8'));
