/** Rows named one by one for each kind; the rest are counted. */
const MAX_LISTED_ROWS = 20;

interface RowFinding {
  /** Line of the file, from 1. */
  readonly row: number;
  readonly message: string;
}

export interface Listed<Kind> {
  readonly kind: Kind;
  readonly count: number;
  /** The first of them. */
  readonly first: readonly RowFinding[];
}

/** What was found in rows, by kind, in the order of `kinds`. */
export class RowFindings<Kind extends string> {
  readonly #kinds: readonly Kind[];
  readonly #found = new Map<Kind, { count: number; first: RowFinding[] }>();

  constructor(kinds: readonly Kind[]) {
    this.#kinds = kinds;
  }

  add(kind: Kind, row: number, message: string): void {
    const found = this.#found.get(kind) ?? { count: 0, first: [] };
    found.count += 1;
    if (found.first.length < MAX_LISTED_ROWS) found.first.push({ row, message });
    this.#found.set(kind, found);
  }

  listed(): Listed<Kind>[] {
    return this.#kinds.flatMap((kind) => {
      const found = this.#found.get(kind);
      return found === undefined ? [] : [{ kind, ...found }];
    });
  }
}
