import { Type } from '#typebox';
import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig, SERVICE_VARIABLES, VARIABLES } from './config.ts';

const Schema = Type.Object({
  ...SERVICE_VARIABLES,
  DATABASE_URL: VARIABLES.DATABASE_URL,
  BUS_URL: VARIABLES.BUS_URL,
  SLOTS: Type.Integer({ minimum: 1, default: 2, description: 'how many at once' }),
});
const GOOD = { DATABASE_URL: 'postgresql://u:secret@h/db' };

const problemsOf = (environment: Record<string, string>): ConfigError => {
  try {
    readConfig(Schema, environment);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('accepted');
};

describe('readConfig', () => {
  it('fills in defaults and converts numbers and booleans', () => {
    expect(readConfig(Schema, { ...GOOD, HEALTH_PORT: '9001', SUPERVISED: '1', OTHER: 'x' })).toEqual({
      ...GOOD,
      BUS_URL: 'postgres:',
      HOST: '127.0.0.1',
      HEALTH_PORT: 9001,
      LOG_LEVEL: 'info',
      STOP_TIMEOUT_MS: 8_000,
      SUPERVISED: true,
      SLOTS: 2,
    });
  });

  it('names a missing variable and what it is for', () => {
    const error = problemsOf({});
    expect(error.variables).toEqual(['DATABASE_URL']);
    expect(error.message).toMatch(/^DATABASE_URL: is missing \(PostgreSQL 15/);
  });

  it('takes an empty variable for an absent one', () => {
    expect(problemsOf({ DATABASE_URL: '' }).message).toContain('is missing');
    expect(readConfig(Schema, { ...GOOD, SLOTS: '' }).SLOTS).toBe(2);
  });

  it('names every malformed variable at once and shows no value', () => {
    const error = problemsOf({
      DATABASE_URL: 'mysql://u:hunter2@h/db',
      HEALTH_PORT: '80x',
      LOG_LEVEL: 'loud',
      SUPERVISED: 'yes',
      SLOTS: '0',
    });
    expect(error.variables.toSorted()).toEqual(['DATABASE_URL', 'HEALTH_PORT', 'LOG_LEVEL', 'SLOTS', 'SUPERVISED']);
    expect(error.message).toContain('LOG_LEVEL: must be one of trace, debug, info, warn, error, fatal');
    expect(error.message).not.toContain('hunter2');
  });
});
