/**
 * What is not there: writes that nobody read although readers passed them, writes that the reader who came
 * to the end did not find, transactions of which only a part is there, and brokers that tell of different
 * logs. Retention and compaction excuse only what they may take.
 */
import type { Evidence } from "./evidence.ts";
import { type Findings, listedMax } from "./findings.ts";
import type { Readings } from "./readings.ts";
import { NONE, StepKind } from "./words.ts";

export function findLosses(evidence: Evidence, readings: Readings, findings: Findings): void {
  new Losses(evidence, readings, findings).find();
}

/** Numbers of one kind of loss, in one partition or of one producer in it. */
interface Missing {
  readonly values: number[];
  count: number;
}

type Part = "lost-prefix" | "lost-middle" | "lost-suffix";

class Losses {
  readonly #evidence: Evidence;
  readonly #readings: Readings;
  readonly #findings: Findings;
  /** By partition: the head of the runs that read all of it, from its start to its end, last of all; NONE. */
  readonly #finalHead: Int32Array;
  /** By partition: the operation that came to the end; NONE. */
  readonly #finalEnd: Int32Array;
  /** By value: the final read found it. */
  readonly #isFound: Uint8Array;
  /** By value: found to be lost, as somebody passed it. */
  readonly #isLost: Uint8Array;

  constructor(evidence: Evidence, readings: Readings, findings: Findings) {
    const { history } = evidence;
    this.#evidence = evidence;
    this.#readings = readings;
    this.#findings = findings;
    this.#finalHead = new Int32Array(history.partitions.length).fill(NONE);
    this.#finalEnd = new Int32Array(history.partitions.length).fill(NONE);
    this.#isFound = new Uint8Array(history.values.length);
    this.#isLost = new Uint8Array(history.values.length);
  }

