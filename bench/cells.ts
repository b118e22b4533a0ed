/**
 * What is measured against Apache Kafka and what must come out. A ratio is Holdfast over Kafka where more is
 * better and Kafka over Holdfast where less is, so above 1 always means that Holdfast is ahead; a ratio of CPU
 * times is Holdfast over Kafka. Runs are bounded by time, the same for both sides, except those that read.
 */
import type { BrokerKind } from "../tools/brokers.ts";

export type Client = "go" | "java";

interface CellBase {
  readonly name: string;
  readonly against: Extract<BrokerKind, "kafka" | "kafka-durable">;
  readonly recordBytes: number;
  readonly partitionCount: number;
  /** The least median ratio; without one the cell informs only. */
  readonly goal: number | undefined;
}

/** Writes as fast as the client can. */
export interface ProduceCell extends CellBase {
  readonly load: "produce";
  readonly client: Client;
  /** Processes that write to one topic at a time. */
  readonly clientCount: number;
}

/** Reads a topic that was written before, from the page cache or after it was emptied of the broker's files. */
export interface ReadCell extends CellBase {
  readonly load: "read";
  readonly client: Client;
  readonly recordCount: number;
  readonly evicted: boolean;
}

/** Writes at a rate without lingering; the ratio is of what p99 has above that of a server that only answers. */
export interface LatencyCell extends CellBase {
  readonly load: "latency";
  readonly client: "go";
  readonly perSecond: number;
}

/** One record at a time, written and read. */
export interface EndToEndCell extends CellBase {
  readonly load: "end-to-end";
  readonly client: "java";
  readonly recordCount: number;
}

export type Cell = ProduceCell | ReadCell | LatencyCell | EndToEndCell;

const sizes = [
  { label: "1k", bytes: 1000 },
  { label: "100b", bytes: 100 },
] as const;
const partitionCounts = [1, 100, 1000] as const;

/** In every cell of the matrix Holdfast, which syncs, is held against a Kafka that does not. */
const produceGoal = 1;
/** Most cells shall reach this. */
export const mostProduceGoal = 1.3;
/** CPU time of the broker per byte, Holdfast over Kafka: the median of the cells, and where batches are large. */
export const cpuGoal = 0.6;
export const largeBatchCpuGoal = 0.35;
/** The client tells how large its batches are; ProducerPerformance does not, its batches hold 16 KB at most. */
export const largeBatchKb = 64;

const matrix: readonly ProduceCell[] = (["go", "java"] as const).flatMap((client) =>
  sizes.flatMap(({ label, bytes }) =>
    partitionCounts.map(
      (partitionCount): ProduceCell => ({
        name: `${client}-${label}-p${partitionCount}`,
        against: "kafka",
        load: "produce",
        client,
        clientCount: 1,
        recordBytes: bytes,
        partitionCount,
        goal: produceGoal,
      }),
    ),
  ),
);

const manyClients: ProduceCell = {
  name: "go-1k-p100-4-clients",
  against: "kafka",
  load: "produce",
  client: "go",
  clientCount: 4,
  recordBytes: 1000,
  partitionCount: 100,
  goal: produceGoal,
};

const reads: readonly ReadCell[] = [false, true].flatMap((evicted) =>
  [
    { client: "go" as const, recordCount: 1_500_000 },
    { client: "java" as const, recordCount: 700_000 },
  ].flatMap(({ client, recordCount }) =>
    [1, 100].map(
      (partitionCount): ReadCell => ({
        name: `read-${client}-1k-p${partitionCount}${evicted ? "-evicted" : ""}`,
        against: "kafka",
        load: "read",
        client,
        recordBytes: 1000,
        partitionCount,
        recordCount,
        evicted,
        goal: evicted ? 0.9 : 1,
      }),
    ),
  ),
);

/** p99 at most 0.6 times that of a Kafka that syncs. */
const latencyGoal = 1 / 0.6;

const latencies: readonly LatencyCell[] = [1000, 5000].map((perSecond) => ({
  name: `latency-go-1k-${perSecond}`,
  against: "kafka-durable",
  load: "latency",
  client: "go",
  recordBytes: 1000,
  partitionCount: 1,
  perSecond,
  goal: latencyGoal,
}));

const durable: readonly ProduceCell[] = [
  { partitionCount: 1, goal: 2.5 },
  { partitionCount: 100, goal: 2.5 },
  { partitionCount: 1000, goal: 5 },
].map(({ partitionCount, goal }) => ({
  name: `go-1k-p${partitionCount}-durable`,
  against: "kafka-durable",
  load: "produce",
  client: "go",
  clientCount: 1,
  recordBytes: 1000,
  partitionCount,
  goal,
}));

const endToEnd: EndToEndCell = {
  name: "end-to-end-java-1k",
  against: "kafka",
  load: "end-to-end",
  client: "java",
  recordBytes: 1000,
  partitionCount: 1,
  recordCount: 3000,
  goal: undefined,
};

/** The cells with a goal beside Kafka's default; `goals` picks them. */
const goals: readonly Cell[] = [...matrix, manyClients, ...reads, ...latencies];
export const cells: readonly Cell[] = [...goals, ...durable, endToEnd];

/** The cells over whose medians further goals are set: producing beside Kafka's default. */
export function isInMatrix(cell: Cell): boolean {
  return cell.load === "produce" && cell.against === "kafka";
}

/** Picks cells by a list of names or beginnings, separated by commas; `all` and `goals` pick theirs. */
export function chooseCells(wanted: string): readonly Cell[] {
  if (wanted === "all") return cells;
  if (wanted === "goals") return goals;
  if (wanted === "none") return [];
  return wanted.split(",").flatMap((name) => {
    const chosen = cells.filter(
      (cell) => cell.name === name || (name.endsWith("*") && cell.name.startsWith(name.slice(0, -1))),
    );
    if (chosen.length === 0)
      throw new Error(`No cell is called ${name}; there are ${cells.map((cell) => cell.name).join(", ")}`);
    return chosen;
  });
}
