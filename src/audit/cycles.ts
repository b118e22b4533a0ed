/**
 * Whether operations can be put in an order at all. One comes before another when its record lies just
 * before the other's in a partition (ww), when the other read its record (wr), when it had ended before the
 * other began, in one client (process) or in any (realtime). A cycle of these is named by the fewest kinds that
 * make it. Cycles with ww edges are allowed to transactions, whose records may lie in one order here and in
 * the other there; a cycle without them means that a transaction was seen before it was committed.
 *
 * "Had ended before" goes through nodes that stand for moments, a chain of them for each client and one for
 * all, so that there are as many edges as operations, however many overlap.
 */
import { IntColumn } from "./columns.ts";
import type { Evidence } from "./evidence.ts";
import type { AnomalyKind, Findings } from "./findings.ts";
import { Graph, type SearchBudget } from "./graph.ts";
import { NONE, StepKind } from "./words.ts";

const ww = 1;
const wr = 2;
/** Of one client; Jepsen says process. */
const client = 4;
const realtime = 8;

/** Edges that all searches for shortest cycles of one check may look at. */
const searchEdgesMax = 4_000_000;

interface CycleClass {
  readonly kind: AnomalyKind;
  readonly kinds: number;
}

/** Each after those that it includes; what an included one has told is not told again. */
const classes: readonly CycleClass[] = [
  { kind: "G0", kinds: ww },
  { kind: "G1c", kinds: wr },
  { kind: "G1c", kinds: ww | wr },
  { kind: "G0-process", kinds: ww | client },
  { kind: "G1c-process", kinds: wr | client },
  { kind: "G1c-process", kinds: ww | wr | client },
  { kind: "G0-realtime", kinds: ww | client | realtime },
  { kind: "G1c-realtime", kinds: wr | client | realtime },
  { kind: "G1c-realtime", kinds: ww | wr | client | realtime },
];

export function findCycles(evidence: Evidence, findings: Findings): void {
  const search = new Cycles(evidence, findings);
  search.find();
}

class Cycles {
  readonly #evidence: Evidence;
  readonly #findings: Findings;
  /** A node for each operation, then the moments. */
  readonly #graph: Graph;
  /** By edge: the value by which it is known; NONE for moments. */
  readonly #valueOf = new IntColumn();
  /** By operation: it has a ww or wr edge; others can be in no cycle. */
  readonly #isJoined: Uint8Array;
  readonly #budget: SearchBudget = { edges: searchEdgesMax };

  constructor(evidence: Evidence, findings: Findings) {
    const operations = evidence.history.operations.kind.length;
    this.#evidence = evidence;
    this.#findings = findings;
    this.#graph = new Graph(operations);
    this.#isJoined = new Uint8Array(operations);
  }

  find(): void {
    this.#evidence.logs.forEach((_log, partition) => this.#joinWrites(partition));
    this.#joinReads();
    this.#joinMoments();
    this.#graph.freeze();
    // One search over everything; each further one only over what may be in a cycle at all.
    const within = this.#mark(this.#graph.components(ww | wr | client | realtime, this.#findings));
    if (within === null) return;
    const told: { readonly kinds: number; readonly nodes: Uint8Array }[] = [];
    for (const each of classes) {
      const components = this.#graph.components(each.kinds, this.#findings, within);
      for (const component of components) {
        const isTold = told.some(
          ({ kinds, nodes }) => (kinds & each.kinds) === kinds && component.some((node) => nodes[node] === 1),
        );
        if (!isTold) this.#tell(each, component);
      }
      const nodes = this.#mark(components);
      if (nodes !== null) told.push({ kinds: each.kinds, nodes });
    }
  }

  #mark(components: readonly (readonly number[])[]): Uint8Array | null {
    if (components.length === 0) return null;
    const marked = new Uint8Array(this.#graph.nodes);
    for (const component of components) {
      for (const node of component) {
        this.#findings.work++;
        marked[node] = 1;
      }
    }
    return marked;
  }

  // ── Edges ──

