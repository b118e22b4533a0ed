/** One member of a share group as its three records have it. */
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

/** What it is after the record. Undefined: it is gone, or never was. */
export function afterRecord(
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

/** About what it takes in memory. */
export function shareMemberBytes({ about, target, held }: ShareMember): number {
  return consumerBytes(about.subscribedTopicNames) + partitionsBytes(target, held.assigned);
}
