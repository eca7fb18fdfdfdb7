import { describe, expect, it } from 'vitest';
import { createLogger, displayUrl } from './logger.ts';

describe('createLogger', () => {
  it('writes JSON lines with the service and without secrets', () => {
    const lines: string[] = [];
    const logger = createLogger({
      service: 's',
      level: 'info',
      destination: { write: (line) => void lines.push(line) },
    });
    logger.info({ request: { headers: { authorization: 'Bearer ty_x' }, password: 'p' }, apiKey: 'k' }, 'hello');
    const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
    expect(line).toMatchObject({ level: 'info', service: 's', msg: 'hello', apiKey: '[redacted]' });
    expect(lines[0]).not.toMatch(/ty_x|"p"/);
  });

  it('shows addresses without passwords', () => {
    expect(displayUrl('postgresql://u:hunter2@h:1/db?password=x')).toBe('postgresql://u@h:1/db');
  });
});
