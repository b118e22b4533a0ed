/**
 * What a test lets go wrong. Armed here, and asked for by the connections and the disk when the moment
 * comes; they outlive crashes and restarts of the broker, until `clear`.
 */
import { RefusedError } from "../base/errors.ts";
import type { SimRandom } from "../sim/random.ts";

const apiNames = [
  "Produce",
  "Fetch",
  "ListOffsets",
  "Metadata",
  "OffsetCommit",
  "OffsetFetch",
  "FindCoordinator",
  "JoinGroup",
  "Heartbeat",
  "LeaveGroup",
  "SyncGroup",
  "DescribeGroups",
  "ListGroups",
  "ApiVersions",
  "CreateTopics",
  "DeleteTopics",
  "DeleteRecords",
  "InitProducerId",
  "OffsetForLeaderEpoch",
  "AddPartitionsToTxn",
  "AddOffsetsToTxn",
  "EndTxn",
  "WriteTxnMarkers",
  "TxnOffsetCommit",
  "DescribeAcls",
  "CreateAcls",
  "DeleteAcls",
  "DescribeConfigs",
  "AlterConfigs",
  "DescribeLogDirs",
  "CreatePartitions",
  "DeleteGroups",
  "ElectLeaders",
  "IncrementalAlterConfigs",
  "AlterPartitionReassignments",
  "ListPartitionReassignments",
  "OffsetDelete",
  "UpdateFeatures",
  "DescribeCluster",
  "DescribeProducers",
  "DescribeTransactions",
  "ListTransactions",
  "ConsumerGroupHeartbeat",
  "ConsumerGroupDescribe",
  "GetTelemetrySubscriptions",
  "PushTelemetry",
  "ListConfigResources",
  "DescribeTopicPartitions",
  "ShareGroupHeartbeat",
  "ShareGroupDescribe",
  "ShareFetch",
  "ShareAcknowledge",
  "InitializeShareGroupState",
  "ReadShareGroupState",
  "WriteShareGroupState",
  "DeleteShareGroupState",
  "ReadShareGroupStateSummary",
  "DescribeShareGroupOffsets",
  "AlterShareGroupOffsets",
  "DeleteShareGroupOffsets",
] as const;

/** The names of Kafka's APIs that are known here. */
export type ApiName = (typeof apiNames)[number];

export class Faults {
  readonly #random: SimRandom;
  /** How many answers are still to be dropped, by API. */
  readonly #drops = new Map<string, number>();
  readonly #delays = new Map<string, number>();
  #failSync = false;

  constructor(random: SimRandom) {
    this.#random = random;
  }

  /**
   * The next request of this kind is served, and its answer is lost with the connection, as when a network
   * breaks at the worst moment. Called twice, the next two are.
   */
  dropNextResponse(api: ApiName): void {
    this.#drops.set(known(api), (this.#drops.get(api) ?? 0) + 1);
  }

  /** Every answer of this kind leaves so many ms late from now on, and what is behind it on its connection waits. 0 ends it. */
  delay(api: ApiName, ms: number): void {
    if (!(ms >= 0)) throw new RefusedError(`faults.delay needs a time of 0 ms or more, not ${ms}.`);
    this.#delays.set(known(api), ms);
  }

  /**
   * The next sync of the log fails, and with it the broker stops, since nobody can know what is on the
   * disk: connections end, nothing more is acknowledged. `restart()` recovers what is there. Whether the
   * records of the failed sync are among it is drawn by the seed, as on a real disk it is not known.
   */
  failSync(): void {
    this.#failSync = true;
  }

  /** Nothing that was armed and has not struck will strike. */
  clear(): void {
    this.#drops.clear();
    this.#delays.clear();
    this.#failSync = false;
  }

  /** For connections, once for each answer. */
  takeDrop(api: string): boolean {
    const left = this.#drops.get(api) ?? 0;
    if (left > 0) this.#drops.set(api, left - 1);
    return left > 0;
  }
  delayMs(api: string): number {
    return this.#delays.get(api) ?? 0;
  }
  /** For the disk, once for each sync. */
  takeSyncFault(): "lost" | "kept" | null {
    if (!this.#failSync) return null;
    this.#failSync = false;
    return this.#random.chance(0.5) ? "lost" : "kept";
  }
}

function known(api: ApiName): ApiName {
  if (apiNames.includes(api)) return api;
  throw new RefusedError(`There is no API ${String(api)} to let go wrong; there are ${apiNames.join(", ")}.`);
}
