/**
 * What is wrong with the records themselves: an offset with two values, a value at two offsets or in the
 * wrong place, one that nobody sent or that was said not to be written, and one that is not what was sent.
 */
import type { Evidence } from "./evidence.ts";
import type { Findings } from "./findings.ts";
import { NONE, StepKind } from "./words.ts";

export function findLogAnomalies(evidence: Evidence, findings: Findings): void {
  evidence.logs.forEach((_log, partition) => findInconsistentOffsets(evidence, partition, findings));
  findDuplicates(evidence, findings);
  findChangedGlimpses(evidence, findings);
  const { steps } = evidence.history;
  for (let step = 0; step < steps.kind.length; step++) {
    findings.work++;
    const kind = steps.kind.at(step);
    if (kind === StepKind.poll || kind === StepKind.handled || kind === StepKind.glimpse)
      judgeRead(evidence, step, findings);
  }
}

function findInconsistentOffsets(evidence: Evidence, partition: number, findings: Findings): void {
  const { offsets, steps, stepsFrom } = evidence.log(partition);
  const { steps: told } = evidence.history;
  for (let index = 0; index < offsets.length; index++) {
    const from = stepsFrom[index] as number;
    const end = stepsFrom[index + 1] as number;
    const first = told.value.at(steps[from] as number);
    let hasOther = false;
    for (let at = from + 1; at < end; at++) {
      findings.work++;
      hasOther ||= told.value.at(steps[at] as number) !== first;
    }
    if (!hasOther) continue;
    findings.add("inconsistent-offsets", "bug", () => {
      const all = Array.from(steps.subarray(from, end));
      const values = [...new Set(all.map((step) => told.value.at(step)))];
      const operations = values.map((value) =>
        told.operation.at(all.find((step) => told.value.at(step) === value) as number),
      );
      const offset = offsets[index] as number;
      return {
        sentence: `${findings.place(partition, offset)} holds ${values.length} different values: ${values.map((value, at) => `${findings.value(value)} (${findings.by(operations[at] as number)})`).join(", ")}.`,
        partition,
        offsets: [offset],
        values,
        operations,
      };
    });
  }
}

/** Also what was aborted, or may be yet, stays what it was at its offset. */
function findChangedGlimpses(evidence: Evidence, findings: Findings): void {
  const { steps } = evidence.history;
  const seen = evidence.logs.map(() => new Map<number, number>());
  for (let step = 0; step < steps.kind.length; step++) {
    findings.work++;
    if (steps.kind.at(step) !== StepKind.glimpse) continue;
    const partition = steps.partition.at(step);
    const offset = steps.offset.at(step);
    const others = seen[partition] as Map<number, number>;
    const index = evidence.indexFrom(partition, offset);
    const { offsets, steps: told, stepsFrom } = evidence.log(partition);
    const inLog = offsets[index] === offset ? (told[stepsFrom[index] as number] as number) : undefined;
    const other = inLog ?? others.get(offset);
    if (other === undefined) others.set(offset, step);
    if (other === undefined || steps.value.at(other) === steps.value.at(step)) continue;
    findings.add("inconsistent-offsets", "bug", () => {
      const both = [other, step];
      const values = both.map((each) => steps.value.at(each));
      const operations = both.map((each) => steps.operation.at(each));
      return {
        sentence: `${findings.place(partition, offset)} holds 2 different values: ${values.map((value, at) => `${findings.value(value)} (${findings.by(operations[at] as number)})`).join(", ")}.`,
        partition,
        offsets: [offset],
        values,
        operations,
      };
    });
  }
}

function findDuplicates(evidence: Evidence, findings: Findings): void {
  for (let value = 0; value < evidence.firstIndex.length; value++) {
    findings.work++;
    const first = evidence.firstIndex[value] as number;
    const last = evidence.lastIndex[value] as number;
    if (first === last) continue;
    const writer = evidence.writer(value);
    const isIdempotent = evidence.history.isIdempotent(evidence.history.operations.client.at(writer));
    findings.add("duplicate", isIdempotent ? "bug" : "allowed", () => {
      const partition = evidence.home(value);
      const offsets = [evidence.offsetOf(partition, first), evidence.offsetOf(partition, last)];
      return {
        sentence: `${findings.value(value)}, sent once by ${findings.by(writer)}, is in ${findings.partition(partition)} twice: at ${offsets.join(" and ")}.`,
        partition,
        offsets,
        values: [value],
        operations: [writer],
      };
    });
  }
}

