import type { Flow, FlowState } from './flow.ts';

/** One row a state, in the order of the workflow's file. */
export function stepTable({ states }: Flow): string[] {
  return [
    '| state | what happens | lane | one attempt at most | then |',
    '|---|---|---|---|---|',
    ...states.map((state) => `| \`${state.name}\` | ${cells(state)} | ${nextOf(state)} |`),
  ];
}

function cells({ work }: FlowState): string {
  switch (work.kind) {
    case 'activity':
      return `\`${work.name}\` | ${work.lane} | ${time(work.startToCloseMs)}`;
    case 'child':
      return `a child \`${work.jobType}\` runs to its end | | `;
    case 'coordinator':
      return 'a controller starts children and listens to them | | ';
    case 'approval':
      return `approval \`${work.name}\`; the job is AWAITING_APPROVAL | | until it expires`;
    case 'promotion':
      return `an entry in the promotion ledger: \`${work.stage}\` | | `;
    case 'canary':
      return 'traffic is split and watched; the job is CANARY | | `canary.maximumHours`';
    case 'choice':
      return 'decided by what is known | | ';
    case 'end':
      return `end: **${work.status}** | | `;
  }
}

const nextOf = ({ next }: FlowState): string => [...new Set(next.map(({ to }) => `\`${to}\``))].join(', ');

const MINUTE_MS = 60_000;
const time = (ms: number): string => (ms < 60 * MINUTE_MS ? `${ms / MINUTE_MS} min` : `${ms / (60 * MINUTE_MS)} h`);
