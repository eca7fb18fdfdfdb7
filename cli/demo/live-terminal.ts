import type { Screen } from './progress-frame.ts';
import { type Line, painted, widthOf } from './text-style.ts';

const HIDE_CURSOR = '\u001B[?25l';
const SHOW_CURSOR = '\u001B[?25h';
const TO_LINE_START = '\r';
const UP = (rows: number): string => (rows > 0 ? `\u001B[${rows}A` : '');
const ERASE_TO_END = '\u001B[J';
const ERASE_LINE_END = '\u001B[K';
/** When the terminal does not say. */
const DEFAULT_SCREEN: Screen = { columns: 80, rows: 24 };

/** Lines at the end of a terminal that are drawn again in place; everything else scrolls above them. */
export class LiveTerminal {
  readonly #stream: NodeJS.WriteStream;
  readonly #colour: boolean;
  #drawn: readonly Line[] = [];

  constructor(stream: NodeJS.WriteStream, colour: boolean) {
    this.#stream = stream;
    this.#colour = colour;
  }

  get screen(): Screen {
    const { columns, rows } = this.#stream;
    return { columns: columns || DEFAULT_SCREEN.columns, rows: rows || DEFAULT_SCREEN.rows };
  }

  /** Replaces what was drawn before. The lines must fit the screen. One write: a frame is never seen half. */
  draw(lines: readonly Line[]): void {
    const text = lines.map((line) => `${painted(line, this.#colour)}${ERASE_LINE_END}\n`).join('');
    this.#stream.write(HIDE_CURSOR + this.#home() + text + ERASE_TO_END);
    this.#drawn = lines;
  }

  /** What is drawn stays where it is. */
  keep(): void {
    this.#drawn = [];
    this.#stream.write(SHOW_CURSOR);
  }

  /** A line above the drawn ones. */
  print(line: string): void {
    const drawn = this.#drawn;
    this.#stream.write(`${this.#home()}${ERASE_TO_END}${line}\n`);
    this.#drawn = [];
    if (drawn.length > 0) this.draw(drawn);
  }

  /** To the first drawn row. A window made narrower has wrapped the rows it shows. */
  #home(): string {
    const { columns } = this.screen;
    const rows = this.#drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(widthOf(line) / columns)), 0);
    return TO_LINE_START + UP(rows);
  }
}
