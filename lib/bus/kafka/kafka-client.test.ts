import { describe, expect, it } from 'vitest';
import { brokersOf } from './kafka-client.ts';

describe('BUS_URL for Kafka', () => {
  it('names one broker or several', () => {
    expect(brokersOf('kafka://127.0.0.1:9092')).toEqual(['127.0.0.1:9092']);
    expect(brokersOf('kafka://a.example:9092,b.example:9093/')).toEqual(['a.example:9092', 'b.example:9093']);
    expect(brokersOf('kafka://[::1]:9092')).toEqual(['[::1]:9092']);
  });

  it.each([
    'kafka://',
    'kafka://host',
    'kafka://host:port',
    'kafka://user:secret@host:9092',
    'kafka://a:1,,b:2',
    'kafka://a:1?x=1',
  ])('%s is refused by name, and not repeated', (url) => {
    let message = '';
    try {
      brokersOf(url);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toContain('BUS_URL cannot be used');
    expect(message).not.toContain('secret');
  });
});
