/**
 * What a start on files does before it serves, in this order and no other: become an epoch of one's own,
 * then end every older one (FENCE, read its WAL, RECOVER), and only then load what is owned. Nothing is
 * served before the journal holds how each older WAL ended, because a second reading could end elsewhere.
 */
import { DamageError, RefusedError } from "../base/errors.ts";
import { type BrokerEpoch, type WalPosition, walPosition } from "../base/ids.ts";
import type { Disk, Env } from "../base/ports.ts";
import type { Partitions } from "../log/partitions.ts";
import type { SegmentIndex } from "../log/segment-index.ts";
import { type RecoveredWal, type RecoveryReport, recoverEpoch } from "../log/wal-recovery.ts";
import type { Journal } from "../metadata/journal.ts";
import type { BrokerState, PartitionState, TopicState } from "../metadata/state.ts";
import type { Topics } from "./topics.ts";

export interface RecoveryOptions {
  readonly env: Env;
  readonly disk: Disk;
  /** Registered: its epoch is the new one. */
  readonly journal: Journal;
  readonly partitions: Partitions;
  readonly topics: Topics;
  readonly index: SegmentIndex;
}

/** A jump leaves this gap, so that no offset that might have been acknowledged ever names other bytes. */
const jumpOffsets = 2 ** 40;
/** Footers read at a time. */
const openingMax = 16;

export interface RecoverySummary {
  readonly epochs: number;
  readonly entries: number;
  readonly reports: readonly RecoveryReport[];
}

/** Rejects with `RefusedError`, `DiskError`, `DamageError`; the data directory is then as it was. */
export async function recover(options: RecoveryOptions): Promise<RecoverySummary> {
  const { journal } = options;
  const wals = new Map<BrokerEpoch, RecoveredWal>();
  const reports: RecoveryReport[] = [];
  // In the order of the journal, not of directory names.
  for (const broker of Array.from(journal.state.brokers.values())) {
    if (broker.epoch === journal.epoch) continue;
    const recovered = broker.status === "sealed" ? await reread(broker, options) : await end(broker, options);
    if (recovered === null) continue;
    wals.set(broker.epoch, recovered);
    reports.push(...recovered.reports);
  }
  for (const report of reports) options.env.log.warn("recovery.report", { ...report });
  await openPartitions(options, wals);
  const entries = loadEntries(wals, options);
  for (const partition of options.partitions) options.partitions.serve(partition);
  return { epochs: wals.size, entries, reports };
}

/** Ends the WAL of a process that is gone: our lock says so, and FENCE makes it true in the journal. */
async function end(broker: BrokerState, options: RecoveryOptions) {
  const { journal, disk } = options;
  const { epoch } = broker;
  const { clusterId } = journal.state;
  await journal.append({ kind: "fence", epoch });
  // Frozen by FENCE from here on.
  const released = journal.state.brokers.get(epoch)?.released ?? walPosition(0);
  const recovered = await recoverEpoch({ disk, clusterId, epoch, released, recorded: null });
  const own = journal.epoch as BrokerEpoch;
  const outcome = await journal.append({
    kind: "recover",
    epoch,
    end: recovered.end,
    assignment: { owner: own, exceptions: [] },
    holes: recovered.holes,
    jumped: recovered.jumped,
    hash: recovered.hash,
  });
  if (outcome.kind === "void") {
    throw new RefusedError(
      `The end of epoch ${epoch} could not be recorded (${outcome.reason}); start again.`,
    );
  }
  return recovered;
}

/** An epoch that was ended before and whose entries are not all in segments yet: read up to its recorded end. */
async function reread(broker: BrokerState, options: RecoveryOptions) {
  const { journal, disk } = options;
  const from = neededFrom(broker.epoch, options);
  if (from === null || broker.end === null) return null;
  const { epoch, end: recordedEnd, holes, recoveryHash } = broker;
  return recoverEpoch({
    disk,
    clusterId: journal.state.clusterId,
    epoch,
    released: from,
    recorded: { end: recordedEnd, holes, hash: recoveryHash },
  });
}

