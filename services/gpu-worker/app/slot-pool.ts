import { invariant } from '#lib/kernel/errors.ts';

export interface Slot {
  readonly index: number;
  /** What a program in this slot gets to see: its own device. */
  readonly environment: Readonly<Record<string, string>>;
}

/** The GPU slots of this node; one training program each. */
export class SlotPool {
  readonly #free: Slot[];

  /** `deviceIndexes`: one slot per device; an empty list = `count` slots simulated on the CPU. */
  constructor(deviceIndexes: readonly number[], count: number) {
    this.#free =
      deviceIndexes.length > 0
        ? deviceIndexes
            .slice(0, count)
            .map((device, index) => ({ index, environment: { CUDA_VISIBLE_DEVICES: String(device) } }))
        : Array.from({ length: count }, (_, index) => ({ index, environment: {} }));
  }

  take(): Slot {
    const slot = this.#free.shift();
    invariant(slot !== undefined, 'the worker never runs more attempts than slots');
    return slot;
  }

  give(slot: Slot): void {
    this.#free.push(slot);
  }
}
