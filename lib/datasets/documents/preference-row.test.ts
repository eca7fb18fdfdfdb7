import { describe, expect, test } from 'vitest';
import { readPreferenceRow } from './preference-row.ts';

const read = (row: unknown) => readPreferenceRow(typeof row === 'string' ? row : JSON.stringify(row));
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const system = (content: string) => ({ role: 'system', content });

describe('the shapes of TRL', () => {
  test('an explicit prompt is taken as it is, with the white space of the completions', () => {
    expect(read({ prompt: 'The sky is', chosen: ' blue.', rejected: ' green. ', score: 3 })).toEqual({
      ok: true,
      shape: 'explicit',
      pair: { prompt: 'The sky is', chosen: ' blue.', rejected: ' green.' },
    });
  });

  test.each([
    ['The sky is blue.', 'The sky is green.', 'The sky is', ' blue.', ' green.'],
    // Words are not cut: the models never see a prompt that ends in half a word.
    ['The sky is great.', 'The sky is green.', 'The sky is', ' great.', ' green.'],
    ['Go on: bluebird', 'Go on: blue bird', 'Go on:', ' bluebird', ' blue bird'],
    ['Go on: blue bird', 'Go on: blue\tbird', 'Go on: blue', ' bird', '\tbird'],
    ['Human: Hi\n\nAssistant: Hello', 'Human: Hi\n\nAssistant: Go', 'Human: Hi\n\nAssistant:', ' Hello', ' Go'],
    // White space nowhere: the first difference, never inside a character.
    ['Q:good', 'Q:bad', 'Q:', 'good', 'bad'],
    ['Q:\u{1f600}', 'Q:\u{1f601}', 'Q:', '\u{1f600}', '\u{1f601}'],
  ])('an implicit prompt is the beginning that %j and %j share', (chosen, rejected, prompt, good, bad) => {
    expect(read({ chosen, rejected })).toEqual({
      ok: true,
      shape: 'implicit',
      pair: { prompt, chosen: good, rejected: bad },
    });
  });

  test('an explicit prompt may be a conversation', () => {
    const prompt = [system('Be kind.'), user('Hi'), assistant('Yes?'), user('Who are you?')];
    expect(read({ prompt, chosen: [assistant('A friend.')], rejected: [assistant('Nobody.')] })).toEqual({
      ok: true,
      shape: 'explicit conversation',
      pair: {
        prompt: 'System: Be kind.\n\nUser: Hi\n\nAssistant: Yes?\n\nUser: Who are you?\n\nAssistant:',
        chosen: ' A friend.',
        rejected: ' Nobody.',
      },
    });
  });

  test('an implicit prompt is every message but the last', () => {
    const outcome = read({ chosen: [user('Hi'), assistant('Hello')], rejected: [user('Hi'), assistant('Go')] });
    expect(outcome).toEqual({
      ok: true,
      shape: 'implicit conversation',
      pair: { prompt: 'User: Hi\n\nAssistant:', chosen: ' Hello', rejected: ' Go' },
    });
  });

  test('a prompt that is null is absent, as in tables whose other rows have one', () => {
    expect(read({ prompt: null, chosen: 'a b', rejected: 'a c' })).toMatchObject({ ok: true, shape: 'implicit' });
  });

  test('text is normalised before it is compared', () => {
    expect(read({ prompt: 'Caf\u0065\u0301\r\n', chosen: 'a\r\nb', rejected: 'a\nb ' })).toMatchObject({
      fault: 'equalPair',
    });
  });

  test('a line of white space is no row', () => {
    expect(read(' \t')).toBeNull();
  });
});

