import type { Flow, FlowState } from './flow.ts';

/** The flow as a Mermaid state diagram: a state with what it does, an edge with what has to happen. */
export function flowPicture({ initial, states }: Flow): string[] {
  return [
    'stateDiagram-v2',
    `  [*] --> ${initial}`,
    ...states.flatMap(described),
    ...states.flatMap(({ name, work, next }) => [
      ...next.map(({ to, on }) => `  ${name} --> ${to}${on === '' ? '' : `: ${on}`}`),
      ...(work.kind === 'end' ? [`  ${name} --> [*]: ${work.status}`] : []),
    ]),
  ];
}

function described({ name, work }: FlowState): string[] {
  switch (work.kind) {
    case 'activity':
      return [`  ${name}: ${name} (${work.name} on ${work.lane})`];
    case 'child':
      return [`  ${name}: ${name} (child ${work.jobType})`];
    case 'coordinator':
      return [`  ${name}: ${name} (many children)`];
    case 'approval':
      return [`  ${name}: ${name} (people decide)`];
    case 'promotion':
      return [`  ${name}: ${name} (stage ${work.stage})`];
    case 'canary':
      return [`  ${name}: ${name} (share of the traffic)`];
    case 'choice':
      return [`  state ${name} <<choice>>`];
    case 'end':
      return [];
  }
}
