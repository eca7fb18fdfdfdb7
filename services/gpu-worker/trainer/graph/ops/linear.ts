import { invariant } from '#lib/kernel/errors.ts';
import type { Value } from '../onnx-model.ts';
import { single, type Tape } from '../tape.ts';

/** `x @ weight + bias` with x [n, in] and weight [in, out] (GPT-2's Conv1D), or `x @ weightᵀ` when `transposed` ([out, in]). */
export function linear(
  tape: Tape,
  x: Value,
  weight: Value,
  options: { bias?: Value; transposed?: boolean } = {},
): Value {
  const transposed = options.transposed ?? false;
  const [rows, inner] = matrix(x);
  const [a, b] = matrix(weight);
  const [weightIn, columns] = transposed ? [b, a] : [a, b];
  invariant(inner === weightIn, `linear: ${x.shape.join()} times ${weight.shape.join()}`);
  const { graph } = tape;
  const bias = options.bias;
  const inputs = bias === undefined ? [x, weight] : [x, weight, bias];
  const y = graph.node('Gemm', inputs, [rows, columns], { attributes: { transB: transposed ? 1 : 0 } });
  tape.record(
    [y],
    inputs,
    single((dy, add) => {
      if (tape.isTracked(x)) {
        add(x, graph.node('Gemm', [dy, weight], x.shape, { attributes: { transB: transposed ? 0 : 1 } }));
      }
      if (tape.isTracked(weight)) {
        const factors = transposed ? [dy, x] : [x, dy];
        add(weight, graph.node('Gemm', factors, weight.shape, { attributes: { transA: 1 } }));
      }
      if (bias !== undefined && tape.isTracked(bias)) add(bias, sumRows(tape, dy));
    }),
  );
  return y;
}

/** Batched `alpha * a @ b` over the last two axes, or `alpha * a @ bᵀ` when `transposed`. */
export function batchedMatMul(tape: Tape, a: Value, b: Value, options: { transposed: boolean; alpha: number }): Value {
  const { transposed, alpha } = options;
  const lead = a.shape.slice(0, -2);
  const [m, inner] = [a.shape.at(-2) ?? 1, a.shape.at(-1) ?? 1];
  const [columns, bInner] = transposed ? [b.shape.at(-2) ?? 1, b.shape.at(-1)] : [b.shape.at(-1) ?? 1, b.shape.at(-2)];
  invariant(inner === bInner, `batchedMatMul: ${a.shape.join()} times ${b.shape.join()}`);
  const product = (x: Value, y: Value, shape: readonly number[], transA: boolean, transB: boolean): Value =>
    tape.graph.node('FusedMatMul', [x, y], shape, {
      domain: 'com.microsoft',
      attributes: { alpha: { float: alpha }, transA: transA ? 1 : 0, transB: transB ? 1 : 0 },
    });
  const y = product(a, b, [...lead, m, columns], false, transposed);
  tape.record(
    [y],
    [a, b],
    single((dy, add) => {
      if (tape.isTracked(a)) add(a, product(dy, b, a.shape, false, !transposed));
      if (tape.isTracked(b)) {
        add(b, transposed ? product(dy, a, b.shape, true, false) : product(a, dy, b.shape, true, false));
      }
    }),
  );
  return y;
}

/** Sum over the rows of a matrix: [n, c] -> [c]. */
export function sumRows(tape: Tape, x: Value): Value {
  const [, columns] = matrix(x);
  return tape.graph.node('ReduceSum', [x, tape.graph.integers([0])], [columns], { attributes: { keepdims: 0 } });
}

function matrix(value: Value): [number, number] {
  const [rows, columns] = value.shape;
  invariant(rows !== undefined && columns !== undefined && value.shape.length === 2, `${value.name} is not a matrix`);
  return [rows, columns];
}
