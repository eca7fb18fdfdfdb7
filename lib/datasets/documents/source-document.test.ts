import { describe, expect, test } from 'vitest';
import { documentReader } from './source-document.ts';

describe('a line of {"text"} rows', () => {
  const read = (line: string) => documentReader('jsonl_text').line(line);

  test('is one document, further members ignored', () => {
    expect(read('{"text":"a\\nb","source":7}')).toEqual({ ok: true, documents: [{ prompt: '', text: 'a\nb' }] });
  });
  test('of white space is skipped', () => {
    expect(read(' \t')).toEqual({ ok: true, documents: [] });
  });
  test.each([
    ['is not JSON', '{"text":', 'NotJson'],
    ['is a list', '["a"]', 'NotAnObject'],
    ['is null', 'null', 'NotAnObject'],
    ['lacks the member', '{"txt":"a"}', 'MissingField'],
    ['only inherits the member', '{"__proto__":{"text":"a"}}', 'MissingField'],
    ['has a number there', '{"text":1}', 'WrongFieldType'],
    ['has half of a surrogate pair', '{"text":"\\ud800"}', 'LoneSurrogate'],
  ])('that %s is malformed', (_, line, fault) => {
    expect(read(line)).toMatchObject({ ok: false, fault });
  });
  test('is never quoted at length in the message', () => {
    const outcome = read('x'.repeat(10_000));
    expect(outcome.ok ? '' : outcome.message).toMatch(/^not JSON: .{1,160}$/);
  });
});

describe('a line of {"prompt","completion"} rows', () => {
  const read = (line: string) => documentReader('jsonl_prompt_completion').line(line);

  test('is one document whose completion is its text', () => {
    expect(read('{"prompt":"Q","completion":" A"}')).toEqual({ ok: true, documents: [{ prompt: 'Q', text: ' A' }] });
  });
  test('may have an empty prompt', () => {
    expect(read('{"prompt":"","completion":"A"}')).toMatchObject({ ok: true });
  });
  test.each([
    ['lacks the prompt', '{"completion":"a"}', 'MissingField'],
    ['lacks the completion', '{"prompt":"a"}', 'MissingField'],
    ['has a list as completion', '{"prompt":"a","completion":["b"]}', 'WrongFieldType'],
    ['has nothing to learn', '{"prompt":"a","completion":" "}', 'EmptyCompletion'],
  ])('that %s is malformed', (_, line, fault) => {
    expect(read(line)).toMatchObject({ ok: false, fault });
  });
});

test('a line of plain text is never malformed', () => {
  const reader = documentReader('text');
  expect(reader.line('{"text":')).toEqual({ ok: true, documents: [] });
  expect(reader.end()).toEqual([{ prompt: '', text: '{"text":' }]);
});
