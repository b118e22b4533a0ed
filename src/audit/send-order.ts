/**
 * The order in which sends lie in a partition, beside the order in which they were made: within one
 * operation, from one operation of a client to its next, and between any two of which one had ended before
 * the other began. An idempotent producer's records lie in its order; two acknowledged sends that do not
 * overlap lie in theirs, whoever made them.
 */
import { IntColumn } from "./columns.ts";
import type { Evidence } from "./evidence.ts";
import { type Findings, listedMax } from "./findings.ts";
import { NONE, StepKind } from "./words.ts";

export function findSendOrder(evidence: Evidence, findings: Findings): void {
  findOwnOrder(evidence, findings);
  evidence.logs.forEach((_log, partition) => findRealtimeOrder(evidence, partition, findings));
}

function findOwnOrder(evidence: Evidence, findings: Findings): void {
  const { history } = evidence;
  const { steps, operations } = history;
  /** By client and partition, the row of the newest send whose place is known. */
  const rows = new Map<number, number>();
  const newest = new IntColumn();
  for (let operation = 0; operation < operations.kind.length; operation++) {
    findings.work++;
    const client = operations.client.at(operation);
    for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
      findings.work++;
      if (steps.kind.at(step) !== StepKind.send || !evidence.isWritten(step)) continue;
      if (evidence.firstIndex[steps.value.at(step)] === NONE) continue;
      const name = client * history.partitions.length + steps.partition.at(step);
      const row = rows.get(name);
      if (row === undefined) rows.set(name, newest.push(step));
      else {
        compare(evidence, newest.at(row), step, findings);
        newest.set(row, step);
      }
    }
  }
}

/** Two sends of one client to one partition, the earlier one first. */
function compare(evidence: Evidence, before: number, step: number, findings: Findings): void {
  const { history } = evidence;
  const { steps } = history;
  const values = [steps.value.at(before), steps.value.at(step)];
  const [first, second] = values.map((value) => evidence.firstIndex[value] as number) as [number, number];
  const operation = steps.operation.at(step);
  const earlier = steps.operation.at(before);
  const isInner = operation === earlier;
  if (second === first + 1) return;
  const partition = steps.partition.at(step);
  const offsets = [evidence.offsetOf(partition, first), evidence.offsetOf(partition, second)];
  const about = { partition, offsets, values, operations: isInner ? [operation] : [earlier, operation] };
  if (second <= first) {
    const isOrdered = history.isIdempotent(history.operations.client.at(operation));
    findings.add(
      isInner ? "int-nonmonotonic-send" : "nonmonotonic-send",
      isOrdered ? "bug" : "allowed",
      () => ({
        ...about,
        sentence: `${findings.client(operation)} sent ${findings.values(values)} to ${findings.partition(partition)} in this order${isInner ? ` in operation ${operation}` : ""}, and they lie at ${offsets.join(" and ")}.`,
      }),
    );
  } else if (isInner) {
    findings.add("int-send-skip", "allowed", () => {
      const between = Array.from({ length: Math.min(second - first - 1, listedMax) }, (_, at) =>
        evidence.valueAt(partition, first + 1 + at),
      );
      return {
        ...about,
        sentence: `Between ${findings.values(values)}, which ${findings.by(operation)} sent one after the other to ${findings.partition(partition)}, lies ${findings.values(between, second - first - 1)}.`,
      };
    });
  }
}

/** Backwards through the log: no send may have ended before one at a lower offset began. */
function findRealtimeOrder(evidence: Evidence, partition: number, findings: Findings): void {
  const { history } = evidence;
  const { steps, operations } = history;
  const { offsets, values } = evidence.log(partition);
  let soonest: { readonly end: number; readonly index: number } | null = null;
  for (let index = offsets.length - 1; index >= 0; index--) {
    findings.work++;
    const value = values[index] as number;
    if (evidence.home(value) !== partition || evidence.firstIndex[value] !== evidence.lastIndex[value])
      continue;
    const step = history.writes.at(value);
    if (!evidence.isWritten(step)) continue;
    const operation = steps.operation.at(step);
    if (soonest !== null && soonest.end < operations.beginEvent.at(operation)) {
      const { index: later } = soonest;
      findings.add("realtime-nonmonotonic-send", "bug", () => {
        const earlier = evidence.valueAt(partition, later);
        const writer = evidence.writer(earlier);
        const at = [evidence.offsetOf(partition, index), evidence.offsetOf(partition, later)];
        return {
          sentence: `${findings.value(value)} lies at ${at[0]} of ${findings.partition(partition)}, before ${findings.value(earlier)} at ${at[1]}, although it was sent (${findings.by(operation)}) only after that was acknowledged (${findings.by(writer)}).`,
          partition,
          offsets: at,
          values: [value, earlier],
          operations: [writer, operation],
        };
      });
    }
    if (operations.outcome[operation] !== "ok") continue;
    const end = operations.endEvent.at(operation);
    if (soonest === null || end < soonest.end) soonest = { end, index };
  }
}
