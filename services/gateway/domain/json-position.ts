type Expected = 'value' | 'valueOrEnd' | 'key' | 'keyOrEnd' | 'colon' | 'commaOrEnd' | 'end';

const WHITE_SPACE = /[ \t\n\r]*/y;
/** A number or a word. */
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/**
 * Index of the first character at which `text` stops being JSON (RFC 8259); its length when it ends too early; null when it is JSON.
 * `JSON.parse` tells the place only for some mistakes. Needs no stack of its own per level, so depth does not matter.
 */
export function jsonErrorPosition(text: string): number | null {
  const open: ('[' | '{')[] = [];
  let expected: Expected = 'value';
  for (let at = skip(WHITE_SPACE, text, 0); at < text.length; at = skip(WHITE_SPACE, text, at)) {
    const character = text[at] ?? '';
    const next = punctuation(expected, character, open);
    if (next !== null) {
      expected = next;
      at += 1;
      continue;
    }
    const isKey: boolean = expected === 'key' || expected === 'keyOrEnd';
    if (!isKey && expected !== 'value' && expected !== 'valueOrEnd') return at;
    if (character === '"') {
      const { end, closed } = scanString(text, at + 1);
      if (!closed) return end;
      at = end;
    } else {
      const end = isKey ? at : skip(SCALAR, text, at);
      if (end === at) return at;
      at = end;
    }
    expected = isKey ? 'colon' : after(open);
  }
  return expected === 'end' ? null : text.length;
}

/** What comes after a punctuation mark that is allowed here, or null when it is none. */
function punctuation(expected: Expected, character: string, open: ('[' | '{')[]): Expected | null {
  const wantsValue = expected === 'value' || expected === 'valueOrEnd';
  if (wantsValue && (character === '[' || character === '{')) {
    open.push(character);
    return character === '[' ? 'valueOrEnd' : 'keyOrEnd';
  }
  if (expected === 'colon') return character === ':' ? 'value' : null;
  const inside = open.at(-1);
  if (expected === 'commaOrEnd' && character === ',') return inside === '[' ? 'value' : 'key';
  const closes =
    (inside === '[' && character === ']' && expected !== 'value') ||
    (inside === '{' && character === '}' && (expected === 'keyOrEnd' || expected === 'commaOrEnd'));
  if (!closes) return null;
  open.pop();
  return after(open);
}

const after = (open: readonly string[]): Expected => (open.length === 0 ? 'end' : 'commaOrEnd');

function scanString(text: string, from: number): { end: number; closed: boolean } {
  for (let at = from; at < text.length; ) {
    const character = text[at] ?? '';
    if (character === '"') return { end: at + 1, closed: true };
    if (character < ' ') return { end: at, closed: false };
    const end = character === '\\' ? skip(ESCAPE, text, at) : at + 1;
    if (end === at) return { end: at, closed: false };
    at = end;
  }
  return { end: text.length, closed: false };
}

function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}
