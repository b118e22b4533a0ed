/**
 * Every setting of a broker: Kafka's name where Kafka has one, else `holdfast.…`; default, range, whether
 * it changes while the broker runs, and what it is for. Values come from, in this order: dynamic for this
 * broker, dynamic for all, the file and the command line, the default. Keys that Kafka has and that mean
 * nothing here are in kafka-keys.ts: accepted, shown, without effect.
 */
import { RefusedError } from "../base/errors.ts";
import {
  boolean,
  ConfigSource,
  double,
  InvalidSettingError,
  int,
  list,
  long,
  oneOf,
  type ResolvedSetting,
  type Setting,
  type SettingValue,
  text,
} from "./setting.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const hourMs = 3_600_000;
const compressions = ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] as const;
const dynamic = true;

export const brokerSettings = {
  // Who it is.
  "node.id": int({
    default: 1,
    min: -1,
    text: "Number of this broker in the cluster; it stays the same for the life of a data directory. Over a shared store (--store) it need not be given: −1, which is what stands there then, is the number that the journal gives to this broker's address.",
  }),
  "holdfast.cluster.id": text({
    default: null,
    text: "The cluster that must stand in the store or data directory, or that begins in an empty one: 1 to 32 printable ASCII characters without spaces. One with another id is refused. Unset: whatever stands there; a new one draws its id by chance.",
  }),
  "broker.rack": text({
    default: null,
    text: "Where this broker stands, as clients compare it with their client.rack.",
  }),

  "holdfast.peer.suspicion.ms": int({
    default: 3_000,
    min: 3_000,
    text: "In a cluster: a broker that does not answer for so long, and writes nothing meanwhile, is taken for dead, and others take its partitions over. Raise it where machines stand still for seconds; it costs nothing but time when a broker really dies.",
  }),

  // Connections.
  "socket.request.max.bytes": int({
    default: 100 * MiB,
    min: 1 * KiB,
    text: "Greatest request in bytes. Raise it for clients that send larger ones.",
  }),
  "max.connections": int({
    dynamic,
    default: 2_147_483_647,
    min: 0,
    text: "Most connections at a time; further ones are closed.",
  }),
  "max.connections.per.ip": int({
    dynamic,
    default: 2_147_483_647,
    min: 0,
    text: "Most connections at a time from one address; further ones are closed.",
  }),
  "connections.max.idle.ms": long({
    default: 600_000,
    text: "A connection on which nothing happens for so many ms is closed; negative: never.",
  }),
  "queued.max.request.bytes": long({
    default: -1,
    min: -1,
    text: "Bytes of requests in memory, over all connections; at the bound reading pauses. −1: an eighth of holdfast.memory.bytes less 256 MiB. Raise it for many producers of large batches.",
  }),
  "holdfast.connection.requests.max": int({
    default: 128,
    min: 1,
    text: "Requests of one connection that are worked on at a time.",
  }),
  "holdfast.connection.request.bytes.max": int({
    default: 32 * MiB,
    min: 1 * KiB,
    text: "Bytes of requests of one connection in memory; at the bound reading from it pauses.",
  }),
  "holdfast.connection.response.bytes.max": int({
    default: 16 * MiB,
    min: 128 * KiB,
    text: "Bytes of answers that a slow reader leaves unread before its next request is not started.",
  }),

  // Topics.
  "auto.create.topics.enable": boolean({
    default: true,
    text: "Whether a topic is made when a client first names it.",
  }),
  "num.partitions": int({
    dynamic,
    default: 1,
    min: 1,
    text: "Partitions of a topic that is made without a number.",
  }),
  "delete.topic.enable": boolean({ default: true, text: "Whether topics may be deleted." }),
  "holdfast.partitions.max": int({ default: 200_000, min: 1, text: "Most partitions of this broker." }),

  // What topics take over when they have no setting of their own; see topic-config.ts.
  "compression.type": oneOf(compressions, {
    dynamic,
    default: "producer",
    text: "Compression of stored batches; producer: as they come.",
  }),
  "compression.gzip.level": int({
    dynamic,
    default: -1,
    min: -1,
    max: 9,
    text: "Level when the broker compresses with gzip.",
  }),
  "compression.lz4.level": int({
    dynamic,
    default: 9,
    min: 1,
    max: 17,
    text: "Level when the broker compresses with lz4.",
  }),
  "compression.zstd.level": int({
    dynamic,
    default: 3,
    min: -131_072,
    max: 22,
    text: "Level when the broker compresses with zstd.",
  }),
  "message.max.bytes": int({
    dynamic,
    default: MiB + 12,
    min: 0,
    text: "Greatest record batch in bytes, as it is sent (compressed).",
  }),
  "log.cleanup.policy": list({
    dynamic,
    default: "delete",
    values: ["delete", "compact"],
    text: "delete: old segments go; compact: old values of a key go; empty: everything stays.",
  }),
  "log.retention.ms": long({
    dynamic,
    default: -1,
    min: -1,
    text: "How long records are kept; −1: without limit. Unset: log.retention.minutes, then log.retention.hours.",
  }),
  "log.retention.minutes": int({ default: -1, text: "As log.retention.ms, in minutes." }),
  "log.retention.hours": int({ default: 168, text: "As log.retention.ms, in hours." }),
  "log.retention.bytes": long({
    dynamic,
    default: -1,
    text: "How many bytes of a partition are kept; −1: without limit.",
  }),
  "log.segment.bytes": int({
    dynamic,
    default: 1024 * MiB,
    min: MiB,
    text: "Changes nothing: a segment is what one flush wrote, or about 16 MiB of what compaction wrote.",
  }),
  "log.roll.ms": long({
    dynamic,
    default: 168 * hourMs,
    min: 1,
    text: "Changes nothing: every flush ends a segment, and compaction sees it from then on. Unset: log.roll.hours.",
  }),
  "log.roll.hours": int({ default: 168, min: 1, text: "As log.roll.ms, in hours." }),
  "log.roll.jitter.ms": long({ dynamic, default: 0, min: 0, text: "Greatest random part of log.roll.ms." }),
  "log.message.timestamp.type": oneOf(["CreateTime", "LogAppendTime"], {
    dynamic,
    default: "CreateTime",
    text: "Whether a record keeps the time that its producer gave it.",
  }),
  "log.message.timestamp.before.max.ms": long({
    dynamic,
    default: "max",
    min: 0,
    text: "How far in the past a producer's timestamp may lie.",
  }),
  "log.message.timestamp.after.max.ms": long({
    dynamic,
    default: hourMs,
    min: 0,
    text: "How far in the future a producer's timestamp may lie.",
  }),
  "log.cleaner.delete.retention.ms": long({
    dynamic,
    default: 24 * hourMs,
    min: 0,
    text: "How long a deleted key stays visible as such in a compacted topic.",
  }),
  "log.cleaner.min.compaction.lag.ms": long({
    dynamic,
    default: 0,
    min: 0,
    text: "How long a record stays as it is in a compacted topic.",
  }),
  "log.cleaner.max.compaction.lag.ms": long({
    dynamic,
    default: "max",
    min: 1,
    text: "After how long a record must have been seen by compaction.",
  }),
  "log.cleaner.min.cleanable.ratio": double({
    dynamic,
    default: 0.5,
    min: 0,
    max: 1,
    text: "Share of a compacted log that may be dirty.",
  }),
  "log.cleaner.enable": boolean({
    default: true,
    text: "Whether compacted topics are compacted. Without it they grow for ever.",
  }),
  "log.cleaner.backoff.ms": long({
    dynamic,
    default: 15_000,
    min: 0,
    text: "How long compaction rests before it looks at all partitions again.",
  }),
  "log.cleaner.dedupe.buffer.size": long({
    dynamic,
    default: 128 * MiB,
    min: MiB,
    text: "Memory for the keys of one pass, at most an eighth of what memory there is. With more keys compaction takes several passes; raise it when a partition has many millions of keys.",
  }),
  "log.cleaner.io.max.bytes.per.second": double({
    dynamic,
    default: Number.MAX_VALUE,
    min: 1,
    max: Number.MAX_VALUE,
    text: "How much compaction reads and writes in a second. Lower it when it takes the disk from others.",
  }),
  "log.flush.interval.messages": long({
    dynamic,
    default: "max",
    min: 1,
    text: "Every acknowledgement is on disk as it is; a lower value changes nothing.",
  }),
  "log.flush.interval.ms": long({
    dynamic,
    default: "max",
    min: 0,
    text: "Every acknowledgement is on disk as it is; a lower value changes nothing.",
  }),
  "log.index.interval.bytes": int({
    dynamic,
    default: 4096,
    min: 0,
    text: "Accepted and shown; the index has a grain of its own.",
  }),
  "log.index.size.max.bytes": int({
    dynamic,
    default: 10 * MiB,
    min: 4,
    text: "Accepted and shown; the index lies in the segment.",
  }),
  "log.segment.delete.delay.ms": long({
    dynamic,
    default: 60_000,
    min: 0,
    text: "How long a segment that nobody names any more stays in the store.",
  }),
  "log.preallocate": boolean({
    dynamic,
    default: false,
    text: "Accepted and shown; WAL files are prepared ahead as it is.",
  }),
  "min.insync.replicas": int({
    dynamic,
    default: 1,
    min: 1,
    text: "Accepted and shown as satisfied by the store.",
  }),
  "default.replication.factor": int({
    default: 1,
    min: 1,
    text: "Accepted and shown as satisfied by the store.",
  }),
  "unclean.leader.election.enable": boolean({
    dynamic,
    default: false,
    text: "Accepted and shown; no election loses records here.",
  }),
  "log.local.retention.ms": long({
    dynamic,
    default: -2,
    min: -2,
    text: "Local part of the retention of a tiered topic; −2: as log.retention.ms.",
  }),
  "log.local.retention.bytes": long({
    dynamic,
    default: -2,
    min: -2,
    text: "Local part of the retention of a tiered topic; −2: as log.retention.bytes.",
  }),
  "log.remote.copy.lag.ms": long({
    dynamic,
    default: 0,
    min: -1,
    text: "Accepted and shown; every segment is in the store as soon as it is made.",
  }),
  "log.remote.copy.lag.bytes": long({
    dynamic,
    default: -1,
    min: -1,
    text: "Accepted and shown; every segment is in the store as soon as it is made.",
  }),
  "max.decompressed.message.bytes": int({
    dynamic,
    default: 2_147_483_639,
    min: 1,
    max: 2_147_483_639,
    text: "Accepted and shown; what the broker inflates has a bound of its own.",
  }),
  "log.retention.check.interval.ms": long({
    default: 300_000,
    min: 1,
    text: "How often retention is looked at.",
  }),

  // Reading and producers.
  "fetch.max.bytes": int({
    default: 55 * MiB,
    min: KiB,
    text: "Most bytes in one answer to a fetch, whatever the client asks for.",
  }),
  "max.incremental.fetch.session.cache.slots": int({
    default: 1000,
    min: 0,
    text: "Fetch sessions that are remembered (KIP-227).",
  }),
  "producer.id.expiration.ms": int({
    dynamic,
    default: 24 * hourMs,
    min: 1,
    text: "How long an idle producer's sequence numbers are remembered.",
  }),
  "holdfast.partition.producers.max": int({
    default: 10_000,
    min: 5,
    text: "Producers remembered for one partition; beyond it the longest idle one is forgotten.",
  }),

  // Consumer groups and their offsets.
  "group.consumer.heartbeat.interval.ms": int({
    default: 5_000,
    min: 1,
    text: "How often members of KIP-848 groups are told to say that they are alive.",
  }),
  "group.consumer.max.heartbeat.interval.ms": int({
    default: 15_000,
    min: 1,
    text: "Longest consumer.heartbeat.interval.ms that may be set for one group.",
  }),
  "group.consumer.max.session.timeout.ms": int({
    default: 60_000,
    min: 1,
    text: "Longest consumer.session.timeout.ms that may be set for one group: so long a dead member's partitions may rest.",
  }),
  "group.consumer.min.heartbeat.interval.ms": int({
    default: 5_000,
    min: 1,
    text: "Shortest consumer.heartbeat.interval.ms that may be set for one group.",
  }),
  "group.consumer.min.session.timeout.ms": int({
    default: 45_000,
    min: 1,
    text: "Shortest consumer.session.timeout.ms that may be set for one group.",
  }),
  "group.consumer.max.size": int({
    default: 2_147_483_647,
    min: 1,
    text: "Most members of one KIP-848 group; further ones are refused.",
  }),
  "group.consumer.migration.policy": oneOf(["bidirectional", "downgrade", "upgrade", "disabled"], {
    default: "bidirectional",
    text: "Whether a group with members of the classic protocol takes members of KIP-848 (upgrade), and becomes a classic one again when the last of those is gone (downgrade).",
  }),
  "group.consumer.session.timeout.ms": int({
    default: 45_000,
    min: 1,
    text: "After so long without a heartbeat a member of a KIP-848 group is out.",
  }),
  "group.initial.rebalance.delay.ms": int({
    default: 3_000,
    min: 0,
    text: "How long a group that was empty waits for more members before its first generation. Lower it where one member is all there is.",
  }),
  "group.max.session.timeout.ms": int({
    default: 1_800_000,
    min: 1,
    text: "Longest session that a member may ask for: so long a dead member's partitions may rest.",
  }),
  "group.max.size": int({
    default: 2_147_483_647,
    min: 1,
    text: "Most members of one group; further ones are refused.",
  }),
  "group.min.session.timeout.ms": int({
    default: 6_000,
    min: 1,
    text: "Shortest session that a member may ask for: shorter ones cost heartbeats and end by a pause of the machine.",
  }),
  "offset.metadata.max.bytes": int({
    default: 4_096,
    min: 0,
    text: "Most bytes of text that may stand beside a committed offset.",
  }),
  "offsets.retention.check.interval.ms": long({
    default: 600_000,
    min: 1,
    text: "How often committed offsets are looked through for those that nobody uses any more.",
  }),
  "offsets.retention.hold": boolean({
    default: false,
    text: "Committed offsets do not expire while their partition holds records, however long ago they were used.",
  }),
  "offsets.retention.minutes": int({
    default: 10_080,
    min: 1,
    text: "After so long without a member, or without a commit where there never was one, the offsets of a group expire.",
  }),
  "offsets.topic.num.partitions": int({
    default: 50,
    min: 1,
    max: 1_000,
    text: "Partitions of __consumer_offsets when it is made, on first use. It never changes afterwards.",
  }),

  // Share groups.
  "share.coordinator.snapshot.update.records.per.snapshot": int({
    default: 500,
    min: 0,
    max: 500,
    text: "Changes of the state of a share-partition that are written one by one before the whole of it is written again. Fewer make a start quicker, and what is written more.",
  }),
  "share.coordinator.state.topic.num.partitions": int({
    default: 50,
    min: 1,
    max: 1_000,
    text: "Partitions of __share_group_state when it is made, on first use. It never changes afterwards.",
  }),

  // Transactions.
  "transaction.max.timeout.ms": int({
    default: 900_000,
    min: 1,
    text: "Longest time that a producer may ask for to keep a transaction open: so long a dead producer may hold up readers of committed records.",
  }),
  "transaction.partition.verification.enable": boolean({
    dynamic,
    default: true,
    text: "Whether records of a transaction are taken only after its coordinator said that it is open and holds their partition. Without it records that were under way when their transaction ended may open one that nobody ends.",
  }),
  "transaction.remove.expired.transaction.cleanup.interval.ms": int({
    default: 3_600_000,
    min: 1,
    text: "How often transactional ids are looked through for those that nobody uses any more.",
  }),
  "transaction.state.log.num.partitions": int({
    default: 50,
    min: 1,
    max: 1_000,
    text: "Partitions of __transaction_state when it is made, on first use. It never changes afterwards.",
  }),
  "transactional.id.expiration.ms": int({
    default: 604_800_000,
    min: 1,
    text: "A transactional id that was not used for so long is forgotten. Its producer, if there still is one, gets INVALID_PRODUCER_ID_MAPPING and has to start anew.",
  }),

  // Share groups (KIP-932) and their dead letters (KIP-1191).
  "errors.deadletterqueue.auto.create.topics.enable": boolean({
    dynamic,
    default: false,
    text: "Whether a dead-letter topic that a group names is made when it is first needed and not there.",
  }),
  "errors.deadletterqueue.topic.name.prefix": text({
    dynamic,
    default: "dlq.",
    text: "How the name of every dead-letter topic must begin; empty: any topic that is not internal will do.",
  }),
  "group.share.delivery.count.limit": int({
    default: 5,
    min: 2,
    max: 10,
    text: "How often a record is delivered at most before it is archived, or becomes a dead letter where its group has a topic for them.",
  }),
  "group.share.heartbeat.interval.ms": int({
    default: 5_000,
    min: 1,
    text: "How often members of share groups are told to say that they are alive.",
  }),
  "group.share.max.delivery.count.limit": int({
    default: 10,
    min: 5,
    max: 25,
    text: "Greatest share.delivery.count.limit that may be set for one group.",
  }),
  "group.share.max.heartbeat.interval.ms": int({
    default: 15_000,
    min: 1,
    text: "Longest share.heartbeat.interval.ms that may be set for one group.",
  }),
  "group.share.max.partition.max.record.locks": int({
    default: 4_000,
    min: 2_000,
    max: 10_000,
    text: "Greatest share.partition.max.record.locks that may be set for one group.",
  }),
  "group.share.max.record.lock.duration.ms": int({
    default: 60_000,
    min: 30_000,
    max: 3_600_000,
    text: "Longest share.record.lock.duration.ms that may be set for one group.",
  }),
  "group.share.max.session.timeout.ms": int({
    default: 60_000,
    min: 1,
    text: "Longest share.session.timeout.ms that may be set for one group.",
  }),
  "group.share.max.share.sessions": int({
    default: 2_000,
    min: 1,
    text: "Most share sessions of this broker at a time: one for each member that reads from it. Further ones are refused until one ends.",
  }),
  "group.share.max.size": int({
    default: 200,
    min: 1,
    max: 1_000,
    text: "Most members of one share group; further ones are refused.",
  }),
  "group.share.min.delivery.count.limit": int({
    default: 2,
    min: 2,
    max: 5,
    text: "Least share.delivery.count.limit that may be set for one group.",
  }),
  "group.share.min.heartbeat.interval.ms": int({
    default: 5_000,
    min: 1,
    text: "Shortest share.heartbeat.interval.ms that may be set for one group.",
  }),
  "group.share.min.partition.max.record.locks": int({
    default: 100,
    min: 100,
    max: 2_000,
    text: "Least share.partition.max.record.locks that may be set for one group.",
  }),
  "group.share.min.record.lock.duration.ms": int({
    default: 15_000,
    min: 1_000,
    max: 30_000,
    text: "Shortest share.record.lock.duration.ms that may be set for one group.",
  }),
  "group.share.min.session.timeout.ms": int({
    default: 45_000,
    min: 1,
    text: "Shortest share.session.timeout.ms that may be set for one group.",
  }),
  "group.share.partition.max.record.locks": int({
    default: 2_000,
    min: 100,
    max: 10_000,
    text: "Most records of one partition that a share group may have in flight: delivered and not acknowledged. Raise it where many workers share one partition.",
  }),
  "group.share.record.lock.duration.ms": int({
    default: 30_000,
    min: 1_000,
    max: 3_600_000,
    text: "How long a delivered record belongs to its member; what is neither acknowledged nor renewed by then is delivered again.",
  }),
  "group.share.session.timeout.ms": int({
    default: 45_000,
    min: 1,
    text: "After so long without a heartbeat a member of a share group is out.",
  }),

  // Memory and disk.
  "holdfast.memory.bytes": long({
    default: 768 * MiB,
    min: 384 * MiB,
    text: "What the process may take of memory: 256 MiB for the runtime, the rest for records. The bounds below it that are −1 are parts of that rest. Raise it for faster readers of recent records and longer bursts of producers.",
  }),
  "holdfast.tail.bytes": long({
    default: -1,
    min: -1,
    text: "Newest records kept in memory for readers; −1: an eighth of holdfast.memory.bytes less 256 MiB.",
  }),
  "holdfast.unflushed.bytes.max": long({
    default: -1,
    min: -1,
    text: "Bytes in the WAL that are not in segments yet; at the bound producing waits. It also bounds how long a start reads. −1: a quarter of holdfast.memory.bytes less 256 MiB.",
  }),
  "holdfast.flush.age.ms": long({
    default: 30_000,
    min: 100,
    text: "How long a record may wait in the WAL for its segment; after a crash so much is read again.",
  }),
  "holdfast.cache.bytes": long({
    default: -1,
    min: -1,
    text: "Blocks of segments kept in memory for readers of old records; −1: a sixteenth of holdfast.memory.bytes less 256 MiB.",
  }),
  "holdfast.groups.bytes.max": long({
    default: -1,
    min: -1,
    text: "What groups with their members and committed offsets may take in memory, about; beyond it new members and new offsets are refused, and what is there goes on. −1: a quarter of holdfast.memory.bytes less 256 MiB.",
  }),
  "holdfast.transactions.bytes.max": long({
    default: -1,
    min: -1,
    text: "What transactional ids and their transactions may take in memory, about; beyond it new ids and new partitions of transactions are refused, and what is there goes on to its end. −1: a sixteenth of holdfast.memory.bytes less 256 MiB.",
  }),
  "holdfast.wal.puts.per.second": int({
    default: 0,
    min: 0,
    text: "Over a shared store: at most so many objects of the log are written per second, because each costs money; records wait for the next one. 0: an object leaves as soon as a lane is free.",
  }),
  "holdfast.wal.file.bytes": long({ default: 64 * MiB, min: MiB, text: "Size of one WAL file." }),
  "holdfast.disk.direct": boolean({
    default: true,
    text: "Whether the WAL and segments are written past the operating system's page cache. With false, readers that lag by more than holdfast.tail.bytes may find records in spare memory instead of reading them from the disk; writing costs several times the CPU where a hypervisor lends the memory.",
  }),
  "holdfast.disk.floor.bytes": long({
    default: 512 * MiB,
    min: 0,
    text: "Free space below which producing is refused, so that what was accepted can always be finished.",
  }),
  "holdfast.scrub.interval.ms": long({
    default: 7 * 24 * hourMs,
    min: -1,
    text: "How long to rest before everything in segments is read again to find damage; -1: never.",
  }),
  "holdfast.scrub.bytes.per.second": long({
    default: 8 * MiB,
    min: 4096,
    text: "How much of it is read in a second. Raise it when reading everything takes too long.",
  }),
  "holdfast.disk.reserve.bytes": long({
    default: 64 * MiB,
    min: 0,
    text: "File that is given up when a start finds the disk full.",
  }),

  // Watching.
  "holdfast.log.level": oneOf(["debug", "info", "warn", "error"], {
    dynamic,
    default: "info",
    text: "Least level of what is logged.",
  }),
} as const;