/** The lowest position of a dead WAL from which a partition still depends on it; null: on nothing of it. */
export function neededFrom(
  epoch: BrokerEpoch,
  { journal }: Pick<RecoveryOptions, "journal">,
): WalPosition | null {
  let needed: WalPosition | null = null;
  for (const topic of journal.state.topics.values()) {
    for (const { dependencies } of topic.partitions) {
      for (const dependency of dependencies) {
        if (dependency.epoch !== epoch) continue;
        if (needed === null || dependency.from < needed) needed = dependency.from;
      }
    }
  }
  return needed;
}

type Wals = ReadonlyMap<BrokerEpoch, RecoveredWal>;

async function openPartitions(options: RecoveryOptions, wals: Wals): Promise<void> {
  const { journal, topics } = options;
  const owned: { topic: TopicState; partition: PartitionState }[] = [];
  for (const topic of topics.all()) {
    for (const partition of topic.partitions) {
      if (partition.owner === journal.epoch) owned.push({ topic, partition });
    }
  }
  let next = 0;
  const openSome = async (): Promise<void> => {
    for (let one = owned[next++]; one !== undefined; one = owned[next++]) await openOne(one, options, wals);
  };
  await Promise.all(Array.from({ length: openingMax }, openSome));
}

async function openOne(
  { topic, partition }: { readonly topic: TopicState; readonly partition: PartitionState },
  options: RecoveryOptions,
  wals: Wals,
): Promise<void> {
  const { topics, index, env } = options;
  const holes = holesOf(topic, partition, options, wals);
  const source = { topicId: topic.id, partition: partition.index, segments: () => partition };
  try {
    const newest = await index.newest(source);
    topics.open(topic, partition, { state: newest?.footer.state, holes });
  } catch (cause) {
    if (!(cause instanceof DamageError)) throw cause;
    // The records beside the damage stay readable. Producers are unknown, so their retries are refused, not doubled.
    env.log.error("partition.footer-damaged", {
      topic: topic.name,
      partition: partition.index,
      cause: cause.message,
    });
    topics.open(topic, partition, { state: undefined, holes });
  }
}

/** Damaged ranges of all older WALs, ascending: as the journal has them, or as this start read them. */
function holesOf(topic: TopicState, partition: PartitionState, { journal }: RecoveryOptions, wals: Wals) {
  const found: { from: (typeof partition)["start"]; to: (typeof partition)["start"] }[] = [];
  for (const broker of journal.state.brokers.values()) {
    // What this start found begins with what was recorded.
    for (const hole of wals.get(broker.epoch)?.holes ?? broker.holes) {
      if (hole.topicId === topic.id && hole.partition === partition.index) found.push(hole);
    }
  }
  return found.sort((a, b) => a.from - b.from);
}

/** Gives each partition what its dependencies name, in WAL order, epoch by epoch. */
function loadEntries(wals: Wals, { journal, partitions }: RecoveryOptions): number {
  let loaded = 0;
  let gaps = false;
  const isRecordedJump = (epoch: BrokerEpoch) => journal.state.brokers.get(epoch)?.jumped === true;
  for (const [epoch, wal] of wals) {
    const needed = wal.entries.filter(({ entry, position }) => {
      const partition = journal.state.topics.get(entry.topicId)?.partitions[entry.partition];
      return partition?.dependencies.some(
        (dependency) => dependency.epoch === epoch && dependency.from <= position && position < dependency.to,
      );
    });
    // Entries that nothing names are gone: how many, the next one tells, in this WAL or in a later one.
    gaps ||= wal.jumped || isRecordedJump(epoch);
    partitions.load(
      needed.map(({ entry }) => entry),
      { jumped: gaps },
    );
    loaded += needed.length;
    if (isRecordedJump(epoch)) jumpAll(epoch, { journal, partitions });
  }
  // Damage that came after RECOVER: later WALs went on without a gap, so it is left behind all of them.
  for (const [epoch, wal] of wals) {
    if (wal.jumped && !isRecordedJump(epoch)) jumpAll(epoch, { journal, partitions });
  }
  return loaded;
}

/** Only those that still depend on the damaged WAL: of the others, segments tell where they ended. */
function jumpAll(
  epoch: BrokerEpoch,
  { journal, partitions }: Pick<RecoveryOptions, "journal" | "partitions">,
): void {
  for (const partition of partitions) {
    const state = journal.state.topics.get(partition.topicId)?.partitions[partition.partition];
    if (state?.dependencies.some((each) => each.epoch === epoch)) partition.jump(jumpOffsets);
  }
}
