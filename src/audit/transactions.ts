/**
 * What transactions promise beside being whole: of the producers of one transactional id only the newest may
 * write, and none of them keeps readers waiting for longer than its time-out allows.
 */
import type { Evidence } from "./evidence.ts";
import type { Findings } from "./findings.ts";
import { NONE, StepKind } from "./words.ts";

export function findTransactionAnomalies(evidence: Evidence, findings: Findings): void {
  if (evidence.history.transactionalIds.length > 0) new Producers(evidence, findings).find();
  if (Number.isFinite(evidence.history.openMsMax)) findHanging(evidence, findings);
}

/** The producers of each transactional id, as they take over from one another. */
class Producers {
  readonly #evidence: Evidence;
  readonly #findings: Findings;
  /** By client: its last init that began. */
  readonly #last = new Map<number, number>();
  /** By transactional id: of the inits that have ended well, the one that began last. */
  readonly #newest = new Map<number, number>();

  constructor(evidence: Evidence, findings: Findings) {
    this.#evidence = evidence;
    this.#findings = findings;
  }

  /** Events in their order, and before each the steps that were told before it. */
  find(): void {
    const { events, operations, steps } = this.#evidence.history;
    let told = 0;
    for (let event = 0; event < events.length; event++) {
      this.#findings.work++;
      const operation = events.at(event) >> 1;
      const isEnd = (events.at(event) & 1) === 1;
      const end = (isEnd ? operations.endStep : operations.beginStep).at(operation);
      for (; told < end; told++) this.#judgeStep(told);
      if (operations.kind[operation] === "init") {
        if (isEnd) this.#tookOver(operation);
        else this.#last.set(operations.client.at(operation), operation);
      } else if (!isEnd && operations.kind[operation] === "transaction") this.#judgeBegun(operation);
    }
    for (; told < steps.kind.length; told++) this.#judgeStep(told);
  }

  #tookOver(init: number): void {
    const { operations } = this.#evidence.history;
    if (operations.outcome[init] !== "ok") return;
    const id = operations.transactionalId.at(init);
    const newest = this.#newest.get(id);
    if (newest === undefined || operations.beginEvent.at(newest) < operations.beginEvent.at(init))
      this.#newest.set(id, init);
  }

  /** Whose init shows that this client's producer is fenced by now; NONE: nobody's does. */
  #successor(client: number): number {
    const { operations } = this.#evidence.history;
    const own = this.#last.get(client);
    if (own === undefined || operations.outcome[own] !== "ok") return NONE;
    const newest = this.#newest.get(operations.transactionalId.at(own));
    if (newest === undefined || operations.client.at(newest) === client) return NONE;
    return operations.beginEvent.at(newest) > operations.endEvent.at(own) ? newest : NONE;
  }

  /** A record that was sent when its producer was fenced already. */
  #judgeStep(step: number): void {
    this.#findings.work++;
    const { steps, operations } = this.#evidence.history;
    if (steps.kind.at(step) !== StepKind.send) return;
    const writer = steps.operation.at(step);
    const successor = this.#successor(operations.client.at(writer));
    if (successor === NONE) return;
    const isAccepted = steps.offset.at(step) !== NONE;
    if (!isAccepted && !this.#evidence.isWritten(step)) return;
    const findings = this.#findings;
    const partition = steps.partition.at(step);
    findings.add("zombie-write", "bug", () => ({
      sentence: `${findings.value(steps.value.at(step))} was taken into ${findings.place(partition, steps.offset.at(step))} from ${findings.by(writer)}, although ${findings.client(successor)} had taken over ${this.#id(successor)} before it was sent.`,
      partition,
      offsets: isAccepted ? [steps.offset.at(step)] : [],
      values: [steps.value.at(step)],
      operations: [successor, writer],
    }));
  }

  /** A transaction that only commits offsets can be a fenced producer's too. */
  #judgeBegun(operation: number): void {
    const { operations } = this.#evidence.history;
    if (operations.outcome[operation] !== "ok") return;
    const successor = this.#successor(operations.client.at(operation));
    if (successor === NONE) return;
    const findings = this.#findings;
    findings.add("zombie-write", "bug", () => ({
      sentence: `The transaction that is ${findings.by(operation)} was committed, although ${findings.client(successor)} had taken over ${this.#id(successor)} before it began.`,
      operations: [successor, operation],
    }));
  }

  #id(init: number): string {
    const { operations, transactionalIds } = this.#evidence.history;
    return `transactional id "${transactionalIds.at(operations.transactionalId.at(init))}"`;
  }
}

/** A last stable offset below the high watermark is the beginning of one transaction: while it stays, that is open. */
function findHanging(evidence: Evidence, findings: Findings): void {
  const { steps, operations, openMsMax } = evidence.history;
  /** By partition: where it stands, and the first and newest operation that was told so. */
  const standing = new Map<number, { offset: number; readonly first: number; isTold: boolean }>();
  /** By partition: the last stable offset of the answer that is looked at. */
  const stable = new Map<number, { readonly operation: number; readonly offset: number }>();
  for (let step = 0; step < steps.kind.length; step++) {
    findings.work++;
    const partition = steps.partition.at(step);
    const operation = steps.operation.at(step);
    const kind = steps.kind.at(step);
    if (kind === StepKind.lastStable) stable.set(partition, { operation, offset: steps.offset.at(step) });
    const told = stable.get(partition);
    if (kind !== StepKind.highWatermark || told?.operation !== operation) continue;
    if (operations.endEvent.at(operation) === NONE || told.offset >= steps.offset.at(step)) continue;
    const since = standing.get(partition);
    if (since?.offset !== told.offset) {
      standing.set(partition, { offset: told.offset, first: operation, isTold: false });
      continue;
    }
    const ms = operations.beginMs.at(operation) - operations.endMs.at(since.first);
    if (since.isTold || ms <= openMsMax) continue;
    since.isTold = true;
    findings.add("hanging-transaction", "bug", () => ({
      sentence: `The last stable offset of ${findings.partition(partition)} stands at ${told.offset} below the high watermark from ${findings.by(since.first)} to ${findings.by(operation)}, ${Math.round(ms)} ms; a transaction may be open for ${openMsMax} ms.`,
      partition,
      offsets: [told.offset],
      operations: [since.first, operation],
    }));
  }
}
