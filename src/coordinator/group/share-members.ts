/** The members of a share group as their records have them, what they take in memory, and how many want each topic. */
import { consumerBytes, partitionsBytes } from "./member-bytes.ts";
import { noPartitions, type PartitionSet, partitionSet } from "./partition-set.ts";
import type { ShareMemberRecord, ShareMemberValue } from "./records.ts";

export interface ShareMember {
  readonly id: string;
  readonly about: ShareMemberValue;
  /** What it is to have. */
  readonly target: PartitionSet;
  /** What it was told. */
  readonly held: { readonly epoch: number; readonly previousEpoch: number; readonly assigned: PartitionSet };
}

export class ShareMembers implements Iterable<ShareMember> {
  readonly #members = new Map<string, ShareMember>();
  readonly #wanting = new Map<string, number>();
  #bytes = 0;

  get size(): number {
    return this.#members.size;
  }
  /** About what all of them take in memory. */
  get bytes(): number {
    return this.#bytes;
  }
  /** Names that somebody wants, each once, also of topics that are not there. */
  get wantedNames(): Iterable<string> {
    return this.#wanting.keys();
  }
  [Symbol.iterator](): Iterator<ShareMember> {
    return this.#members.values();
  }
  get(id: string): ShareMember | undefined {
    return this.#members.get(id);
  }

  apply(record: ShareMemberRecord): void {
    const { memberId: id } = record.key;
    const former = this.#members.get(id);
    const next = changed(former, record);
    this.#bytes += weigh(next) - weigh(former);
    if (next?.about !== former?.about) {
      for (const name of next?.about.subscribedTopicNames ?? []) this.#count(name, 1);
      for (const name of former?.about.subscribedTopicNames ?? []) this.#count(name, -1);
    }
    if (next === undefined) this.#members.delete(id);
    else this.#members.set(id, next);
  }

  #count(name: string, more: 1 | -1): void {
    const count = (this.#wanting.get(name) ?? 0) + more;
    if (count === 0) this.#wanting.delete(name);
    else this.#wanting.set(name, count);
  }
}

/** Undefined: it is gone, or never was. */
function changed(
  former: ShareMember | undefined,
  { kind, key, value }: ShareMemberRecord,
): ShareMember | undefined {
  // Its target and what it was told go along with it.
  if (value === null) return kind === "shareMember" ? undefined : former;
  const member = former ?? { id: key.memberId, about: nobody, target: noPartitions, held: holdsNothing };
  switch (kind) {
    case "shareMember":
      return { ...member, about: value };
    case "shareTarget":
      return { ...member, target: partitionSet(value.topicPartitions) };
    case "shareCurrent": {
      const { memberEpoch: epoch, previousMemberEpoch: previousEpoch, assignedPartitions } = value;
      return { ...member, held: { epoch, previousEpoch, assigned: partitionSet(assignedPartitions) } };
    }
    default:
      return kind satisfies never;
  }
}

const nobody: ShareMemberValue = { rackId: null, clientId: "", clientHost: "", subscribedTopicNames: [] };
const holdsNothing = { epoch: 0, previousEpoch: -1, assigned: noPartitions };

function weigh(member: ShareMember | undefined): number {
  if (member === undefined) return 0;
  const { about, target, held } = member;
  return consumerBytes(about.subscribedTopicNames) + partitionsBytes(target, held.assigned);
}