function judgeRead(evidence: Evidence, step: number, findings: Findings): void {
  const { steps, operations } = evidence.history;
  const value = steps.value.at(step);
  const partition = steps.partition.at(step);
  const reader = steps.operation.at(step);
  const writer = evidence.writer(value);
  const found = () => findings.place(partition, steps.offset.at(step));
  const about = {
    partition,
    offsets: [steps.offset.at(step)],
    values: [value],
    operations: writer === NONE || writer === reader ? [reader] : [writer, reader],
  };
  if (writer === NONE) {
    findings.add("phantom", "bug", () => ({
      ...about,
      sentence: `${findings.by(reader)} read ${findings.value(value)} in ${found()}, which nobody ever sent.`,
    }));
    return;
  }
  if (evidence.home(value) !== partition) {
    findings.add("wrong-place", "bug", () => ({
      ...about,
      sentence: `${findings.by(reader)} read ${findings.value(value)} in ${found()}, but ${findings.by(writer)} sent it to ${findings.partition(evidence.home(value))}.`,
    }));
    return;
  }
  judgeFacts(evidence, step, findings);
  if (steps.kind.at(step) === StepKind.glimpse) return;
  if (operations.outcome[writer] === "fail" && operations.outcome[reader] === "ok") {
    findings.add("G1a", "bug", () => ({
      ...about,
      sentence: `${findings.by(reader)} read ${findings.value(value)} in ${found()}, which was surely not written: ${findings.by(writer)} failed or was aborted.`,
    }));
  }
  if (writer === reader) {
    findings.add("precommitted-read", "bug", () => ({
      ...about,
      sentence: `${findings.by(reader)} read ${findings.value(value)} in ${found()}, which it had only just sent itself and not committed.`,
    }));
  }
}

/** What was read beside what was sent, as far as both were told. */
function judgeFacts(evidence: Evidence, step: number, findings: Findings): void {
  const { steps, facts, writes, keys } = evidence.history;
  const value = steps.value.at(step);
  const write = writes.at(value);
  const sent = steps.facts.at(write);
  const read = steps.facts.at(step);
  if (sent === NONE || read === NONE) return;
  const partition = steps.partition.at(step);
  const operations = [steps.operation.at(write), steps.operation.at(step)];
  const about = { partition, offsets: [steps.offset.at(step)], values: [value], operations };
  const found = () => `${findings.value(value)} in ${findings.place(partition, steps.offset.at(step))}`;
  if (differ(facts.payload.at(sent), facts.payload.at(read))) {
    findings.add("altered", "bug", () => ({
      ...about,
      sentence: `${found()} has other bytes than ${findings.by(operations[0] as number)} sent.`,
    }));
  }
  const wrong: string[] = [];
  const keySent = facts.key.at(sent);
  const keyRead = facts.key.at(read);
  if (keySent !== NONE && keyRead !== NONE && keySent !== keyRead) {
    wrong.push(`its key was ${keys.at(keySent)} and is ${keys.at(keyRead)}`);
  }
  if (differ(facts.headers.at(sent), facts.headers.at(read))) wrong.push("its headers are others");
  const sentMs = facts.timestampMs.at(sent);
  const readMs = facts.timestampMs.at(read);
  if (differ(sentMs, readMs)) wrong.push(`its time was ${sentMs} and is ${readMs}`);
  if (wrong.length === 0) return;
  findings.add("header-truth", "bug", () => ({
    ...about,
    sentence: `${found()} is not as ${findings.by(operations[0] as number)} sent it: ${wrong.join(", ")}.`,
  }));
}

/** Of two numbers of which either may not have been told. */
function differ(sent: number, read: number): boolean {
  return sent !== read && !Number.isNaN(sent) && !Number.isNaN(read);
}