describe('a row that cannot be learnt from is refused as', () => {
  const talk = (answer: string) => [user('Hi'), assistant(answer)];
  test.each([
    ['malformed', 'not JSON: ', '{"chosen":'],
    ['malformed', 'not a JSON object', '["a"]'],
    ['malformed', '"rejected" is missing', { chosen: 'a' }],
    ['malformed', '"chosen" is missing', { prompt: 'p', chosen: null, rejected: 'b' }],
    ['malformed', 'not all strings', { prompt: 'p', chosen: 'a', rejected: 7 }],
    ['malformed', 'not all strings', { prompt: 'p', chosen: [assistant('a')], rejected: [assistant('b')] }],
    ['malformed', '"chosen" holds half of a surrogate pair', '{"prompt":"p","chosen":"\\ud800","rejected":"b"}'],
    ['malformed', 'message 2 of "chosen" has no role', { chosen: [user('a'), { content: 'b' }], rejected: talk('c') }],
    ['malformed', 'message 1 of "chosen" has no role', { chosen: [{ role: 'tool', content: 'b' }], rejected: [] }],
    ['malformed', 'message 1 of "chosen" is not an object', { chosen: ['hi'], rejected: talk('c') }],
    ['malformed', 'has no text as content', { chosen: [{ role: 'user', content: 7 }], rejected: talk('c') }],
    ['equalPair', 'are the same', { prompt: 'p', chosen: ' a', rejected: ' a' }],
    ['equalPair', 'are the same', { chosen: 'p a', rejected: 'p a ' }],
    ['equalPair', 'are the same', { chosen: talk('a'), rejected: talk(' a') }],
    ['emptyPrompt', '"prompt" is empty', { prompt: ' \n', chosen: 'a', rejected: 'b' }],
    ['emptyPrompt', 'the completions share no beginning', { chosen: 'a', rejected: 'b' }],
    ['emptyPrompt', 'the prompt has no message', { prompt: [], chosen: [assistant('a')], rejected: [assistant('b')] }],
    ['emptyPrompt', 'the prompt has no message', { chosen: [assistant('a')], rejected: [assistant('b')] }],
    [
      'emptyPrompt',
      'a message of the prompt is empty',
      { chosen: [user(' '), assistant('a')], rejected: [user(''), assistant('b')] },
    ],
    ['emptyCompletion', '"rejected" is empty', { prompt: 'p', chosen: 'a', rejected: ' ' }],
    ['emptyCompletion', '"rejected" is empty after the shared beginning', { chosen: 'p a', rejected: 'p' }],
    ['emptyCompletion', '"rejected" is empty', { chosen: talk('a'), rejected: talk(' ') }],
    ['emptyCompletion', '"chosen" has no message', { prompt: [user('Hi')], chosen: [], rejected: [assistant('b')] }],
    [
      'wrongRoles',
      'the last message of "chosen" is of the user, not of the assistant',
      { prompt: [user('Hi')], chosen: [user('a')], rejected: [assistant('b')] },
    ],
    [
      'wrongRoles',
      '"rejected" has 2 messages beside a "prompt", not one answer',
      { prompt: [user('Hi')], chosen: [assistant('a')], rejected: talk('b') },
    ],
    [
      'wrongRoles',
      'message 1 is of the assistant, where the user',
      { prompt: [assistant('Hi')], chosen: [assistant('a')], rejected: [assistant('b')] },
    ],
    [
      'wrongRoles',
      'message 3 is of the user, where the assistant',
      { prompt: [system('s'), user('a'), user('b')], chosen: [assistant('a')], rejected: [assistant('b')] },
    ],
    [
      'wrongRoles',
      'message 2 is of the system',
      { prompt: [user('a'), system('s')], chosen: [assistant('a')], rejected: [assistant('b')] },
    ],
    [
      'wrongRoles',
      'the last message before the answer is not the user',
      { prompt: [user('a'), assistant('b')], chosen: [assistant('a')], rejected: [assistant('b')] },
    ],
    [
      'wrongRoles',
      'the last message before the answer is not the user',
      { prompt: [system('a')], chosen: [assistant('a')], rejected: [assistant('b')] },
    ],
    [
      'promptsDiffer',
      'the messages before the last one differ',
      { chosen: talk('a'), rejected: [user('Ho'), assistant('b')] },
    ],
  ])('%s: %s', (fault, message, row) => {
    expect(read(row)).toEqual({ ok: false, fault, message: expect.stringContaining(message) });
  });

  test('malformed, and never quoted at length', () => {
    const outcome = read('x'.repeat(10_000));
    expect(outcome !== null && !outcome.ok ? outcome.message : '').toMatch(/^not JSON: .{1,160}$/);
  });
});
