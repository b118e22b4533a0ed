/**
 * A directed graph whose edges have kinds, its strongly connected components and its shortest cycles, for
 * any choice of kinds. Without recursion, so that its size has no bound but memory. Linear, but for the
 * search of the shortest cycle, which has a budget.
 */
import { IntColumn } from "./columns.ts";

export interface Tally {
  work: number;
}

/** How many more edges the searches for shortest cycles may look at; over it, the first cycle found is told. */
export interface SearchBudget {
  edges: number;
}

/** From how many nodes of one component a shortest cycle is looked for. */
const startsMax = 64;

export class Graph {
  readonly #from = new IntColumn();
  readonly #to = new IntColumn();
  readonly #kind = new IntColumn();
  #nodes: number;
  /** By node, where its edges begin in `#edges`; one more than there are nodes. Made by `freeze`. */
  #edgesFrom = new Int32Array(0);
  #edges = new Int32Array(0);

  constructor(nodes: number) {
    this.#nodes = nodes;
  }

  get nodes(): number {
    return this.#nodes;
  }

  addNode(): number {
    return this.#nodes++;
  }

  /** `kind` is one bit. Returns the number of the edge. */
  addEdge(from: number, to: number, kind: number): number {
    this.#from.push(from);
    this.#to.push(to);
    return this.#kind.push(kind);
  }

  from(edge: number): number {
    return this.#from.at(edge);
  }
  to(edge: number): number {
    return this.#to.at(edge);
  }
  kind(edge: number): number {
    return this.#kind.at(edge);
  }

  /** After the last edge and before the first search. */
  freeze(): void {
    const edges = this.#from.length;
    this.#edgesFrom = new Int32Array(this.#nodes + 1);
    for (let edge = 0; edge < edges; edge++) (this.#edgesFrom[this.#from.at(edge) + 1] as number)++;
    for (let node = 0; node < this.#nodes; node++) {
      (this.#edgesFrom[node + 1] as number) += this.#edgesFrom[node] as number;
    }
    const next = this.#edgesFrom.slice();
    this.#edges = new Int32Array(edges);
    for (let edge = 0; edge < edges; edge++) {
      const from = this.#from.at(edge);
      this.#edges[next[from] as number] = edge;
      (next[from] as number)++;
    }
  }

  /**
   * The components of two or more nodes over edges of `kinds`, each a list of nodes; only nodes for which
   * `within` is set, where it is given. (Tarjan 1972, with a stack of our own.)
   */
  components(kinds: number, tally: Tally, within?: Uint8Array): readonly (readonly number[])[] {
    const unvisited = -1;
    const order = new Int32Array(this.#nodes).fill(unvisited);
    const lowest = new Int32Array(this.#nodes);
    const isOpen = new Uint8Array(this.#nodes);
    const at = this.#edgesFrom.slice(0, this.#nodes);
    const open: number[] = [];
    const path: number[] = [];
    const found: number[][] = [];
    let visited = 0;
    const enter = (node: number): void => {
      order[node] = lowest[node] = visited++;
      isOpen[node] = 1;
      open.push(node);
      path.push(node);
    };
    for (let root = 0; root < this.#nodes; root++) {
      tally.work++;
      if (order[root] !== unvisited || (within !== undefined && within[root] === 0)) continue;
      enter(root);
      while (path.length > 0) {
        const node = path.at(-1) as number;
        if ((at[node] as number) < (this.#edgesFrom[node + 1] as number)) {
          tally.work++;
          const edge = this.#edges[at[node] as number] as number;
          (at[node] as number)++;
          const to = this.#to.at(edge);
          if ((this.#kind.at(edge) & kinds) === 0 || (within !== undefined && within[to] === 0)) continue;
          if (order[to] === unvisited) enter(to);
          else if (isOpen[to] === 1) lowest[node] = Math.min(lowest[node] as number, order[to] as number);
          continue;
        }
        path.pop();
        const parent = path.at(-1);
        if (parent !== undefined) {
          lowest[parent] = Math.min(lowest[parent] as number, lowest[node] as number);
        }
        if (lowest[node] !== order[node]) continue;
        const component: number[] = [];
        for (;;) {
          const member = open.pop() as number;
          isOpen[member] = 0;
          component.push(member);
          if (member === node) break;
        }
        if (component.length > 1) found.push(component);
      }
    }
    return found;
  }

  /**
   * The edges of the shortest cycle found within a component over edges of `kinds`. Nodes from `weightless`
   * on are only passed through and count nothing.
   */
  shortestCycle(
    component: readonly number[],
    kinds: number,
    weightless: number,
    budget: SearchBudget,
  ): readonly number[] {
    const within = new Set(component);
    let best: readonly number[] = [];
    let bestLength = Number.POSITIVE_INFINITY;
    const starts = component.filter((node) => node < weightless).toSorted((a, b) => a - b);
    for (const start of starts.slice(0, startsMax)) {
      if (budget.edges <= 0 && best.length > 0) break;
      const search = { within, kinds, weightless, longest: bestLength };
      const { cycle, length, looked } = this.#cycleFrom(start, search);
      budget.edges -= looked;
      if (length >= bestLength) continue;
      best = cycle;
      bestLength = length;
    }
    return best;
  }

  /** Breadth first, level by level; what is weightless belongs to the level at which it was reached. */
  #cycleFrom(
    start: number,
    search: {
      readonly within: ReadonlySet<number>;
      readonly kinds: number;
      readonly weightless: number;
      readonly longest: number;
    },
  ): { readonly cycle: readonly number[]; readonly length: number; readonly looked: number } {
    const reachedBy = new Map<number, number>();
    let level = [start];
    let looked = 0;
    for (let length = 1; level.length > 0 && length < search.longest; length++) {
      const next: number[] = [];
      // `level` grows while it is walked: by the weightless nodes reached from it.
      for (let position = 0; position < level.length; position++) {
        const node = level[position] as number;
        for (let at = this.#edgesFrom[node] as number; at < (this.#edgesFrom[node + 1] as number); at++) {
          looked++;
          const edge = this.#edges[at] as number;
          const to = this.#to.at(edge);
          if ((this.#kind.at(edge) & search.kinds) === 0 || !search.within.has(to)) continue;
          if (to === start) return { cycle: this.#walkBack(edge, start, reachedBy), length, looked };
          if (reachedBy.has(to)) continue;
          reachedBy.set(to, edge);
          (to >= search.weightless ? level : next).push(to);
        }
      }
      level = next;
    }
    return { cycle: [], length: Number.POSITIVE_INFINITY, looked };
  }

  #walkBack(last: number, start: number, reachedBy: ReadonlyMap<number, number>): readonly number[] {
    const edges = [last];
    for (let node = this.#from.at(last); node !== start; ) {
      const edge = reachedBy.get(node) as number;
      edges.push(edge);
      node = this.#from.at(edge);
    }
    return edges.reverse();
  }
}