  #join(from: number, to: number, kind: number, value: number): void {
    this.#graph.addEdge(from, to, kind);
    this.#valueOf.push(value);
  }

  #joinWrites(partition: number): void {
    const { values } = this.#evidence.log(partition);
    let before = NONE;
    for (let index = 0; index < values.length; index++) {
      this.#findings.work++;
      const value = values[index] as number;
      // Of a duplicate only the first stands for its write.
      if (this.#evidence.home(value) !== partition || this.#evidence.firstIndex[value] !== index) continue;
      if (!this.#evidence.isWritten(this.#evidence.history.writes.at(value))) continue;
      const writer = this.#evidence.writer(value);
      if (before !== NONE && before !== writer) {
        this.#join(before, writer, ww, value);
        this.#isJoined[before] = this.#isJoined[writer] = 1;
      }
      before = writer;
    }
  }

  #joinReads(): void {
    const { steps, operations } = this.#evidence.history;
    for (let step = 0; step < steps.kind.length; step++) {
      this.#findings.work++;
      const reader = steps.operation.at(step);
      if (steps.kind.at(step) !== StepKind.poll || operations.outcome[reader] !== "ok") continue;
      const value = steps.value.at(step);
      const writer = this.#evidence.writer(value);
      if (writer === NONE || writer === reader) continue;
      if (!this.#evidence.isWritten(this.#evidence.history.writes.at(value))) continue;
      this.#join(writer, reader, wr, value);
      this.#isJoined[writer] = this.#isJoined[reader] = 1;
    }
  }

  #joinMoments(): void {
    const { events, operations, clients } = this.#evidence.history;
    const everybody = new Moments();
    const each = Array.from({ length: clients.length }, () => new Moments());
    for (let event = 0; event < events.length; event++) {
      this.#findings.work++;
      const operation = events.at(event) >> 1;
      if (this.#isJoined[operation] === 0) continue;
      const own = each[operations.client.at(operation)] as Moments;
      if ((events.at(event) & 1) === 0) {
        this.#begun(everybody, operation, realtime);
        this.#begun(own, operation, client);
      } else if (operations.outcome[operation] === "ok") {
        this.#ended(everybody, operation, realtime);
        this.#ended(own, operation, client);
      }
    }
  }

  #begun(moments: Moments, operation: number, kind: number): void {
    if (moments.node === NONE) return;
    moments.isUsed = true;
    this.#join(moments.node, operation, kind, NONE);
  }

  #ended(moments: Moments, operation: number, kind: number): void {
    if (moments.node === NONE || moments.isUsed) {
      const node = this.#graph.addNode();
      if (moments.node !== NONE) this.#join(moments.node, node, kind, NONE);
      moments.node = node;
      moments.isUsed = false;
    }
    this.#join(operation, moments.node, kind, NONE);
  }

  // ── Words ──

  #tell({ kind, kinds }: CycleClass, component: readonly number[]): void {
    const findings = this.#findings;
    findings.add(kind, (kinds & ww) === 0 ? "bug" : "allowed", () => {
      const operations = this.#evidence.history.operations.kind.length;
      const cycle = this.#graph.shortestCycle(component, kinds, operations, this.#budget);
      const hops: string[] = [];
      const values: number[] = [];
      const involved: number[] = [];
      let from = NONE;
      for (const edge of cycle) {
        const source = this.#graph.from(edge);
        const target = this.#graph.to(edge);
        if (source < operations) {
          from = source;
          involved.push(source);
        }
        if (target >= operations) continue;
        const value = this.#valueOf.at(edge);
        if (value !== NONE) values.push(value);
        hops.push(this.#hop(edge, from, target));
      }
      return {
        sentence: `No order is possible: ${hops.join("; ")}.`,
        values,
        offsets: [],
        operations: involved,
      };
    });
  }

  #hop(edge: number, from: number, to: number): string {
    const findings = this.#findings;
    const value = this.#valueOf.at(edge);
    switch (this.#graph.kind(edge)) {
      case ww: {
        const partition = this.#evidence.home(value);
        return `${findings.by(from)} wrote to ${findings.partition(partition)} just before ${findings.value(value)} of ${findings.by(to)}`;
      }
      case wr:
        return `${findings.value(value)} of ${findings.by(from)} was read by ${findings.by(to)}`;
      default:
        return `${findings.by(from)} had ended before ${findings.by(to)} began`;
    }
  }
}

/** The newest moment of one chain, and whether something began after it. */
class Moments {
  node = NONE;
  isUsed = false;
}
