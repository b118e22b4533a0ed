/** DescribeLogDirs: how many bytes each partition of this broker takes: its segments, and what is not in one yet. */
import type { TopicState } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  DescribeLogDirs,
  type DescribeLogDirsRequest,
  type DescribeLogDirsResponse,
} from "../../protocol/messages/describe-log-dirs.ts";
import type { Services } from "../context.ts";
import { handle } from "../handle.ts";

type Topic = DescribeLogDirsResponse["results"][number]["topics"][number];
type PartitionFilter = ReadonlySet<number> | null;

/** There is one directory, and this is what it is called when the start told no `log.dirs`. */
const namelessDirectory = "data";

export const describeLogDirs = handle(DescribeLogDirs, {
  decide(request, { services }) {
    const { config, diskFloor } = services;
    const wanted = filters(request);
    const topics: Topic[] = [];
    for (const topic of services.topics.all()) {
      const filter = wanted === null ? null : wanted.get(topic.name);
      if (filter === undefined) continue;
      const partitions = sizes(topic, filter, services);
      if (partitions.length > 0) topics.push({ name: topic.name, partitions });
    }
    const directory = {
      errorCode: ErrorCode.NONE,
      logDir: config.places("log.dirs")[0]?.value ?? namelessDirectory,
      topics,
      totalBytes: -1,
      usableBytes: diskFloor.freeBytes,
      isCordoned: false,
    };
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, results: [directory] };
  },
});

/** Null: everything. */
function filters({ topics }: DescribeLogDirsRequest): ReadonlyMap<string, PartitionFilter> | null {
  if (topics === null) return null;
  return new Map(topics.map(({ topic, partitions }) => [topic, new Set<number>(partitions)]));
}

function sizes(
  topic: TopicState,
  filter: PartitionFilter,
  { partitions, epoch }: Services,
): Topic["partitions"] {
  return topic.partitions
    .filter(({ index, owner }) => owner === epoch && (filter === null || filter.has(index)))
    .map(({ index, folded, recent, flushed }) => {
      let bytes = folded?.segmentBytes ?? 0;
      for (const { sectionBytes } of recent) bytes += sectionBytes;
      const unflushed = partitions.get(topic.id, index)?.availableBytes(flushed) ?? 0;
      if (Number.isFinite(unflushed)) bytes += unflushed;
      return { partitionIndex: index, partitionSize: bytes, offsetLag: 0, isFutureKey: false };
    });
}
