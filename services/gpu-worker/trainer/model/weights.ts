import { invariant } from '#lib/kernel/errors.ts';
import type { TensorData } from '../engine.ts';
import type { Value } from '../graph/onnx-model.ts';
import { add, multiplyByData, scale } from '../graph/ops/elementwise.ts';
import { linear } from '../graph/ops/linear.ts';
import type { Tape } from '../graph/tape.ts';
import { type Gpt2Config, type Gpt2Weights, linearModules } from './gpt2.ts';
import { type Adapter, adaptedModules, loraA, loraB, loraScale } from './lora.ts';
import { type Nf4Matrix, nf4Inputs, nf4Value, quantiseNf4 } from './nf4.ts';
import { TensorSet, type TensorSpec } from './tensor-set.ts';

/**
 * A model in memory. `base` holds every tensor, or, when `quantised` is given, every tensor but the weights of the linear
 * layers, which then exist in 4 bits only.
 */
export interface Model {
  readonly config: Gpt2Config;
  readonly base: TensorSet;
  readonly quantised?: ReadonlyMap<string, Nf4Matrix>;
  readonly adapter?: Adapter;
}

/** The tensors that training changes: the adapter when there is one, else the whole base. */
export function trainableTensors(model: Model): TensorSet {
  if (model.adapter !== undefined) return model.adapter.tensors;
  invariant(model.quantised === undefined, 'quantised weights cannot be trained');
  return model.base;
}

/** Replaces the weights of the linear layers by their NF4 codes; the 32-bit ones become garbage. */
export function quantiseModel(model: Model): Model {
  const matrices = new Map<string, Nf4Matrix>();
  for (const { module, inputs, outputs } of linearModules(model.config)) {
    const name = `${module}.weight`;
    matrices.set(name, quantiseNf4(model.base.view(name), [inputs, outputs]));
  }
  const rest: TensorSpec[] = model.base.specs.filter(({ name }) => !matrices.has(name));
  const base = new TensorSet(rest);
  for (const { name } of rest) base.view(name).set(model.base.view(name));
  return { ...model, base, quantised: matrices };
}

/**
 * The model's weights as graph inputs. With `train`, gradients flow into `trainableTensors`. `dropout` gives the mask value of
 * an adapted layer's input (already divided by the share that is kept).
 */
export function graphWeights(
  tape: Tape,
  model: Model,
  options: { train: boolean; dropout?: (module: string, shape: readonly number[]) => Value },
): Gpt2Weights {
  const shapes = new Map([...model.base.specs, ...(model.adapter?.tensors.specs ?? [])].map((s) => [s.name, s.shape]));
  const trained = options.train ? trainableTensors(model) : undefined;
  const adapted = new Set(
    model.adapter === undefined ? [] : adaptedModules(model.config, model.adapter.config).map(({ module }) => module),
  );
  const dequantised = new Map<string, Value>();

  const tensor = (name: string): Value => {
    const matrix = model.quantised?.get(name);
    if (matrix !== undefined) {
      const value = dequantised.get(name) ?? nf4Value(tape, name, matrix);
      dequantised.set(name, value);
      return value;
    }
    const shape = shapes.get(name);
    invariant(shape !== undefined, `no tensor ${name}`);
    const value = tape.graph.input(name, 'float32', shape);
    return trained?.has(name) ? tape.track(value) : value;
  };

  return {
    tensor,
    linear(x, module) {
      const y = linear(tape, x, tensor(`${module}.weight`), { bias: tensor(`${module}.bias`) });
      if (model.adapter === undefined || !adapted.has(module)) return y;
      const dropped = options.dropout === undefined ? x : multiplyByData(tape, x, options.dropout(module, x.shape));
      const low = linear(tape, dropped, tensor(loraA(module)), { transposed: true });
      const update = linear(tape, low, tensor(loraB(module)), { transposed: true });
      return add(tape, y, scale(tape, update, loraScale(model.adapter.config)));
    },
  };
}

/** The memory to bind to the inputs that `graphWeights` asks for. */
export function weightInputs(model: Model): Record<string, TensorData> {
  const inputs: Record<string, TensorData> = {};
  for (const set of [model.base, model.adapter?.tensors]) {
    for (const { name } of set?.specs ?? []) inputs[name] = set?.view(name) ?? new Float32Array();
  }
  for (const [name, matrix] of model.quantised ?? []) Object.assign(inputs, nf4Inputs(name, matrix));
  return inputs;
}
