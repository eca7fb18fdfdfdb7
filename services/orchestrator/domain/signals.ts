import { type Static, type TSchema, Type } from '#typebox';
import { Value } from '#typebox/value';
import { FINAL_STATUSES, type JobStatus } from '#lib/contracts/jobs.ts';

const Text = Type.String({ maxLength: 2_000 });
const Reason = Type.Optional(Type.Union([Text, Type.Null()]));

/** A point of a child's curve; null: not a number. */
const Point = Type.Object({ step: Type.Integer({ minimum: 0 }), value: Type.Union([Type.Number(), Type.Null()]) });

/** What each signal carries. `pause` to `approval.void` are the engine's, the rest is for the machine. */
const SIGNALS = {
  pause: Type.Object({ reason: Reason }),
  /** With `reason`: only what was paused for it. */
  resume: Type.Object({ reason: Reason }),
  retry: Type.Object({}),
  'approval.vote': Type.Object({
    approval: Type.String(),
    decision: Type.Union([Type.Literal('approve'), Type.Literal('reject')]),
    comment: Type.Union([Text, Type.Null()]),
    digest: Type.String(),
  }),
  'approval.void': Type.Object({ approval: Type.String(), reason: Text }),
  'child.reported': Type.Object({ child: Type.String(), points: Type.Array(Point) }),
  /** A paused child has come to rest: nothing of it runs, and its state is stored. */
  'child.paused': Type.Object({ child: Type.String(), step: Type.Integer(), gpuSeconds: Type.Number() }),
  'child.resumed': Type.Object({ child: Type.String() }),
  'child.ended': Type.Object({
    child: Type.String(),
    jobId: Type.String(),
    status: Type.Unsafe<JobStatus>(Type.Union(FINAL_STATUSES.map((status) => Type.Literal(status)))),
    result: Type.Unknown(),
    error: Type.Unknown(),
    gpuSeconds: Type.Number(),
  }),
  /** `reports`: evidence of each metric, for people. */
  'canary.verdict': Type.Object({
    outcome: Type.Union([Type.Literal('pass'), Type.Literal('fail'), Type.Literal('inconclusive')]),
    reports: Type.Array(Type.Unknown()),
  }),
} as const satisfies Record<string, TSchema>;

export type SignalName = keyof typeof SIGNALS;
export type SignalData<S extends SignalName> = Static<(typeof SIGNALS)[S]>;

/** A signal for the machine, as it stands in the log. */
export type WorkflowSignal = {
  [S in MachineSignal]: { readonly signal: S; readonly data: SignalData<S>; readonly from: string };
}[MachineSignal];
type MachineSignal = 'child.reported' | 'child.paused' | 'child.resumed' | 'child.ended' | 'canary.verdict';

export type Signal = { [S in SignalName]: { readonly signal: S; readonly data: SignalData<S> } }[SignalName];

/** A signal as it came. Throws `SyntaxError` (dead letter) for an unknown name, JSON that does not parse, and members that are missing. */
export function parseSignal(signal: string, dataJson: string): Signal {
  if (!Object.hasOwn(SIGNALS, signal)) throw new SyntaxError(`there is no signal ${signal}`);
  const schema: TSchema = SIGNALS[signal as SignalName];
  const data: unknown = JSON.parse(dataJson);
  const [wrong] = Value.Errors(schema, data);
  if (wrong !== undefined) throw new SyntaxError(`signal ${signal}: ${wrong.instancePath || '/'} ${wrong.message}`);
  return { signal, data } as Signal;
}