  find(): void {
    this.#chooseFinals();
    const passed = this.#passed();
    this.#evidence.logs.forEach((_log, partition) =>
      this.#findLostWrites(partition, passed[partition] as Int32Array),
    );
    this.#findUnseen();
    this.#findParts();
    this.#findTorn(passed);
  }

  #chooseFinals(): void {
    const { runs, runOfStep } = this.#readings;
    const { steps } = this.#evidence.history;
    for (let run = 0; run < runs.end.length; run++) {
      this.#findings.work++;
      const end = runs.end.at(run);
      const partition = runs.partition.at(run);
      const head = runs.head.at(run);
      if (end === NONE || runs.isFromKnown.at(head) === 0) continue;
      if (runs.low.at(head) > this.#evidence.log(partition).logStart) continue;
      if (end <= (this.#finalEnd[partition] as number)) continue;
      this.#finalEnd[partition] = end;
      this.#finalHead[partition] = head;
    }
    for (let step = 0; step < runOfStep.length; step++) {
      this.#findings.work++;
      const run = runOfStep[step] as number;
      if (run === NONE || runs.head.at(run) !== this.#finalHead[runs.partition.at(run)]) continue;
      const value = steps.value.at(step);
      if (this.#evidence.home(value) === runs.partition.at(run)) this.#isFound[value] = 1;
    }
  }

  /** By partition and index: 1 where some reader went past it. */
  #passed(): readonly Int32Array[] {
    const { runs } = this.#readings;
    const passed = this.#evidence.logs.map(({ offsets }) => new Int32Array(offsets.length + 1));
    for (let run = 0; run < runs.end.length; run++) {
      this.#findings.work++;
      const partition = runs.partition.at(run);
      const counts = passed[partition] as Int32Array;
      (counts[this.#evidence.indexFrom(partition, runs.low.at(run))] as number)++;
      (counts[this.#evidence.indexFrom(partition, runs.high.at(run) + 1)] as number)--;
    }
    for (const counts of passed) {
      let open = 0;
      for (let index = 0; index < counts.length; index++) {
        this.#findings.work++;
        open += counts[index] as number;
        counts[index] = open > 0 ? 1 : 0;
      }
    }
    return passed;
  }

  #findLostWrites(partition: number, passed: Int32Array): void {
    const evidence = this.#evidence;
    const findings = this.#findings;
    const { values, offsets } = evidence.log(partition);
    for (let index = 0; index < values.length; index++) {
      findings.work++;
      const value = values[index] as number;
      if (passed[index] !== 1 || evidence.home(value) !== partition || evidence.isRead[value] === 1) continue;
      if (evidence.lastIndex[value] !== index || evidence.isExcused(partition, index)) continue;
      const step = evidence.history.writes.at(value);
      if (!evidence.isWritten(step)) continue;
      this.#isLost[value] = 1;
      findings.add("lost-write", "bug", () => {
        const writer = evidence.writer(value);
        const offset = offsets[index] as number;
        return {
          sentence: `${findings.value(value)} was written to ${findings.place(partition, offset)} by ${findings.by(writer)}; readers went past it, and nobody was given it.`,
          partition,
          offsets: [offset],
          values: [value],
          operations: [writer],
        };
      });
    }
  }

  /** Whether the end of the final read came after the write, which nothing excuses. */
  #isOwed(step: number): boolean {
    const { history } = this.#evidence;
    const { steps, operations } = history;
    const partition = steps.partition.at(step);
    const end = this.#finalEnd[partition] as number;
    const written = operations.endEvent.at(steps.operation.at(step));
    return end !== NONE && written !== NONE && written < operations.beginEvent.at(end);
  }

  /** What may be gone, or whose place is not known where something may be gone. */
  #isExcused(value: number, partition: number): boolean {
    const index = this.#evidence.lastIndex[value] as number;
    if (index === NONE) return this.#evidence.history.cleanupOf(partition) !== "none";
    return this.#evidence.isExcused(partition, index);
  }

  #findUnseen(): void {
    const { history, isRead } = this.#evidence;
    const { steps, operations } = history;
    /** By partition, those that the final read should have found, and those that may come yet. */
    const gone = new Map<number, Missing>();
    const late = new Map<number, Missing>();
    for (let value = 0; value < isRead.length; value++) {
      this.#findings.work++;
      const step = history.writes.at(value);
      if (step === NONE || isRead[value] === 1 || this.#isLost[value] === 1) continue;
      if (operations.outcome[steps.operation.at(step)] !== "ok") continue;
      const partition = steps.partition.at(step);
      if (this.#isExcused(value, partition)) continue;
      collect(this.#isOwed(step) ? gone : late, partition, value);
    }
    for (const [partition, missing] of gone) this.#tellUnseen("bug", partition, missing);
    for (const [partition, missing] of late) this.#tellUnseen("allowed", partition, missing);
  }

  #tellUnseen(verdict: "bug" | "allowed", partition: number, { values, count }: Missing): void {
    const findings = this.#findings;
    const why = verdict === "bug" ? "although it was read to its end" : "yet; it was not read to its end";
    findings.add(
      "unseen",
      verdict,
      () => ({
        sentence: `${count} acknowledged ${count === 1 ? "value" : "values"} of ${findings.partition(partition)} ${count === 1 ? "was" : "were"} not read by anybody ${why}: ${findings.values(values, count)}.`,
        partition,
        values,
        operations: values.map((value) => this.#evidence.writer(value)),
      }),
      count,
    );
  }

  // ── What the final read should have found, by producer ──

  #findParts(): void {
    const { history } = this.#evidence;
    const { steps, operations } = history;
    const nameOf = (step: number): number =>
      operations.client.at(steps.operation.at(step)) * history.partitions.length + steps.partition.at(step);
    /** The first and the last step of a producer in a partition that was found. */
    const found = new Map<number, { readonly first: number; last: number }>();
    const missing: number[] = [];
    for (let step = 0; step < steps.kind.length; step++) {
      this.#findings.work++;
      if (steps.kind.at(step) !== StepKind.send) continue;
      const value = steps.value.at(step);
      if (this.#isFound[value] === 1) {
        const known = found.get(nameOf(step));
        if (known === undefined) found.set(nameOf(step), { first: step, last: step });
        else known.last = step;
      } else if (
        operations.outcome[steps.operation.at(step)] === "ok" &&
        this.#isOwed(step) &&
        !this.#isExcused(value, steps.partition.at(step))
      ) {
        missing.push(step);
      }
    }
    const parts = { "lost-middle": new Map(), "lost-prefix": new Map(), "lost-suffix": new Map() } as {
      readonly [part in Part]: Map<number, Missing>;
    };
    for (const step of missing) {
      this.#findings.work++;
      const range = found.get(nameOf(step));
      let part: Part = "lost-middle";
      // Where nothing is left, it looks as if the log had started over.
      if (range === undefined || step < range.first) part = "lost-prefix";
      else if (step > range.last) part = "lost-suffix";
      collect(parts[part], nameOf(step), steps.value.at(step));
    }
    for (const part of ["lost-middle", "lost-prefix", "lost-suffix"] as const) {
      for (const each of parts[part].values()) this.#tellPart(part, each);
    }
  }

  #tellPart(part: Part, { values, count }: Missing): void {
    const findings = this.#findings;
    const first = values[0] as number;
    const partition = this.#evidence.home(first);
    const writer = this.#evidence.writer(first);
    const end = this.#finalEnd[partition] as number;
    const which = { "lost-prefix": "beginning", "lost-middle": "middle", "lost-suffix": "end" }[part];
    findings.add(
      part,
      "bug",
      () => ({
        sentence: `${findings.by(end)} read ${findings.partition(partition)} to its end, and of what ${findings.client(writer)} wrote there the ${which} is missing, ${count} acknowledged ${count === 1 ? "value" : "values"}: ${findings.values(values, count)}.`,
        partition,
        offsets: values
          .map((value) => this.#evidence.lastIndex[value] as number)
          .filter((index) => index !== NONE)
          .map((index) => this.#evidence.offsetOf(partition, index)),
        values,
        operations: [...new Set(values.map((value) => this.#evidence.writer(value))), end],
      }),
      count,
    );
  }

  // ── Transactions ──

  #findTorn(passed: readonly Int32Array[]): void {
    const { history, isRead, tookEffect } = this.#evidence;
    const { steps, operations } = history;
    const { firstSeen } = this.#evidence;
    for (let operation = 0; operation < operations.kind.length; operation++) {
      this.#findings.work++;
      if (operations.kind[operation] !== "transaction" || tookEffect[operation] === 0) continue;
      let isPartRead = false;
      const absent: number[] = [];
      for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
        this.#findings.work++;
        if (steps.kind.at(step) !== StepKind.send) continue;
        if (isRead[steps.value.at(step)] === 1) isPartRead = true;
        else if (this.#isAbsent(step, passed, firstSeen[operation] as number)) absent.push(step);
      }
      if (isPartRead && absent.length > 0) this.#tellTorn(operation, absent);
    }
  }

  /** Whether a record of a transaction that surely was committed, at the latest at event `seen`, is not there. */
  #isAbsent(step: number, passed: readonly Int32Array[], seen: number): boolean {
    const { history } = this.#evidence;
    const { steps, operations } = history;
    const partition = steps.partition.at(step);
    const value = steps.value.at(step);
    if (this.#isExcused(value, partition)) return false;
    const index = this.#evidence.lastIndex[value] as number;
    if (index !== NONE && (passed[partition] as Int32Array)[index] === 1) return true;
    const end = this.#finalEnd[partition] as number;
    return end !== NONE && seen < operations.beginEvent.at(end);
  }

  #tellTorn(operation: number, absent: readonly number[]): void {
    const findings = this.#findings;
    const { steps } = this.#evidence.history;
    findings.add("torn-transaction", "bug", () => {
      const values = absent.map((step) => steps.value.at(step));
      const places = absent.map((step) => findings.place(steps.partition.at(step), steps.offset.at(step)));
      return {
        sentence: `Of the transaction that is ${findings.by(operation)} a part was read, so it is committed, but ${findings.values(values)} (${places.slice(0, listedMax).join(", ")}) is not there.`,
        offsets: absent.map((step) => steps.offset.at(step)).filter((offset) => offset !== NONE),
        values,
        operations: [operation],
      };
    });
  }
}

/** Counts all, keeps the first. */
function collect(into: Map<number, Missing>, name: number, value: number): void {
  let missing = into.get(name);
  if (missing === undefined) into.set(name, (missing = { values: [], count: 0 }));
  missing.count++;
  if (missing.values.length < listedMax) missing.values.push(value);
}
