/**
 * How plain text becomes documents. A form feed, or two blank lines in a row, always ends a document. A text without them (a book,
 * a log) would be one document, which a split by document could not divide; so a document is also closed, once it has
 * `DOCUMENT_CHARACTERS`, at the next blank line, or once it has twice that, at the next line end; a single line longer than that is
 * cut after a sentence, else at a space. Every cut depends on the text since the document began only.
 */
export interface TextDocuments {
  /** Takes the next line (without its line feed) and gives the documents it completes. */
  line(line: string): string[];
  /** The last document, if one is open. */
  end(): string[];
}

/** A page: small enough that 100 kB divide 9 to 1 by hash, big enough that few documents break a train of thought. */
export const DOCUMENT_CHARACTERS = 2_000;

/** A document splitter for one file. Documents of white space only are not given out. */
export function textDocuments(): TextDocuments {
  let lines: string[] = [];
  let characters = 0;
  let blankLines = 0;

  const close = (): string[] => {
    const text = lines.join('\n');
    lines = [];
    characters = 0;
    blankLines = 0;
    return text.trim() === '' ? [] : [text];
  };
  const take = (line: string): string[] => {
    if (line.trim() === '') {
      blankLines += 1;
      if (blankLines >= 2 || characters >= DOCUMENT_CHARACTERS) return close();
      lines.push('');
      return [];
    }
    blankLines = 0;
    lines.push(line);
    characters += line.length + 1;
    return characters >= 2 * DOCUMENT_CHARACTERS ? close() : [];
  };
  const takePage = (page: string): string[] =>
    page.length <= 2 * DOCUMENT_CHARACTERS ? take(page) : [...close(), ...cutLine(page)];

  return {
    line: (line) => {
      const physical = line.endsWith('\r') ? line.slice(0, -1) : line;
      // Old line ends (a lone CR) count as line ends too.
      return physical
        .split('\f')
        .flatMap((page, i) => [...(i > 0 ? close() : []), ...page.split('\r').flatMap(takePage)]);
    },
    end: close,
  };
}

/** A sentence's end: full stop, maybe a closing quote, then a space. */
const SENTENCE_END = /[.!?]["'”’)]? /;

/** Pieces of a very long line, each at most twice `DOCUMENT_CHARACTERS` long, in order; joined they are the line, spaces apart. */
function cutLine(line: string): string[] {
  const pieces: string[] = [];
  let rest = 0;
  while (line.length - rest > 2 * DOCUMENT_CHARACTERS) {
    const end = cutPoint(line, rest);
    pieces.push(line.slice(rest, end).trim());
    rest = end;
  }
  pieces.push(line.slice(rest).trim());
  return pieces.filter((piece) => piece !== '');
}

function cutPoint(line: string, from: number): number {
  const window = line.slice(from + DOCUMENT_CHARACTERS, from + 2 * DOCUMENT_CHARACTERS);
  const sentence = SENTENCE_END.exec(window);
  if (sentence !== null) return from + DOCUMENT_CHARACTERS + sentence.index + sentence[0].length;
  const space = window.indexOf(' ');
  if (space >= 0) return from + DOCUMENT_CHARACTERS + space + 1;
  const end = from + 2 * DOCUMENT_CHARACTERS;
  // Not between the halves of a surrogate pair.
  return /[\uD800-\uDBFF]/.test(line.charAt(end - 1)) ? end - 1 : end;
}