export type BrokerSettings = typeof brokerSettings;
export type BrokerSettingName = keyof BrokerSettings;

export function isBrokerSetting(name: string): name is BrokerSettingName {
  return Object.hasOwn(brokerSettings, name);
}

/** The settings of one broker. Dynamic ones change in `setDynamic`; whoever must act on a change listens. */
export class BrokerConfig {
  #static: ReadonlyMap<string, string>;
  #dynamicDefault: ReadonlyMap<string, string> = new Map();
  #dynamicOwn: ReadonlyMap<string, string> = new Map();
  readonly #values = new Map<string, unknown>();
  readonly #listeners = new Set<() => void>();

  /**
   * `given`: from the file and the command line. Unknown names are kept and have no effect, since a file
   * may be shared with other programs; a wrong value throws `RefusedError`.
   */
  constructor(given: ReadonlyMap<string, string> = new Map()) {
    this.#static = given;
    for (const [name, value] of given) {
      if (!isBrokerSetting(name)) continue;
      try {
        brokerSettings[name].read(value);
      } catch (error) {
        if (error instanceof InvalidSettingError)
          throw new RefusedError(`The setting ${name} ${error.message}.`);
        throw error;
      }
    }
  }

  get<Name extends BrokerSettingName>(name: Name): SettingValue<BrokerSettings[Name]> {
    if (!this.#values.has(name)) {
      const { value } = this.resolve(name);
      this.#values.set(name, value === null ? null : (brokerSettings[name] as Setting<unknown>).read(value));
    }
    return this.#values.get(name) as SettingValue<BrokerSettings[Name]>;
  }

