/**
 * Makes partitions of this broker what their former owners left: the newest segment's footer, then what
 * their dependencies name in the WALs of epochs that ended, in the order of those. Whoever calls it has read
 * these WALs, and serves the partitions afterwards.
 */
import { DamageError, HoldfastError } from "../base/errors.ts";
import { type BrokerEpoch, type PartitionIndex, partitionKey, type TopicId } from "../base/ids.ts";
import type { Logger } from "../base/ports.ts";
import type { Partition } from "../log/partition.ts";
import type { Partitions } from "../log/partitions.ts";
import { ObjectGoneError, type SegmentIndex } from "../log/segment-index.ts";
import type { TailEntry } from "../log/tail-entry.ts";
import type { RecoveredWal } from "../log/wal-recovery.ts";
import type { ClusterState, PartitionState, TopicState } from "../metadata/state.ts";
import type { Topics } from "./topics.ts";

/** What was read of a WAL that ended. */
export type EndedWal = Pick<RecoveredWal, "entries" | "holes" | "jumped">;
export type EndedWals = ReadonlyMap<BrokerEpoch, EndedWal>;

/** A partition to be loaded, as the journal had it when the reading of its WALs was planned. */
export interface Wanted {
  readonly topic: TopicState;
  readonly partition: PartitionState;
}

export interface LoadingPorts {
  readonly log: Logger;
  readonly topics: Topics;
  readonly partitions: Partitions;
  readonly index: SegmentIndex;
  /** Where others change the journal too: brings the view up to date. */
  readonly refresh?: () => Promise<void>;
}

/** The journal moved on while a partition was opened, which somebody else may own by now: look again. */
export class OutdatedViewError extends HoldfastError {
  readonly code = "OUTDATED_VIEW";
  override readonly name = "OutdatedViewError";
  override readonly retriable = true;
}

/** A jump leaves this gap, so that no offset that might have been acknowledged ever names other bytes. */
const jumpOffsets = 2 ** 40;
/** Footers read at a time: as many small reads as a bucket is asked at once. */
const openingMax = 64;

/** Opens all of them from their segments. Rejects with what the store gave; those that are open then stay so. */
export async function openPartitions(
  wanted: readonly Wanted[],
  wals: EndedWals,
  state: ClusterState,
  ports: LoadingPorts,
): Promise<Map<Wanted, Partition>> {
  const opened = new Map<Wanted, Partition>();
  let next = 0;
  const openSome = async (): Promise<void> => {
    for (let one = wanted[next++]; one !== undefined; one = wanted[next++]) {
      opened.set(one, await openOne(one, holesOf(one, wals, state), ports));
    }
  };
  // All have come to rest before anybody tries again, or a partition would be opened twice.
  const ended = await Promise.allSettled(Array.from({ length: openingMax }, openSome));
  for (const each of ended) if (each.status === "rejected") throw each.reason;
  return opened;
}

type Holes = Parameters<Topics["open"]>[2]["holes"];

async function openOne({ topic, partition }: Wanted, holes: Holes, ports: LoadingPorts): Promise<Partition> {
  const { topics, index, log } = ports;
  const source = { topicId: topic.id, partition: partition.index, segments: () => partition };
  try {
    const newest = await index.newest(source);
    return topics.open(topics.byId(topic.id) ?? topic, partition, { state: newest?.footer.state, holes });
  } catch (cause) {
    if (!(cause instanceof DamageError)) throw cause;
    if (cause instanceof ObjectGoneError) await refuseOldView({ topic, partition }, cause, ports);
    // The records beside the damage stay readable. Producers are unknown, so their retries are refused, not doubled.
    log.error("partition.footer-damaged", {
      topic: topic.name,
      partition: partition.index,
      cause: cause.message,
    });
    return topics.open(topic, partition, { state: undefined, holes });
  }
}

/** What is gone is damage only if a fresh view names it still: a later owner may have exchanged and deleted it. */
async function refuseOldView(
  { topic, partition }: Wanted,
  cause: ObjectGoneError,
  { topics, refresh }: LoadingPorts,
): Promise<void> {
  if (refresh === undefined) return;
  await refresh();
  if (topics.byId(topic.id)?.partitions[partition.index] === partition) return;
  const what = `partition ${partition.index} of topic ${topic.name}`;
  throw new OutdatedViewError(`The journal has moved on while ${what} was opened.`, { cause });
}

/** Damaged ranges of all ended WALs, ascending: as the journal has them, or as they were read now. */
function holesOf({ topic, partition }: Wanted, wals: EndedWals, state: ClusterState): Holes {
  const found: { from: PartitionState["start"]; to: PartitionState["start"] }[] = [];
  for (const broker of state.brokers.values()) {
    // What was found now begins with what was recorded.
    for (const hole of wals.get(broker.epoch)?.holes ?? broker.holes) {
      if (hole.topicId === topic.id && hole.partition === partition.index) found.push(hole);
    }
  }
  return found.sort((a, b) => a.from - b.from);
}

/** Gives each partition what its dependencies name. Returns how many entries there were. */
export function loadEntries(
  opened: ReadonlyMap<Wanted, Partition>,
  wals: EndedWals,
  state: ClusterState,
  partitions: Partitions,
): number {
  const entries = new EntriesByPartition(wals);
  const loaded: TailEntry[] = [];
  let count = 0;
  for (const [{ topic, partition: was }, partition] of opened) {
    let gaps = false;
    for (const { epoch, from, to } of was.dependencies) {
      const isRecordedJump = state.brokers.get(epoch)?.jumped === true;
      // Entries that nothing names are gone: how many, the next one tells, in this WAL or in a later one.
      gaps ||= wals.get(epoch)?.jumped === true || isRecordedJump;
      for (const { entry, position } of entries.of(epoch, topic.id, was.index)) {
        if (position < from || position >= to) continue;
        count++;
        const kept = partition.load(entry, gaps);
        if (kept !== undefined) loaded.push(kept);
      }
      if (isRecordedJump) partition.jump(jumpOffsets);
    }
    // Damage that came after RECOVER: later WALs went on without a gap, so it is left behind all of them.
    const jumpedSince = ({ epoch }: { readonly epoch: BrokerEpoch }): boolean =>
      wals.get(epoch)?.jumped === true && state.brokers.get(epoch)?.jumped !== true;
    if (was.dependencies.some(jumpedSince)) partition.jump(jumpOffsets);
  }
  if (loaded.length > 0) partitions.tail.load(loaded);
  return count;
}

type Entries = RecoveredWal["entries"];

/** The entries of each WAL by partition, in their order. */
class EntriesByPartition {
  readonly #byEpoch = new Map<BrokerEpoch, Map<string, Entries[number][]>>();

  constructor(wals: EndedWals) {
    for (const [epoch, { entries }] of wals) {
      const byPartition = new Map<string, Entries[number][]>();
      for (const each of entries) {
        const key = partitionKey(each.entry.topicId, each.entry.partition);
        const list = byPartition.get(key);
        if (list === undefined) byPartition.set(key, [each]);
        else list.push(each);
      }
      this.#byEpoch.set(epoch, byPartition);
    }
  }

  of(epoch: BrokerEpoch, topicId: TopicId, partition: PartitionIndex): Entries {
    return this.#byEpoch.get(epoch)?.get(partitionKey(topicId, partition)) ?? [];
  }
}
