/**
 * What a group promises: no partition with two owners in one generation, no commit of a generation that is
 * over, no committed offset that goes back unless somebody set it, or that only an aborted transaction
 * committed, no commit past a record that no handler has finished, in the end every acknowledged record
 * handled at least once, and within transactions at most once.
 */
import type { Evidence } from "./evidence.ts";
import { type Findings, listedMax } from "./findings.ts";
import { Share } from "./group-share.ts";
import { NONE, StepKind } from "./words.ts";

export function findGroupAnomalies(evidence: Evidence, findings: Findings): void {
  if (evidence.history.groups.length === 0) return;
  const groups = new Groups(evidence, findings);
  const { events } = evidence.history;
  for (let event = 0; event < events.length; event++) {
    findings.work++;
    const operation = events.at(event) >> 1;
    if ((events.at(event) & 1) === 0) groups.begun(operation);
    else groups.ended(operation);
    groups.passed(event);
  }
}

interface Owner {
  readonly generation: number;
  readonly client: number;
  readonly operation: number;
}

class Groups {
  readonly #evidence: Evidence;
  readonly #findings: Findings;
  /** By group and partition. */
  readonly #shares = new Map<number, Share>();
  /** By group: the newest generation of which a member has heard. */
  readonly #newest: (Owner | undefined)[] = [];
  /** By group: who owns what in each generation. */
  readonly #owners: Map<number, Owner>[];
  /** By group and client: the event at which it last heard of a generation. */
  readonly #joinedAt = new Map<number, number>();
  /** By step: the offset that was committed for certain when it was asked for. */
  readonly #floorAt = new Map<number, number>();
  /** By group and partition: the last operation that said the group had handled all. */
  readonly #lastEnd = new Map<number, number>();
  /** By event: transactions of unknown outcome of which something was read by then, so that they are committed. */
  readonly #proofs = new Map<number, number[]>();

  constructor(evidence: Evidence, findings: Findings) {
    const { history } = evidence;
    const { steps, operations } = history;
    this.#evidence = evidence;
    this.#findings = findings;
    this.#owners = Array.from({ length: history.groups.length }, () => new Map());
    for (let step = 0; step < steps.kind.length; step++) {
      findings.work++;
      const operation = steps.operation.at(step);
      if (steps.kind.at(step) !== StepKind.end || operations.kind[operation] !== "handle") continue;
      this.#lastEnd.set(this.#name(step), operation);
    }
    for (let operation = 0; operation < operations.kind.length; operation++) {
      findings.work++;
      if (operations.kind[operation] !== "transaction" || operations.outcome[operation] !== "unknown")
        continue;
      const seen = evidence.firstSeen[operation] as number;
      if (!Number.isFinite(seen)) continue;
      const proven = this.#proofs.get(seen);
      if (proven === undefined) this.#proofs.set(seen, [operation]);
      else proven.push(operation);
    }
  }

