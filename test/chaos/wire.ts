import { setTimeout as delay } from 'node:timers/promises';
import { type Decoded, decodeMessage, type Message } from '#lib/contracts/envelope.ts';
import { type BusDoor, type LyingMessage, READ_TOPICS } from './bus-door.ts';

export interface Wire {
  readonly messages: number;
  /** Messages whose id lay on its topic before, by topic; none of them may have had an effect. */
  readonly duplicates: Readonly<Record<string, number>>;
  readonly deadLetters: number;
  readonly violations: readonly string[];
}

/** Consumer groups whose positions must reach the end. */
const GROUPS = ['orchestrator', 'cpu-workers', 'gpu-workers', 'gateway-ingress', 'drift-monitor'];

/**
 * Reads everything that went over the bus, after everything has ended: what came twice, whether two lives of workers ran one attempt, whether any
 * consumer stands still, and what was given up.
 */
export async function readWire(door: BusDoor): Promise<Wire> {
  const seen = new Map<string, number>();
  const duplicates: Record<string, number> = {};
  const runners = new Map<string, Set<string>>();
  const letters: string[] = [];
  let messages = 0;
  const look = (lying: LyingMessage): void => {
    messages++;
    const key = `${lying.topic} ${lying.headers['ce_id']}`;
    const before = seen.get(key) ?? 0;
    seen.set(key, before + 1);
    if (before > 0) duplicates[lying.topic] = (duplicates[lying.topic] ?? 0) + 1;
    if (lying.topic !== 'activities.events' && lying.topic !== 'trainyard.dlq') return;
    const decoded = decodeMessage(door.codec, { ...lying, partition: 0, offset: 0 });
    if (lying.topic === 'trainyard.dlq') letters.push(letterText(decoded));
    else noteRunner(runners, decoded);
  };
  await door.read(READ_TOPICS, look);
  const violations = letters.map((letter) => `a message went to the dead letters: ${letter}`).slice(0, 5);
  for (const [attempt, lives] of runners)
    if (lives.size > 1) violations.push(`attempt ${attempt} was run by ${[...lives].join(' and ')}`);
  for (const group of GROUPS) {
    const behind = await stillBehind(door, group);
    if (behind.length > 0) violations.push(`group ${group} has not processed everything: ${behind.join(', ')}`);
  }
  return { messages, duplicates, deadLetters: letters.length, violations };
}

/** Who says that it runs, or ran, an attempt. */
function noteRunner(runners: Map<string, Set<string>>, decoded: Decoded): void {
  if (!decoded.ok) return;
  const { message } = decoded;
  if (!isOfRunner(message)) return;
  const { workflowId, activityId, epoch, workerId, incarnation } = message.payload;
  const attempt = `${workflowId}/${activityId}/${epoch}`;
  const lives = runners.get(attempt) ?? new Set();
  runners.set(attempt, lives.add(`${workerId} (${incarnation})`));
}

type RunnerMessage = Extract<
  Message,
  { type: 'ActivityStarted' | 'ActivityCompleted' | 'ActivityFailed' | 'ActivityYielded' }
>;

const RUNNER_TYPES: readonly string[] = [
  'ActivityStarted',
  'ActivityCompleted',
  'ActivityFailed',
  'ActivityYielded',
] satisfies RunnerMessage['type'][];

const isOfRunner = (message: Message): message is RunnerMessage => RUNNER_TYPES.includes(message.type);

function letterText(decoded: Decoded): string {
  if (!decoded.ok) return decoded.reason;
  return decoded.message.type === 'DeadLetter'
    ? `${decoded.message.payload.code}: ${decoded.message.payload.reason}`
    : decoded.message.type;
}

const LAG_WITHIN_MS = 15_000;
const LAG_EVERY_MS = 200;

/** Partitions in which the group was behind at every look of a while: announcements of workers keep coming, and are behind for a moment. */
async function stillBehind(door: BusDoor, group: string): Promise<readonly string[]> {
  const partitionOf = (line: string): string => line.slice(0, line.indexOf(':'));
  let behind = await door.lagging(group);
  for (const deadline = Date.now() + LAG_WITHIN_MS; behind.length > 0 && Date.now() < deadline; ) {
    await delay(LAG_EVERY_MS);
    const now = new Set((await door.lagging(group)).map(partitionOf));
    behind = behind.filter((line) => now.has(partitionOf(line)));
  }
  return behind;
}
