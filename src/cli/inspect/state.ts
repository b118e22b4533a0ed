/** The cluster as journal and snapshots tell it: processes that have been, topics, and where their records lie. */
import type { BrokerState, ClusterState, PartitionState, TopicState } from "../../metadata/state.ts";
import { partitionBytes } from "../../log/segment-list.ts";
import { formatBytes, formatCount } from "../table.ts";
import { damage, type Finding } from "./finding.ts";

/** Of the processes that have ended, text names the newest; JSON has all. */
export function* stateFindings(state: ClusterState): Generator<Finding, void, void> {
  yield {
    facts: {
      kind: "cluster",
      clusterId: state.clusterId,
      level: state.level,
      wal: state.walKind,
      nextSlot: state.nextSlot,
      topics: state.topics.size,
      epochs: state.brokers.size,
    },
    text: `cluster ${state.clusterId}: format level ${state.level}, ${formatCount(state.nextSlot)} slots decided, ${formatCount(state.topics.size)} topics`,
  };
  for (const broker of state.brokers.values()) {
    yield epochFinding(broker);
    for (const { topicId, partition, from, to } of broker.holes) {
      const topic = state.topics.get(topicId)?.name ?? topicId;
      yield damage(
        `${topic}-${partition}`,
        `offsets ${from} to ${to - 1} were lost with the log of epoch ${broker.epoch}; this was reported when it was recovered`,
      );
    }
  }
  for (const topic of [...state.topics.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    yield topicFinding(topic);
    for (const partition of topic.partitions) yield partitionFinding(topic, partition);
  }
}

function epochFinding(broker: BrokerState): Finding {
  const { epoch, nodeId, software, status, released, end, jumped } = broker;
  return {
    facts: {
      kind: "epoch",
      epoch,
      nodeId,
      software,
      status,
      released,
      end,
      jumped,
      holes: broker.holes.length,
    },
    text:
      `epoch ${epoch}: ${status === "live" ? "not ended in the journal (running, or not recovered yet)" : status}` +
      `, ${software}, in segments below position ${formatCount(released)}` +
      (end === null ? "" : `, its log ends at ${formatCount(end)}`) +
      (jumped ? ", offsets went on behind a gap" : ""),
  };
}

function topicFinding({ name, id, partitions, configs }: TopicState): Finding {
  const settings = [...configs].map(([key, value]) => ` ${key}=${value}`).join("");
  return {
    facts: {
      kind: "topic",
      topic: name,
      topicId: id,
      partitions: partitions.length,
      configs: Object.fromEntries(configs),
    },
    text: `topic ${name} (${id}): ${formatCount(partitions.length)} partitions${settings === "" ? "" : `,${settings}`}`,
  };
}

function partitionFinding(topic: TopicState, partition: PartitionState): Finding {
  const { index, owner, leaderEpoch, start, flushed, folded, recent, dependencies } = partition;
  const segments = recent.length + (folded?.segmentCount ?? 0);
  const bytes = partitionBytes(partition);
  return {
    facts: {
      kind: "partition",
      topic: topic.name,
      partition: index,
      owner,
      leaderEpoch,
      start,
      flushed,
      segments,
      bytes,
      dependencies,
    },
    text:
      `  ${topic.name}-${index}: in segments from offset ${start} to ${flushed}` +
      `, ${formatCount(segments)} segments, ${formatBytes(bytes)}, leader epoch ${leaderEpoch}` +
      (dependencies.length === 0
        ? ""
        : `, more in the logs of epochs ${dependencies.map(({ epoch }) => epoch).join(", ")}`),
  };
}
