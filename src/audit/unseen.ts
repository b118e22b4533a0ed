/**
 * How many acknowledged records nobody had read yet, over time: a backlog that grows and shrinks is lag, one
 * that stays is loss.
 */
import type { Evidence } from "./evidence.ts";
import { NONE, StepKind } from "./words.ts";

export interface UnseenAt {
  readonly atMs: number;
  readonly count: number;
}

/** At most this many points, evenly over the events. */
export const unseenPointsMax = 100;

export function unseenOverTime(evidence: Evidence): readonly UnseenAt[] {
  const { events, operations, steps } = evidence.history;
  const every = Math.ceil(events.length / unseenPointsMax);
  const isRead = new Uint8Array(evidence.isRead.length);
  const isStored = new Uint8Array(evidence.isRead.length);
  const points: UnseenAt[] = [];
  let count = 0;
  for (let event = 0; event < events.length; event++) {
    evidence.work++;
    const operation = events.at(event) >> 1;
    const isEnd = (events.at(event) & 1) === 1;
    if (isEnd && operations.outcome[operation] === "ok") {
      for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
        evidence.work++;
        const value = steps.value.at(step);
        const kind = steps.kind.at(step);
        if (kind === StepKind.send) {
          if (isRead[value] === 0) count++;
          isStored[value] = 1;
        } else if (kind === StepKind.poll && isRead[value] === 0) {
          if (evidence.home(value) !== steps.partition.at(step)) continue;
          if (isStored[value] === 1) count--;
          isRead[value] = 1;
        }
      }
    }
    if ((event + 1) % every !== 0 && event !== events.length - 1) continue;
    const { beginMs, endMs } = operations;
    points.push({ atMs: (isEnd ? endMs : beginMs).at(operation), count });
  }
  return points;
}
