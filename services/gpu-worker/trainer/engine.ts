import { InferenceSession, Tensor } from 'onnxruntime-node';
import { invariant } from '#lib/kernel/errors.ts';
import { type GraphBuilder, sizeOf, type Value } from './graph/onnx-model.ts';

export type TensorData = Float32Array | Int32Array | Uint8Array;

export interface EngineOptions {
  /** Threads inside one operator. 1 costs the least CPU per step; 2 gave 1.15x to 1.6x for twice the CPU (170 k, 2.2 M). */
  readonly threads: number;
}

/** One compiled graph bound to its memory: `run` reads the bound inputs and overwrites the bound outputs. */
export interface Program {
  /** Computes all outputs. Blocks the thread for one step, but lets signals and timers through before each. */
  run(): Promise<void>;
  /** The memory bound to an output; the same array for the life of the program. */
  output(name: string): Float32Array;
  release(): Promise<void>;
}

/** Memory by name. Inputs not named are an error; outputs not named get memory of their own. */
export interface Bindings {
  readonly inputs: Readonly<Record<string, TensorData>>;
  readonly outputs?: Readonly<Record<string, Float32Array>>;
}

const ORT_LOG_ERRORS_ONLY = 3;

/**
 * Compiles the graph with onnxruntime and binds its inputs and outputs to memory. Views of larger arrays are bound without
 * a copy, so parameters and gradients live in flat arrays that the optimiser walks.
 */
export async function compile(graph: GraphBuilder, bindings: Bindings, options: EngineOptions): Promise<Program> {
  const session = await InferenceSession.create(graph.encode(), {
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: ORT_LOG_ERRORS_ONLY,
    // A spinning pool doubles the CPU time of two threads on a busy machine.
    ...(options.threads > 1 ? { extra: { session: { intra_op: { allow_spinning: '0' } } } } : {}),
  });
  const feeds: Record<string, Tensor> = {};
  for (const value of graph.inputValues) {
    // onnxruntime drops inputs that no node uses and refuses to be fed with them.
    if (!session.inputNames.includes(value.name)) continue;
    const data = bindings.inputs[value.name];
    invariant(data !== undefined, `no memory for input ${value.name}`);
    feeds[value.name] = bind(value, data);
  }
  const outputs = new Map<string, Float32Array>();
  const fetches: Record<string, Tensor> = {};
  for (const value of graph.outputValues) {
    const data = bindings.outputs?.[value.name] ?? new Float32Array(sizeOf(value.shape));
    outputs.set(value.name, data);
    fetches[value.name] = bind(value, data);
  }
  return {
    async run() {
      await session.run(feeds, fetches);
    },
    output(name) {
      const data = outputs.get(name);
      invariant(data !== undefined, `no output ${name}`);
      return data;
    },
    release: () => session.release(),
  };
}

function bind(value: Value, data: TensorData): Tensor {
  const size = sizeOf(value.shape);
  invariant(data.length === size, `${value.name}: ${data.length} elements bound to shape [${value.shape.join()}]`);
  if (value.type === 'float32' && data instanceof Float32Array) return new Tensor('float32', data, value.shape);
  if (value.type === 'int32' && data instanceof Int32Array) return new Tensor('int32', data, value.shape);
  invariant(value.type === 'uint8' && data instanceof Uint8Array, `${value.name}: memory of another element type`);
  return new Tensor('uint8', data, value.shape);
}