  /** As DescribeConfigs shows it. A dynamic value that is not valid any more counts as absent. */
  resolve(name: BrokerSettingName): ResolvedSetting {
    const setting: Setting<unknown> = brokerSettings[name];
    const found = this.explicit(name);
    return found ?? { name, value: setting.default, source: ConfigSource.default };
  }

  /** What was set on purpose, newest authority first; undefined when nothing was. */
  explicit(name: BrokerSettingName): ResolvedSetting | undefined {
    const setting: Setting<unknown> = brokerSettings[name];
    for (const [source, values] of this.#layers()) {
      const value = values.get(name);
      if (value === undefined || (source !== ConfigSource.staticBroker && !setting.dynamic)) continue;
      if (isReadable(setting, value)) return { name, value, source };
    }
    return undefined;
  }

  /** Every place where a key is set, the one that counts first, as it was written; also for keys without effect. */
  places(name: string): readonly ResolvedSetting[] {
    return this.#layers().flatMap(([source, values]) => {
      const value = values.get(name);
      return value === undefined ? [] : [{ name, value, source }];
    });
  }

  #layers(): readonly [ConfigSource, ReadonlyMap<string, string>][] {
    return [
      [ConfigSource.dynamicBroker, this.#dynamicOwn],
      [ConfigSource.dynamicDefaultBroker, this.#dynamicDefault],
      [ConfigSource.staticBroker, this.#static],
    ];
  }

  /** The number that the cluster gave to a broker that was started without one. */
  adoptNodeId(id: number): void {
    this.#static = new Map(this.#static).set("node.id", String(id));
    this.#values.delete("node.id");
  }

  /** The journal's settings for all brokers and for this one, whole. */
  setDynamic(all: ReadonlyMap<string, string>, own: ReadonlyMap<string, string>): void {
    this.#dynamicDefault = all;
    this.#dynamicOwn = own;
    this.#values.clear();
    for (const listener of this.#listeners) listener();
  }

  /** Called after each `setDynamic`. Returns the end of listening. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function isReadable(setting: Setting<unknown>, value: string): boolean {
  try {
    setting.read(value);
    return true;
  } catch (error) {
    if (error instanceof InvalidSettingError) return false;
    throw error;
  }
}

/** Checks a change of a dynamic broker setting; the sentence that refuses it, or null. */
export function refuseBrokerSetting(name: string, value: string): string | null {
  if (!isBrokerSetting(name)) return `There is no broker setting ${name}.`;
  const setting: Setting<unknown> = brokerSettings[name];
  if (!setting.dynamic) return `${name} can only be changed in the configuration file, with a restart.`;
  try {
    setting.read(value);
    return null;
  } catch (error) {
    if (error instanceof InvalidSettingError) return `${name} ${error.message}.`;
    throw error;
  }
}