  begun(operation: number): void {
    const { operations } = this.#evidence.history;
    switch (operations.kind[operation]) {
      case "commit":
        this.#each(operation, StepKind.commit, (step) => {
          this.#judgeCommit(step);
          this.#judgeAhead(step);
        });
        break;
      case "transaction":
        this.#each(operation, StepKind.commit, (step) => this.#judgeCommit(step));
        // It may be committed long before its client hears of it.
        this.#handledWithin(operation);
        break;
      case "fetch-offsets":
        this.#each(operation, StepKind.committed, (step) => this.#floorAt.set(step, this.#share(step).floor));
        break;
      case "reset":
        this.#each(operation, StepKind.reset, (step) =>
          this.#share(step).resetBegun(operation, this.#offset(step)),
        );
        break;
      default:
    }
  }

  ended(operation: number): void {
    const { operations } = this.#evidence.history;
    const outcome = operations.outcome[operation];
    const isOk = outcome === "ok";
    switch (operations.kind[operation]) {
      case "join":
        if (isOk) this.#joined(operation);
        break;
      case "handle":
        if (isOk) this.#handled(operation);
        break;
      case "transaction":
        // What it commits it has handled by its end.
        this.#each(operation, StepKind.commit, (step) => this.#judgeAhead(step));
        if (isOk) this.#committed(operation);
        break;
      case "commit":
        if (isOk) this.#committed(operation);
        break;
      case "fetch-offsets":
        if (isOk) this.#each(operation, StepKind.committed, (step) => this.#judgeFetched(step));
        break;
      case "reset":
        this.#each(operation, StepKind.reset, (step) =>
          this.#share(step).resetEnded(operation, this.#offset(step), outcome ?? "unknown"),
        );
        break;
      default:
    }
  }

  /** An event is over. */
  passed(event: number): void {
    for (const operation of this.#proofs.get(event) ?? []) this.#committed(operation);
  }

  // ── Generations ──

  #joined(operation: number): void {
    const { operations, partitions, steps } = this.#evidence.history;
    const group = operations.group.at(operation);
    const generation = operations.generation.at(operation);
    const client = operations.client.at(operation);
    this.#joinedAt.set(this.#membership(operation), operations.endEvent.at(operation));
    if (this.#evidence.history.protocolOf(group) === "both") return;
    const member: Owner = { generation, client, operation };
    const newest = this.#newest[group];
    if (newest === undefined || newest.generation < generation) this.#newest[group] = member;
    this.#each(operation, StepKind.own, (step) => {
      const owners = this.#owners[group] as Map<number, Owner>;
      const name = generation * partitions.length + steps.partition.at(step);
      const other = owners.get(name);
      if (other !== undefined && other.client !== client) this.#tellTwoOwners(step, other);
      owners.set(name, member);
      this.#share(step).ownedBy(member);
    });
  }

  #tellTwoOwners(step: number, other: Owner): void {
    const findings = this.#findings;
    findings.add("two-owners", "bug", () => {
      const { operations, steps, groups } = this.#evidence.history;
      const operation = steps.operation.at(step);
      return {
        sentence: `In generation ${other.generation} of group ${groups.at(operations.group.at(operation))} both ${findings.client(other.operation)} and ${findings.client(operation)} own ${findings.partition(steps.partition.at(step))}.`,
        partition: steps.partition.at(step),
        operations: [other.operation, operation],
      };
    });
  }

  /** The member that shows that the generation of a commit was over when the commit began. */
  #successor(step: number): Owner | undefined {
    const { history } = this.#evidence;
    const operation = history.steps.operation.at(step);
    const group = history.operations.group.at(operation);
    const generation = history.operations.generation.at(operation);
    if (generation === NONE) return undefined;
    const newest = this.#newest[group];
    if (history.protocolOf(group) === "classic" && newest !== undefined && newest.generation > generation) {
      return newest;
    }
    const { owner } = this.#share(step);
    const isOther = owner !== null && owner.client !== history.operations.client.at(operation);
    return isOther && owner.generation > generation ? owner : undefined;
  }

  // ── Commits ──

  #judgeCommit(step: number): void {
    const { history } = this.#evidence;
    const operation = history.steps.operation.at(step);
    const outcome = history.operations.outcome[operation];
    this.#share(step).offers(this.#offset(step), outcome !== "fail");
    if (outcome !== "ok") return;
    const successor = this.#successor(step);
    if (successor !== undefined) this.#tellStale(step, successor);
    if (this.#offset(step) < this.#share(step).floor) this.#tellCommitBack(step);
  }

  #committed(operation: number): void {
    this.#each(operation, StepKind.commit, (step) =>
      this.#share(step).committed(operation, this.#offset(step)),
    );
  }

  #judgeAhead(step: number): void {
    const operation = this.#operation(step);
    const outcome = this.#evidence.history.operations.outcome[operation];
    // Who has not heard yet that the group was set back may ask for what it had; it will be refused.
    const joinedAt = this.#joinedAt.get(this.#membership(operation)) ?? NONE;
    if (outcome === "fail" || (outcome !== "ok" && this.#share(step).lastReset > joinedAt)) return;
    const passed = this.#share(step).commitBegun(this.#offset(step), this.#findings);
    if (passed.count === 0) return;
    const findings = this.#findings;
    findings.add(
      "commit-ahead",
      "bug",
      () => {
        const partition = this.#partition(step);
        const values = passed.indexes.map((index) => this.#evidence.valueAt(partition, index));
        const offsets = passed.indexes.map((index) => this.#evidence.offsetOf(partition, index));
        return {
          sentence: `${findings.by(this.#operation(step))} committed ${findings.place(partition, this.#offset(step))} for ${this.#group(step)}, past ${findings.values(values, passed.count)} at ${offsets.join(", ")}${passed.count > offsets.length ? ", …" : ""}, which no handler had finished.`,
          partition,
          offsets,
          values,
          operations: [this.#operation(step)],
        };
      },
      passed.count,
    );
  }

  #tellStale(step: number, successor: Owner): void {
    const findings = this.#findings;
    findings.add("stale-commit", "bug", () => {
      const { operations } = this.#evidence.history;
      const operation = this.#operation(step);
      return {
        sentence: `${findings.by(operation)} committed ${findings.place(this.#partition(step), this.#offset(step))} for ${this.#group(step)} as a member of generation ${operations.generation.at(operation)}, and was not refused, although ${findings.client(successor.operation)} was already told generation ${successor.generation}.`,
        partition: this.#partition(step),
        offsets: [this.#offset(step)],
        operations: [successor.operation, operation],
      };
    });
  }

  #tellCommitBack(step: number): void {
    const findings = this.#findings;
    const { floor, floorOperation } = this.#share(step);
    findings.add("commit-went-back", "bug", () => ({
      sentence: `${findings.by(this.#operation(step))} committed ${findings.place(this.#partition(step), this.#offset(step))} for ${this.#group(step)}, after ${findings.by(floorOperation)} had committed ${floor}, and nobody had set the group back.`,
      partition: this.#partition(step),
      offsets: [floor, this.#offset(step)],
      operations: [floorOperation, this.#operation(step)],
    }));
  }

  #judgeFetched(step: number): void {
    const floor = this.#floorAt.get(step) ?? NONE;
    const share = this.#share(step);
    const offset = this.#offset(step);
    const { operations } = this.#evidence.history;
    if (offset >= floor && offset !== NONE && !share.isOffered(offset)) this.#tellOfNobody(step);
    const wasShown = share.isFloorShown;
    if (offset >= share.floor) share.isFloorShown = true;
    if (offset >= floor || share.lastReset > operations.beginEvent.at(this.#operation(step))) return;
    const findings = this.#findings;
    const { floorOperation } = share;
    const isTorn = floorOperation !== NONE && operations.kind[floorOperation] === "transaction" && !wasShown;
    findings.add(isTorn ? "torn-transaction" : "committed-offset-went-back", "bug", () => ({
      sentence: `${findings.by(this.#operation(step))} was told that ${offset === NONE ? "nothing" : `offset ${offset}`} is committed in ${findings.partition(this.#partition(step))} for ${this.#group(step)}, but ${floor} had been committed${isTorn ? ` within the transaction that is ${findings.by(floorOperation)}` : ""}, and nobody had set the group back.`,
      partition: this.#partition(step),
      offsets: [floor, offset],
      operations: floorOperation === NONE ? [this.#operation(step)] : [floorOperation, this.#operation(step)],
    }));
  }

  #tellOfNobody(step: number): void {
    const findings = this.#findings;
    const wasRefused = this.#share(step).wasRefused(this.#offset(step));
    findings.add(wasRefused ? "aborted-commit" : "phantom-commit", "bug", () => ({
      sentence: `${findings.by(this.#operation(step))} was told that offset ${this.#offset(step)} is committed in ${findings.partition(this.#partition(step))} for ${this.#group(step)}, ${wasRefused ? "but whoever committed it was refused, or aborted" : "which nobody ever committed"}.`,
      partition: this.#partition(step),
      offsets: [this.#offset(step)],
      operations: [this.#operation(step)],
    }));
  }

  // ── Handling ──

  /** What is handled within a transaction is handled if that is committed, and then once. */
  #handledWithin(operation: number): void {
    if (this.#evidence.history.operations.outcome[operation] === "fail") return;
    const isCommitted = this.#evidence.tookEffect[operation] === 1;
    this.#each(operation, StepKind.handled, (step) => {
      const share = this.#share(step);
      share.handled(this.#offset(step));
      if (!isCommitted) return;
      const other = share.handledOnce(this.#offset(step), operation);
      if (other !== NONE) this.#tellTwice(step, other);
    });
  }

  #tellTwice(step: number, other: number): void {
    const findings = this.#findings;
    const { steps } = this.#evidence.history;
    findings.add("handled-twice", "bug", () => ({
      sentence: `${this.#group(step)} handled ${findings.value(steps.value.at(step))} in ${findings.place(this.#partition(step), this.#offset(step))} twice in committed transactions: in ${findings.by(other)} and in ${findings.by(this.#operation(step))}, and nobody had set it back.`,
      partition: this.#partition(step),
      offsets: [this.#offset(step)],
      values: [steps.value.at(step)],
      operations: [other, this.#operation(step)],
    }));
  }

  #handled(operation: number): void {
    this.#each(operation, StepKind.handled, (step) => this.#share(step).handled(this.#offset(step)));
    this.#each(operation, StepKind.end, (step) => {
      if (this.#lastEnd.get(this.#name(step)) === operation) this.#judgeEnd(step);
    });
  }

  #judgeEnd(step: number): void {
    const { operations } = this.#evidence.history;
    const end = this.#operation(step);
    const left = this.#share(step).left(operations.beginEvent.at(end), this.#findings);
    if (left.count === 0) return;
    const findings = this.#findings;
    findings.add(
      "unprocessed",
      "bug",
      () => {
        const partition = this.#partition(step);
        const values = left.indexes.map((index) => this.#evidence.valueAt(partition, index));
        return {
          sentence: `${this.#group(step)} has come to the end of ${findings.partition(partition)}, and of its records ${left.count} ${left.count === 1 ? "was" : "were"} never handled: ${findings.values(values, left.count)}.`,
          partition,
          offsets: left.indexes.map((index) => this.#evidence.offsetOf(partition, index)),
          values,
          operations: [...values.slice(0, listedMax).map((value) => this.#evidence.writer(value)), end],
        };
      },
      left.count,
    );
  }

  // ── Steps ──

  #each(operation: number, kind: StepKind, visit: (step: number) => void): void {
    const { steps, operations } = this.#evidence.history;
    for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
      this.#findings.work++;
      if (steps.kind.at(step) === kind) visit(step);
    }
  }

  #operation(step: number): number {
    return this.#evidence.history.steps.operation.at(step);
  }
  #partition(step: number): number {
    return this.#evidence.history.steps.partition.at(step);
  }
  #offset(step: number): number {
    return this.#evidence.history.steps.offset.at(step);
  }
  #group(step: number): string {
    const { groups, operations } = this.#evidence.history;
    return `group ${groups.at(operations.group.at(this.#operation(step)))}`;
  }
  #membership(operation: number): number {
    const { operations, clients } = this.#evidence.history;
    return operations.group.at(operation) * clients.length + operations.client.at(operation);
  }
  #name(step: number): number {
    const { operations, partitions } = this.#evidence.history;
    return operations.group.at(this.#operation(step)) * partitions.length + this.#partition(step);
  }

  #share(step: number): Share {
    const name = this.#name(step);
    let share = this.#shares.get(name);
    if (share === undefined) {
      this.#shares.set(name, (share = new Share(this.#evidence, this.#partition(step))));
    }
    return share;
  }
}
