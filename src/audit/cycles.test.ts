import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Story } from "../../test/story.ts";
import { describeReport } from "./check.ts";
import { Graph } from "./graph.ts";
import type { Operation } from "./operation.ts";
import type { PartitionNumber } from "./words.ts";

const write = (operation: Operation, partition: PartitionNumber, offset: number, value: string): void =>
  operation.stored(operation.sends(partition, value), offset);

interface Plant {
  readonly bugs: readonly string[];
  readonly allowed: readonly string[];
  readonly tell: (story: Story) => void;
}

/** T writes before the second of two operations that follow each other, and after the first: over two partitions. */
function writesAround(story: Story, first: string, second: string): void {
  const around = story.open("t", "transaction");
  story.send(first, story.orders, [[1, "late"]]);
  story.send(second, story.other, [[0, "early"]]);
  write(around, story.orders, 0, "t1");
  write(around, story.other, 1, "t2");
  story.close(around);
}

/**
 * A reader has read what T sent, and what the second sends after that comes before T: T reads it, or writes
 * just behind it.
 */
function readsAround(story: Story, second: string, how: "reads" | "writes"): void {
  const around = story.open("t", "transaction");
  const reader = story.open("r", "transaction");
  reader.polled(story.orders, 0, "t1");
  story.close(reader);
  story.send(second, story.other, [[6, "z"]]);
  write(around, story.orders, 0, "t1");
  if (how === "reads") around.polled(story.other, 6, "z");
  else write(around, story.other, 7, "t2");
  story.close(around);
}

const plants: { readonly [name: string]: Plant } = {
  "two transactions that write in opposite orders": {
    bugs: [],
    allowed: ["G0"],
    tell: (story) => {
      const first = story.open("p1", "transaction");
      const second = story.open("p2", "transaction");
      write(first, story.orders, 0, "a");
      write(second, story.orders, 1, "b");
      write(second, story.other, 0, "c");
      write(first, story.other, 1, "d");
      story.close(first);
      story.close(second);
    },
  },
  "writes against the order of one client": {
    bugs: [],
    allowed: ["G0-process"],
    tell: (story) => writesAround(story, "p", "p"),
  },
  "writes against the order of time": {
    bugs: [],
    allowed: ["G0-realtime"],
    tell: (story) => writesAround(story, "p", "q"),
  },
  "two transactions that each read what the other wrote": {
    bugs: ["G1c"],
    allowed: [],
    tell: (story) => {
      const first = story.open("p1", "transaction");
      const second = story.open("p2", "transaction");
      write(first, story.orders, 0, "a");
      write(second, story.other, 0, "b");
      first.polled(story.other, 0, "b");
      second.polled(story.orders, 0, "a");
      story.close(first);
      story.close(second);
    },
  },
  "a transaction that reads what was written by one whose record lies behind its own": {
    bugs: [],
    allowed: ["G1c"],
    tell: (story) => {
      const first = story.open("p1", "transaction");
      const second = story.open("p2", "transaction");
      write(first, story.orders, 0, "a");
      write(second, story.orders, 1, "b");
      write(second, story.other, 0, "c");
      first.polled(story.other, 0, "c");
      story.close(first);
      story.close(second);
    },
  },
  "a read of what has read the reader's next operation": {
    bugs: ["G1c-process"],
    allowed: [],
    tell: (story) => readsAround(story, "r", "reads"),
  },
  "a read of what lies behind the reader's next operation": {
    bugs: [],
    allowed: ["G1c-process"],
    tell: (story) => readsAround(story, "r", "writes"),
  },
  "a read of what has read an operation that began after it": {
    bugs: ["G1c-realtime"],
    allowed: [],
    tell: (story) => readsAround(story, "s", "reads"),
  },
  "a read of what lies behind an operation that began after it": {
    bugs: [],
    allowed: ["G1c-realtime"],
    tell: (story) => readsAround(story, "s", "writes"),
  },
};

for (const [name, { bugs, allowed, tell }] of Object.entries(plants)) {
  test(`found, and named by the fewest kinds of edges: ${name}`, () => {
    const story = new Story();
    tell(story);
    const found = story.found();
    const unseen = found.allowed.filter((kind) => kind !== "unseen");
    assert.deepEqual({ ...found, allowed: unseen }, { bugs, allowed }, describeReport(story.check()));
  });
}

test("the sentence of a cycle leads round it once", () => {
  const story = new Story();
  writesAround(story, "p", "q");
  const cycle = story.check().allowed.find(({ kind }) => kind === "G0-realtime");
  assert.equal(
    cycle?.examples[0]?.sentence,
    'No order is possible: operation 0 of t wrote to orders/0 just before "late" of operation 1 of p; operation 1 of p had ended before operation 2 of q began; operation 2 of q wrote to orders/1 just before "t2" of operation 0 of t.',
  );
});

test("operations that only overlap are in no cycle, however many there are", () => {
  const story = new Story();
  const open = Array.from({ length: 200 }, (_, number) =>
    story.open("p", number % 2 ? "send" : "transaction"),
  );
  open.forEach((operation, offset) => write(operation, story.orders, offset, `v${offset}`));
  for (const operation of open) story.close(operation);
  assert.deepEqual(story.found(), { bugs: [], allowed: ["unseen"] });
});

test("components are those of a search by reachability, and the shortest cycle is one of them", () => {
  const edges = fc.array(fc.tuple(fc.nat(11), fc.nat(11), fc.constantFrom(1, 2)), { maxLength: 40 });
  fc.assert(
    fc.property(edges, fc.constantFrom(1, 2, 3), (list, kinds) => {
      const graph = new Graph(12);
      for (const [from, to, kind] of list) if (from !== to) graph.addEdge(from, to, kind);
      graph.freeze();
      const tally = { work: 0 };
      const components = graph.components(kinds, tally);
      const reach = reachable(list.filter(([from, to, kind]) => from !== to && (kind & kinds) !== 0));
      const together = (one: number, other: number) =>
        one !== other && reach.has(one * 12 + other) && reach.has(other * 12 + one);
      const expected = Array.from({ length: 12 }, (_, node) =>
        Array.from({ length: 12 }, (_each, other) => other).filter(
          (other) => other === node || together(node, other),
        ),
      ).filter((members, node) => members.length > 1 && members[0] === node);
      const sorted = components.map((each) => each.toSorted((a, b) => a - b));
      assert.deepEqual(
        sorted.toSorted((a, b) => (a[0] as number) - (b[0] as number)),
        expected,
      );
      for (const component of components) {
        const cycle = graph.shortestCycle(component, kinds, 12, { edges: 1_000 });
        assert.ok(cycle.length >= 2 && cycle.length <= component.length);
        cycle.forEach((edge, at) =>
          assert.equal(graph.to(edge), graph.from(cycle[(at + 1) % cycle.length] as number)),
        );
      }
    }),
  );
});

/** Pairs as from × 12 + to, over one or more edges. */
function reachable(edges: readonly (readonly [number, number, number])[]): ReadonlySet<number> {
  const pairs = new Set(edges.map(([from, to]) => from * 12 + to));
  for (let through = 0; through < 12; through++) {
    for (let from = 0; from < 12; from++) {
      for (let to = 0; to < 12; to++) {
        if (pairs.has(from * 12 + through) && pairs.has(through * 12 + to)) pairs.add(from * 12 + to);
      }
    }
  }
  return pairs;
}
