import type { RunState } from '../checkpoint.ts';
import type { DataPosition } from '../data/training-batches.ts';
import type { NamedTensor } from '../formats/safetensors.ts';
import type { TensorSet } from '../model/tensor-set.ts';

/** What one optimiser step learns. The gradient is `scale` times the array, which the objective may reuse for the next step. */
export interface StepGradients {
  readonly loss: number;
  readonly gradients: Float32Array;
  readonly scale: number;
  /** More curves by name; every step gives the same names. */
  readonly metrics?: Readonly<Record<string, number>>;
}

/** What a method minimises. All methods share the optimiser, the curves and the checkpoints around it (`TrainingRun`). */
export interface Objective {
  /** The tensors that change. */
  readonly trainable: TensorSet;
  /** Steps that share one batch of experience: points of curves are cut at their multiples. 1 unless rollouts are reused. */
  readonly stepsPerRound: number;
  /** Gradients of step `step` (from 1). May throw `StopRequested` as long as a repetition would start from the same state. */
  gradients(step: number): Promise<StepGradients>;
  dataPosition(): DataPosition;
  prngState(): number;
  /** Tensors besides the trainable ones that later steps depend on, as memory to save from and to restore into after `step` steps. */
  extra(step: number): readonly NamedTensor[];
  /** Called once after the tensors were restored. */
  restored(state: RunState): void;
  release(): Promise<void>;
}

/** Thrown inside a long computation when the program was asked to stop; whoever saves checkpoints catches it. */
export class StopRequested extends Error {}
