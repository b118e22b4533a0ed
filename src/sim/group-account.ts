/** What one member of a group tells the checker: what it was given, found committed, handled and committed. */
import type { Operation } from "../audit/operation.ts";
import type { GroupNumber, GroupProtocol, OperationKind, PartitionNumber } from "../audit/words.ts";
import type { Actor } from "./actor.ts";
import { recordName } from "./history.ts";

/** Generations or epochs in one life of a group are fewer. */
const epochsMax = 1 << 20;

interface Numbered {
  readonly epoch: number;
  /** Of the group, which is forgotten now and then. */
  readonly life: number;
}

export class GroupAccount {
  readonly #actor: Actor;
  readonly #topic: string;
  readonly #group: GroupNumber;
  /** Of this life of the member. */
  readonly #life: string;

  constructor(
    actor: Actor,
    options: { readonly group: string; readonly topic: string; readonly protocol: GroupProtocol },
    life: string,
  ) {
    this.#actor = actor;
    this.#topic = options.topic;
    this.#group = actor.history.audit.group(options.group, { protocol: options.protocol });
    this.#life = life;
  }

  joined(partitions: readonly number[], as: Numbered): void {
    const join = this.#begin("join", as);
    for (const partition of partitions) join.owns(this.#place(partition));
    join.ok(this.#actor.nowMs);
  }

  handled(partition: number, records: readonly { readonly at: number; readonly value: string }[]): void {
    const handle = this.#begin("handle");
    for (const { at, value } of records) handle.handled(this.#place(partition), at, recordName(value));
    handle.ok(this.#actor.nowMs);
  }

  /** To be called before it is asked; `found` then tells the answer. Never called: unknown. */
  fetching(): { found(offsets: readonly (readonly [partition: number, offset: number])[]): void } {
    const fetch = this.#begin("fetch-offsets");
    return {
      found: (offsets) => {
        for (const [partition, offset] of offsets) fetch.committed(this.#place(partition), offset);
        fetch.ok(this.#actor.nowMs);
      },
    };
  }

  /** To be called before it is sent; `answered` then tells what became of one partition. Never called: unknown. */
  committing(
    progress: readonly (readonly [partition: number, next: number])[],
    as: Numbered,
  ): { answered(partition: number, isTaken: boolean): void } {
    const commits = new Map(
      progress.map(([partition, next]) => {
        const commit = this.#begin("commit", as);
        commit.commits(this.#place(partition), next);
        return [partition, commit];
      }),
    );
    return {
      answered: (partition, isTaken) => commits.get(partition)?.[isTaken ? "ok" : "fail"](this.#actor.nowMs),
    };
  }

  /** What was committed in a partition without records has expired. */
  expired(partition: number): void {
    const reset = this.#begin("reset");
    reset.resets(this.#place(partition), 0);
    reset.ok(this.#actor.nowMs);
  }

  /** What a transaction handles and commits as a member. */
  within(
    transaction: Operation,
    as: Numbered,
    progress: readonly (readonly [partition: number, next: number])[],
    records: ReadonlyMap<number, readonly { readonly at: number; readonly value: string }[]>,
  ): void {
    transaction.inGroup(this.#group, as.life * epochsMax + as.epoch);
    for (const [partition, next] of progress) {
      for (const { at, value } of records.get(partition) ?? [])
        transaction.handled(this.#place(partition), at, recordName(value));
      transaction.commits(this.#place(partition), next);
    }
  }

  #begin(kind: OperationKind, as?: Numbered): Operation {
    // A group that was forgotten counts anew, and the checker must see that as more.
    const generation = as === undefined ? -1 : as.life * epochsMax + as.epoch;
    return this.#actor.begin(kind, this.#life).inGroup(this.#group, generation);
  }

  #place(partition: number): PartitionNumber {
    return this.#actor.history.place(this.#topic, partition);
  }
}
