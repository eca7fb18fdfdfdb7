/** `run` null = cancelled. */
export interface QueuedEvent {
  readonly atMs: number;
  readonly tie: number;
  readonly label: string;
  run: (() => void) | null;
}

const before = (a: QueuedEvent, b: QueuedEvent): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.tie < b.tie);

/** A binary heap by time, then by the drawn tie. */
export class EventQueue {
  readonly #heap: QueuedEvent[] = [];

  peek(): QueuedEvent | null {
    while (this.#heap[0]?.run === null) this.pop();
    return this.#heap[0] ?? null;
  }

  push(event: QueuedEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent] as QueuedEvent)) break;
      heap[at] = heap[parent] as QueuedEvent;
      at = parent;
    }
    heap[at] = event;
  }

  pop(): QueuedEvent | null {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) return null;
    if (heap.length > 0) this.#sink(last);
    return first;
  }

  #sink(event: QueuedEvent): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as QueuedEvent, heap[child] as QueuedEvent)) child += 1;
      if (!before(heap[child] as QueuedEvent, event)) break;
      heap[at] = heap[child] as QueuedEvent;
      at = child;
    }
    heap[at] = event;
  }
}
