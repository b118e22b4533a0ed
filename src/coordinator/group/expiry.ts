/**
 * Which committed offsets nobody needs any more (KIP-211): those of a group without members, when it has
 * had none for the retention time; those that a tool committed, when that long ago; and in a group that
 * lives, those of topics that it no longer reads. Pure.
 */
import { consumerProtocolType } from "../../protocol/consumer-protocol.ts";
import type { Group } from "./group.ts";
import type { CommittedOffset, PartitionName } from "./offsets.ts";

export interface Expired extends PartitionName {
  readonly committed: CommittedOffset;
}

export function expiredOffsets(
  group: Group,
  wallMs: number,
  retentionMs: number,
  data: { holds(name: PartitionName, committed: CommittedOffset): boolean },
): readonly Expired[] {
  const unusedSince = unusedSinceMs(group);
  const expired: Expired[] = [];
  for (const each of group.offsets.all()) {
    const since = unusedSince(each);
    if (wallMs - since < retentionMs || data.holds(each, each.committed)) continue;
    expired.push(each);
  }
  return expired;
}

/** `Infinity`: it is in use. */
function unusedSinceMs(group: Group): (each: Expired) => number {
  const { classic, consumer } = group;
  const committed = (each: Expired) => each.committed.commitTimestamp;
  if (consumer !== null) {
    const subscribed = group.subscribedTopics();
    return (each) => (subscribed?.has(each.topic) === true ? Infinity : committed(each));
  }
  if (classic === null || classic.protocolType === null) return committed;
  if (classic.phase === "Empty") {
    return (each) => Math.max(classic.stateTimestampMs, each.committed.commitTimestamp);
  }
  if (classic.phase !== "Stable" || classic.protocolType !== consumerProtocolType) return () => Infinity;
  const subscribed = group.subscribedTopics();
  return (each) => (subscribed === null || subscribed.has(each.topic) ? Infinity : committed(each));
}
