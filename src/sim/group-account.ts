/** What one member of a group tells the checker: what it was given, found committed, handled and committed. */
import type { Operation } from "../audit/operation.ts";
import type { GroupNumber, GroupProtocol, OperationKind, PartitionNumber } from "../audit/words.ts";
import type { Actor } from "./actor.ts";
import { recordName } from "./history.ts";

export class GroupAccount {
  readonly #actor: Actor;
  readonly #topic: string;
  readonly #group: GroupNumber;
  /** Of this life of the member. */
  readonly #name: string;

  constructor(
    actor: Actor,
    options: { readonly group: string; readonly topic: string; readonly protocol: GroupProtocol },
    name: string,
  ) {
    this.#actor = actor;
    this.#topic = options.topic;
    this.#group = actor.history.audit.group(options.group, { protocol: options.protocol });
    this.#name = name;
  }

  joined(partitions: readonly number[], epoch: number): void {
    const join = this.#begin("join", epoch);
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
    epoch: number,
  ): { answered(partition: number, isTaken: boolean): void } {
    const commits = new Map(
      progress.map(([partition, next]) => {
        const commit = this.#begin("commit", epoch);
        commit.commits(this.#place(partition), next);
        return [partition, commit];
      }),
    );
    return {
      answered: (partition, isTaken) => commits.get(partition)?.[isTaken ? "ok" : "fail"](this.#actor.nowMs),
    };
  }

  #begin(kind: OperationKind, epoch = -1): Operation {
    const { audit } = this.#actor.history;
    return audit.client(this.#name).begin(kind, this.#actor.nowMs).inGroup(this.#group, epoch);
  }

  #place(partition: number): PartitionNumber {
    return this.#actor.history.place(this.#topic, partition);
  }
}
