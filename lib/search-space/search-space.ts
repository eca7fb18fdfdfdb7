import { type Static, Type } from '#typebox';

/** Parallel coordinates and marginals of more parameters than this tell nobody anything, and TPE needs far more trials than a sweep has. */
const MAX_PARAMETERS = 64;
const MAX_CHOICES = 256;
const MAX_CONSTRAINTS = 32;
const MAX_TERMS = 16;
/** Products of more parameters than this were never needed (`batch * accumulation * devices` has three). */
const MAX_FACTORS = 4;

/** A path into what is tuned: `learningRate`, `lora.rank`. */
export const ParameterName = Type.String({
  pattern: '^[A-Za-z][A-Za-z0-9_]*(?:\\.[A-Za-z][A-Za-z0-9_]*)*$',
  maxLength: 100,
});

export const Choice = Type.Union([Type.String({ maxLength: 200 }), Type.Number(), Type.Boolean()]);
/** A value of a parameter. */
export type Choice = Static<typeof Choice>;

/** The parameter exists only while another one is active and has this value, or one of these. */
const Condition = Type.Union([
  Type.Object({ parameter: ParameterName, equals: Choice }, { additionalProperties: false }),
  Type.Object(
    { parameter: ParameterName, in: Type.Array(Choice, { minItems: 1, maxItems: MAX_CHOICES }) },
    { additionalProperties: false },
  ),
]);
export type Condition = Static<typeof Condition>;

/** Any number in [min, max]; with `step` only min, min + step, ... max. `log`: uniform in the logarithm; not together with `step`. */
const FloatParameter = Type.Object(
  {
    name: ParameterName,
    type: Type.Literal('float'),
    min: Type.Number(),
    max: Type.Number(),
    log: Type.Optional(Type.Boolean()),
    step: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
    when: Type.Optional(Condition),
  },
  { additionalProperties: false },
);

/** min, min + step, ... max; `step` is 1 when absent. `log`: uniform in the logarithm; only with step 1. */
const IntParameter = Type.Object(
  {
    name: ParameterName,
    type: Type.Literal('int'),
    min: Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
    max: Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
    log: Type.Optional(Type.Boolean()),
    step: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
    when: Type.Optional(Condition),
  },
  { additionalProperties: false },
);

/** One of the choices; they have no order, whatever their type. */
const CategoricalParameter = Type.Object(
  {
    name: ParameterName,
    type: Type.Literal('categorical'),
    choices: Type.Array(Choice, { minItems: 1, maxItems: MAX_CHOICES }),
    when: Type.Optional(Condition),
  },
  { additionalProperties: false },
);

const Parameter = Type.Union([FloatParameter, IntParameter, CategoricalParameter]);
export type Parameter = Static<typeof Parameter>;
export type CategoricalParameter = Static<typeof CategoricalParameter>;
export type NumericParameter = Static<typeof FloatParameter> | Static<typeof IntParameter>;

/** `factor` (1 when absent) times the product of the parameters. */
const Term = Type.Object(
  {
    factor: Type.Optional(Type.Number()),
    parameters: Type.Array(ParameterName, { minItems: 1, maxItems: MAX_FACTORS }),
  },
  { additionalProperties: false },
);

/** A number, a parameter, or a sum of terms plus a constant (0 when absent). Data, never program text. */
const Operand = Type.Union([
  Type.Number(),
  Type.Object({ parameter: ParameterName }, { additionalProperties: false }),
  Type.Object(
    { terms: Type.Array(Term, { minItems: 1, maxItems: MAX_TERMS }), constant: Type.Optional(Type.Number()) },
    { additionalProperties: false },
  ),
]);
export type Operand = Static<typeof Operand>;

const Operator = Type.Union([
  Type.Literal('<'),
  Type.Literal('<='),
  Type.Literal('>'),
  Type.Literal('>='),
  Type.Literal('=='),
  Type.Literal('!='),
]);

/** Must hold for every configuration in which all its parameters are active; else it says nothing. */
const Constraint = Type.Object({ left: Operand, operator: Operator, right: Operand }, { additionalProperties: false });
export type Constraint = Static<typeof Constraint>;

/**
 * What a search may try. Parameters are a list, not an object: their order is the order of the grid and of every table,
 * and JSON objects lose theirs in the database. The schema checks shapes; `checkSearchSpace` checks the meaning.
 */
export const SearchSpace = Type.Object(
  {
    parameters: Type.Array(Parameter, { minItems: 1, maxItems: MAX_PARAMETERS }),
    constraints: Type.Optional(Type.Array(Constraint, { maxItems: MAX_CONSTRAINTS })),
  },
  { additionalProperties: false },
);
export type SearchSpace = Static<typeof SearchSpace>;
