/**
 * What a start on files does before it serves, in this order and no other: become an epoch of one's own,
 * then end every older one (FENCE, read its WAL, RECOVER), and only then load what is owned. Nothing is
 * served before the journal holds how each older WAL ended, because a second reading could end elsewhere.
 */
import { RefusedError } from "../base/errors.ts";
import { type BrokerEpoch, type WalPosition, walPosition } from "../base/ids.ts";
import type { Disk, Env } from "../base/ports.ts";
import type { Partitions } from "../log/partitions.ts";
import type { SegmentIndex } from "../log/segment-index.ts";
import { type RecoveredWal, type RecoveryReport, recoverEpoch } from "../log/wal-recovery.ts";
import { formatLevel, type Journal } from "../metadata/journal.ts";
import type { BrokerState } from "../metadata/state.ts";
import { loadEntries, openPartitions, type Wanted } from "./partition-loading.ts";
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

export interface RecoverySummary {
  readonly epochs: number;
  readonly entries: number;
  readonly reports: readonly RecoveryReport[];
}

/** In a shared store nobody begins with a recovery. */
export const nothingRecovered: RecoverySummary = { epochs: 0, entries: 0, reports: [] };

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
  // Nobody older reads this store any more.
  if (journal.state.level < formatLevel) await journal.append({ kind: "level", level: formatLevel });
  const opened = await openPartitions(ownedBy(journal), wals, journal.state, {
    ...options,
    log: options.env.log,
  });
  const entries = loadEntries(opened, wals, journal.state, options.partitions);
  for (const partition of options.partitions) options.partitions.serve(partition);
  return { epochs: wals.size, entries, reports };
}

function ownedBy({ state, epoch }: Journal): readonly Wanted[] {
  const owned: Wanted[] = [];
  for (const topic of state.topics.values()) {
    for (const partition of topic.partitions) if (partition.owner === epoch) owned.push({ topic, partition });
  }
  return owned;
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
