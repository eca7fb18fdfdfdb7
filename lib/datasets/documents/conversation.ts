import { normaliseText } from './normalisation.ts';

const ROLES = ['system', 'user', 'assistant'] as const;
type Role = (typeof ROLES)[number];

export interface ChatMessage {
  readonly role: Role;
  readonly content: string;
}

/** A list of messages, or what is wrong with it. Of a message only `role` and `content` are used. */
export function readMessages(name: string, value: readonly unknown[]): ChatMessage[] | { readonly wrong: string } {
  const messages: ChatMessage[] = [];
  for (const [at, member] of value.entries()) {
    const where = `message ${at + 1} of "${name}"`;
    if (typeof member !== 'object' || member === null) return { wrong: `${where} is not an object` };
    const { role, content } = member as { role?: unknown; content?: unknown };
    const known = ROLES.find((each) => each === role);
    if (known === undefined) return { wrong: `${where} has no role of ${ROLES.join(', ')}` };
    if (typeof content !== 'string') return { wrong: `${where} has no text as content` };
    if (!content.isWellFormed()) return { wrong: `${where} holds half of a surrogate pair` };
    messages.push({ role: known, content: normaliseText(content).trim() });
  }
  return messages;
}

/**
 * What is wrong with the order of a prompt's messages; null = nothing. A system message may come first; then user and assistant take turns,
 * and the user has the last word.
 */
export function wrongOrder(prompt: readonly ChatMessage[]): string | null {
  const turns = prompt[0]?.role === 'system' ? prompt.slice(1) : prompt;
  const wrong = turns.findIndex(({ role }, at) => role !== (at % 2 === 0 ? 'user' : 'assistant'));
  if (wrong >= 0) {
    const at = wrong + prompt.length - turns.length;
    return `message ${at + 1} is of the ${turns[wrong]?.role ?? ''}, where the ${wrong % 2 === 0 ? 'user' : 'assistant'}'s turn is`;
  }
  return turns.at(-1)?.role === 'user' ? null : 'the last message before the answer is not the user’s';
}

const TITLES: Readonly<Record<Role, string>> = { system: 'System', user: 'User', assistant: 'Assistant' };

/**
 * The text of a prompt: one paragraph a message, `User: ...`, and `Assistant:` at the end. Base models of this platform bring no chat
 * template; whoever samples from a model that was aligned to conversations must write prompts the same way.
 */
export const promptText = (prompt: readonly ChatMessage[]): string =>
  [...prompt.map(({ role, content }) => `${TITLES[role]}: ${content}`), `${TITLES.assistant}:`].join('\n\n');

/** The text of an answer, as it follows `promptText`. */
export const answerText = ({ content }: ChatMessage): string => (content === '' ? '' : ` ${content}`);

export const sameMessages = (a: readonly ChatMessage[], b: readonly ChatMessage[]): boolean =>
  a.length === b.length && a.every(({ role, content }, at) => b[at]?.role === role && b[at]?.content === content);
