/** The rooms of share groups, put together: what is kept of share-partitions, where it is found, and what is delivered. */
import type { BrokerEpoch } from "../../base/ids.ts";
import type { Env } from "../../base/ports.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { Wal } from "../../log/wal.ts";
import type { Journal } from "../../metadata/journal.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { BrokerConfig } from "../config.ts";
import type { DiskFloor } from "../disk-floor.ts";
import type { ProducerIds } from "../producer-ids.ts";
import type { Topics } from "../topics.ts";
import type { SharePersister } from "./persister.ts";
import { RoutedPersister } from "./routed-persister.ts";
import { SharePartitions } from "./share-partitions.ts";
import { ShareStates } from "./state.ts";

export interface ShareRooms {
  /** What this broker keeps of share-partitions. */
  readonly shareStates: ShareStates;
  /** Where all of them are found. */
  readonly sharePersister: SharePersister;
  /** What share groups are given of the partitions of this broker, and who reads them. */
  readonly shares: SharePartitions;
}

export function openShareRooms(parts: {
  readonly env: Env;
  readonly config: BrokerConfig;
  readonly topics: Topics;
  readonly partitions: Partitions;
  readonly journal: Journal;
  readonly wal: Wal;
  readonly cluster: Cluster;
  readonly diskFloor: DiskFloor;
  readonly producerIds: ProducerIds;
  /** Of this broker. */
  readonly epoch: BrokerEpoch;
  readonly onFailure: (cause: Error) => void;
}): ShareRooms {
  const { env, partitions, cluster, epoch } = parts;
  const shareStates = new ShareStates(parts);
  const persister = new RoutedPersister({
    states: shareStates,
    cluster,
    tail: partitions.tail,
    clock: env.clock,
    epoch,
  });
  const shares = new SharePartitions({
    ...parts,
    persister,
    letters: { ...parts, persister, peers: cluster.peers },
  });
  return { shareStates, sharePersister: persister, shares };
}
