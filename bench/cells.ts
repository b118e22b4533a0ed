/**
 * What is measured against Apache Kafka and what must come out. A ratio is Holdfast over Kafka where more is
 * better and Kafka over Holdfast where less is, so above 1 always means that Holdfast is ahead. Record counts
 * are the same for both sides and give runs of a few seconds on two cores.
 */
import type { BrokerKind } from "../tools/brokers.ts";

export type Client = "go" | "java";

export interface Cell {
  readonly name: string;
  readonly against: Extract<BrokerKind, "kafka" | "kafka-durable">;
  readonly load: "produce" | "read" | "latency";
  readonly client: Client;
  readonly recordBytes: number;
  readonly partitionCount: number;
  readonly recordCount: number;
  /** The least median ratio; without one the cell informs only. */
  readonly goal: number | undefined;
}

const sizes = [
  { label: "1k", bytes: 1000 },
  { label: "100b", bytes: 100 },
] as const;
const partitionCounts = [1, 100, 1000] as const;

/** Enough records for two to four seconds of the slower side. */
const recordCounts: Readonly<Record<string, number>> = {
  "go-1k-p1": 500_000,
  "go-1k-p100": 800_000,
  "go-1k-p1000": 250_000,
  "go-100b-p1": 3_000_000,
  "go-100b-p100": 2_500_000,
  "go-100b-p1000": 1_000_000,
  "java-1k-p1": 300_000,
  "java-1k-p100": 400_000,
  "java-1k-p1000": 300_000,
  "java-100b-p1": 1_000_000,
  "java-100b-p100": 800_000,
  "java-100b-p1000": 400_000,
  "go-1k-p1-durable": 250_000,
  "go-1k-p100-durable": 300_000,
  "go-1k-p1000-durable": 60_000,
};

/** In every cell of this matrix Holdfast, which syncs, is held against a Kafka that does not. */
const matrixFloor = 0.7;
export const matrixMedianGoal = 1;

const matrix: readonly Cell[] = (["go", "java"] as const).flatMap((client) =>
  sizes.flatMap(({ label, bytes }) =>
    partitionCounts.map((partitionCount): Cell => {
      const name = `${client}-${label}-p${partitionCount}`;
      const recordCount = recordCounts[name] ?? 100_000;
      return {
        name,
        against: "kafka",
        load: "produce",
        client,
        recordBytes: bytes,
        partitionCount,
        recordCount,
        goal: matrixFloor,
      };
    }),
  ),
);

const durableGoals = [
  { partitionCount: 1, goal: 2.5 },
  { partitionCount: 100, goal: 2.5 },
  { partitionCount: 1000, goal: 5 },
] as const;

const durable: readonly Cell[] = durableGoals.map(({ partitionCount, goal }) => {
  const name = `go-1k-p${partitionCount}-durable`;
  const recordCount = recordCounts[name] ?? 100_000;
  return {
    name,
    against: "kafka-durable",
    load: "produce",
    client: "go",
    recordBytes: 1000,
    partitionCount,
    recordCount,
    goal,
  };
});

const reads: readonly Cell[] = [
  { client: "go" as const, partitionCount: 1, recordCount: 500_000 },
  { client: "go" as const, partitionCount: 100, recordCount: 500_000 },
  { client: "java" as const, partitionCount: 1, recordCount: 500_000 },
].map(({ client, partitionCount, recordCount }) => ({
  name: `read-${client}-1k-p${partitionCount}`,
  against: "kafka",
  load: "read",
  client,
  recordBytes: 1000,
  partitionCount,
  recordCount,
  goal: undefined,
}));

const latencies: readonly Cell[] = [
  { name: "latency-go-1k", client: "go" as const, recordCount: 3000 },
  { name: "end-to-end-java-1k", client: "java" as const, recordCount: 3000 },
].map((cell) => ({
  ...cell,
  against: "kafka",
  load: "latency",
  recordBytes: 1000,
  partitionCount: 1,
  goal: undefined,
}));

export const cells: readonly Cell[] = [...matrix, ...durable, ...reads, ...latencies];

/** The cells of the matrix, over whose medians a further goal is set. */
export function isInMatrix(cell: Cell): boolean {
  return matrix.includes(cell);
}

/** Picks cells by a list of names or beginnings, separated by commas; `all` picks every one. */
export function chooseCells(wanted: string): readonly Cell[] {
  if (wanted === "all") return cells;
  return wanted.split(",").flatMap((name) => {
    const chosen = cells.filter(
      (cell) => cell.name === name || (name.endsWith("*") && cell.name.startsWith(name.slice(0, -1))),
    );
    if (chosen.length === 0)
      throw new Error(`No cell is called ${name}; there are ${cells.map((cell) => cell.name).join(", ")}`);
    return chosen;
  });
}
