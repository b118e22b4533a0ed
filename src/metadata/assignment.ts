/**
 * Who shall own which partition: pure decisions over the state, for the broker that writes them down. They
 * aim at two things at once, that each topic is spread over the brokers to within one partition, and that
 * brokers own the same number to within one, and move as little as that takes. All brokers plan from the
 * same state, so each finds the same plan and carries out its own part of it. Nothing here is needed for
 * safety: whatever is planned from an old view is judged by the journal.
 */
import { assert } from "../base/assert.ts";
import { type BrokerEpoch, type PartitionIndex, partitionIndex, type TopicId } from "../base/ids.ts";
import type { Assignment } from "./commands.ts";
import {
  type BrokerState,
  type ClusterState,
  isLive,
  type PartitionState,
  type TopicState,
} from "./state.ts";

/** A partition of the planning broker that another one shall own. */
export interface PlannedMove {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  readonly to: BrokerEpoch;
}

/** So far is a plan made; the rest comes with the next one. */
const planMax = 1_000;

/**
 * Owners of the new partitions [from, from + count) of a topic, which may be new itself. `answering`: epochs
 * that may be given something, the author's among them; those that drain are passed over while others are there.
 */
export function assignTopic(
  state: ClusterState,
  answering: ReadonlySet<BrokerEpoch>,
  topicId: TopicId,
  from: number,
  count: number,
): Assignment {
  const layout = new Layout(state, targetsOf(state, answering));
  const topic = layout.topic(topicId);
  const owners = Array.from({ length: count }, (_, at) => ({
    topicId,
    partition: partitionIndex(from + at),
    owner: layout.place(topic),
  }));
  return asAssignment(owners, layout);
}

/** New owners of everything that a dead broker owned: preferred ones where they can, else whoever has least. */
export function assignDead(
  state: ClusterState,
  dead: BrokerEpoch,
  answering: ReadonlySet<BrokerEpoch>,
): Assignment {
  const others = new Set(answering);
  others.delete(dead);
  const layout = new Layout(state, targetsOf(state, others));
  const owners: Placed[] = [];
  for (const topic of layout.topics) {
    const { id, partitions } = topic;
    // Those with a preference first, so that the others even out what comes of it.
    const left: PartitionState[] = [];
    for (const partition of partitions) {
      if (partition.owner !== dead) continue;
      const preferred = layout.preferredOwner(partition);
      if (preferred === null) left.push(partition);
      else owners.push({ topicId: id, partition: partition.index, owner: layout.place(topic, preferred) });
    }
    for (const { index } of left) owners.push({ topicId: id, partition: index, owner: layout.place(topic) });
  }
  return asAssignment(owners, layout);
}

/**
 * At most `max` moves that `own` shall make now: what a draining broker has goes away, preferred owners get
 * what is theirs, and when nothing of this is left to do anywhere, what is uneven is evened out. Empty: all
 * is as it shall be, and stays so until the state or who answers changes.
 */
export function planMoves(
  state: ClusterState,
  answering: ReadonlySet<BrokerEpoch>,
  own: BrokerEpoch,
  max: number,
): readonly PlannedMove[] {
  const targets = targetsOf(state, answering).filter(({ draining }) => !draining);
  if (targets.length === 0) return [];
  const plan = new Plan(new Layout(state, targets), own, max);
  // Who does not answer makes no moves; if it is dead, its partitions are recovered.
  plan.orderly(new Set([...answering].filter((epoch) => isLive(state, epoch))));
  // One kind after the other: a plan of which somebody has done a part must not look uneven in another way.
  if (plan.isEmpty) plan.evenTopics();
  if (plan.isEmpty) plan.evenTotals();
  return plan.own;
}

/** Who may be given something, by epoch. */
function targetsOf(state: ClusterState, answering: ReadonlySet<BrokerEpoch>): readonly BrokerState[] {
  const live = [...state.brokers.values()].filter(
    ({ epoch, status }) => status === "live" && answering.has(epoch),
  );
  const staying = live.filter(({ draining }) => !draining);
  return (staying.length > 0 ? staying : live).sort((a, b) => a.epoch - b.epoch);
}

/** In an order that does not depend on how the state came about. */
function sortedTopics(state: ClusterState): readonly TopicState[] {
  return [...state.topics.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

interface Placed {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  readonly owner: BrokerEpoch;
}

/** The owner of most is told once for all. */
function asAssignment(placed: readonly Placed[], layout: Layout): Assignment {
  const times = new Map<BrokerEpoch, number>();
  for (const { owner } of placed) times.set(owner, (times.get(owner) ?? 0) + 1);
  let owner = layout.epochAt(0);
  for (const [epoch, count] of times) if (count > (times.get(owner) ?? 0)) owner = epoch;
  return { owner, exceptions: placed.filter((each) => each.owner !== owner) };
}

/** How many partitions of one topic each target owns. */
interface Spread {
  readonly id: TopicId;
  /** By target. */
  readonly counts: number[];
  readonly partitions: readonly PartitionState[];
  /** By target: its partitions that may be moved, in ascending order. Null: nobody asked yet; most topics are never asked. */
  free: PartitionIndex[][] | null;
}

/** What each of the brokers that may be given something owns, while moves are thought through. */
class Layout {
  readonly #targets: readonly BrokerState[];
  readonly #byEpoch: ReadonlyMap<BrokerEpoch, number>;
  readonly #totals: number[];
  readonly #topics = new Map<TopicId, Spread>();
  /** By id. */
  readonly topics: readonly Spread[];

  constructor(state: ClusterState, targets: readonly BrokerState[]) {
    assert(targets.length > 0, "at least the author may be given partitions");
    this.#targets = targets;
    this.#byEpoch = new Map(targets.map(({ epoch }, at) => [epoch, at]));
    this.#totals = targets.map(() => 0);
    for (const { id, partitions } of sortedTopics(state)) {
      const spread = { id, counts: targets.map(() => 0), partitions, free: null };
      this.#topics.set(id, spread);
      for (const { owner } of partitions) {
        const at = this.#byEpoch.get(owner);
        if (at !== undefined) this.#add(spread, at, 1);
      }
    }
    this.topics = [...this.#topics.values()];
  }

  topic(id: TopicId): Spread {
    return this.#topics.get(id) ?? { id, counts: this.#targets.map(() => 0), partitions: [], free: null };
  }

  /** What `at` may give away. */
  free(spread: Spread, at: number): PartitionIndex[] {
    spread.free ??= this.#freeOf(spread);
    return spread.free[at] as PartitionIndex[];
  }

  #freeOf({ partitions }: Spread): PartitionIndex[][] {
    const free: PartitionIndex[][] = this.#targets.map(() => []);
    for (const partition of partitions) {
      const at = this.#byEpoch.get(partition.owner);
      if (at !== undefined && this.preferredOwner(partition) === null) free[at]?.push(partition.index);
    }
    return free;
  }

  epochAt(at: number): BrokerEpoch {
    return (this.#targets[at] as BrokerState).epoch;
  }

  has(owner: BrokerEpoch): boolean {
    return this.#byEpoch.has(owner);
  }

  /** Targets by how many partitions they own, most first. */
  byTotal(): readonly number[] {
    return this.#totals.map((_, at) => at).sort((a, b) => this.total(b) - this.total(a) || a - b);
  }

  total(at: number): number {
    return this.#totals[at] as number;
  }

  /** The target that is preferred, the newest life of that node; null: none is, or it may be given nothing. */
  preferredOwner({ preferred }: PartitionState): BrokerEpoch | null {
    if (preferred === null) return null;
    return this.#targets.findLast(({ nodeId }) => nodeId === preferred)?.epoch ?? null;
  }

  /** Counts one more for `owner`, or for who has least of the topic, and least in all among those. */
  place(spread: Spread, owner: BrokerEpoch | null = null): BrokerEpoch {
    const at = owner === null ? this.#least(spread) : (this.#byEpoch.get(owner) as number);
    this.#add(spread, at, 1);
    return this.epochAt(at);
  }

  #least({ id, counts }: Spread): number {
    const turn = turnOf(id, counts.length);
    let least = turn;
    for (let step = 1; step < counts.length; step++) {
      const at = (turn + step) % counts.length;
      const fewer = (counts[at] as number) - (counts[least] as number);
      if (fewer < 0 || (fewer === 0 && this.total(at) < this.total(least))) least = at;
    }
    return least;
  }

  /** The two targets between which a topic is most uneven, when it is so by two or more and the first can give. */
  widest(spread: Spread): readonly [from: number, to: number] | null {
    const { counts } = spread;
    if (Math.max(...counts) - Math.min(...counts) < 2) return null;
    let from = -1;
    for (let at = 0; at < counts.length; at++) {
      if (this.free(spread, at).length === 0) continue;
      const more = from < 0 ? 1 : (counts[at] as number) - (counts[from] as number);
      if (more > 0 || (more === 0 && this.total(at) > this.total(from))) from = at;
    }
    if (from < 0) return null;
    const to = this.#least(spread);
    return (counts[from] as number) - (counts[to] as number) >= 2 ? [from, to] : null;
  }

  move(spread: Spread, from: number, to: number): PartitionIndex {
    const index = this.free(spread, from).pop();
    assert(index !== undefined, "only what may be moved is moved");
    this.#add(spread, from, -1);
    this.#add(spread, to, 1);
    return index;
  }

  remove(spread: Spread, owner: BrokerEpoch): void {
    const at = this.#byEpoch.get(owner);
    if (at !== undefined) this.#add(spread, at, -1);
  }

  #add(spread: Spread, at: number, count: number): void {
    spread.counts[at] = (spread.counts[at] as number) + count;
    this.#totals[at] = this.total(at) + count;
  }
}

/** Where ties begin: topics that are made at the same moment, from the same view, do not all begin with one broker. */
function turnOf(id: TopicId, count: number): number {
  let sum = 0;
  for (let at = 0; at < id.length; at++) sum = (sum * 31 + id.charCodeAt(at)) % 1_000_003;
  return sum % count;
}

/** Everybody's moves in one order, of which those of one broker are kept. */
class Plan {
  readonly own: PlannedMove[] = [];
  readonly #layout: Layout;
  readonly #planner: BrokerEpoch;
  readonly #ownMax: number;
  #count = 0;

  constructor(layout: Layout, planner: BrokerEpoch, ownMax: number) {
    this.#layout = layout;
    this.#planner = planner;
    this.#ownMax = ownMax;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  get #isFull(): boolean {
    return this.own.length >= this.#ownMax || this.#count >= planMax;
  }

  /** Preferred owners, and what draining brokers have. */
  orderly(movers: ReadonlySet<BrokerEpoch>): void {
    const layout = this.#layout;
    const leaving: { readonly topic: Spread; readonly partition: PartitionState }[] = [];
    for (const topic of layout.topics) {
      for (const partition of topic.partitions) {
        const { owner, index } = partition;
        if (partition.preferred === null && layout.has(owner)) continue;
        if (!movers.has(owner)) continue;
        const preferred = layout.preferredOwner(partition);
        if (preferred === owner) continue;
        if (preferred !== null) {
          layout.remove(topic, owner);
          this.#note(owner, { topicId: topic.id, partition: index, to: layout.place(topic, preferred) });
        } else if (!layout.has(owner)) leaving.push({ topic, partition });
      }
    }
    for (const { topic, partition } of leaving) {
      const to = layout.place(topic);
      this.#note(partition.owner, { topicId: topic.id, partition: partition.index, to });
    }
  }

  evenTopics(): void {
    for (const topic of this.#layout.topics) {
      for (let pair = this.#layout.widest(topic); pair !== null; pair = this.#layout.widest(topic)) {
        this.#move(topic, ...pair);
        if (this.#isFull) return;
      }
    }
  }

  /** What brokers own in all, by moves that leave each topic as even as it is. Topics take turns, so that not one of them gives all. */
  evenTotals(): void {
    const { topics } = this.#layout;
    for (let turn = 0; !this.#isFull; ) {
      const found = this.#unevenTotals(topics, turn);
      if (found === null) return;
      this.#move(topics[found.topic] as Spread, found.from, found.to);
      turn = (found.topic + 1) % topics.length;
    }
  }

  #unevenTotals(
    topics: readonly Spread[],
    turn: number,
  ): { readonly topic: number; readonly from: number; readonly to: number } | null {
    const layout = this.#layout;
    const order = layout.byTotal();
    for (const from of order) {
      for (const to of order.toReversed()) {
        if (layout.total(from) - layout.total(to) < 2) break;
        for (let step = 0; step < topics.length; step++) {
          const topic = (turn + step) % topics.length;
          const spread = topics[topic] as Spread;
          if ((spread.counts[from] as number) <= (spread.counts[to] as number)) continue;
          if (layout.free(spread, from).length > 0) return { topic, from, to };
        }
      }
    }
    return null;
  }

  #move(topic: Spread, from: number, to: number): void {
    const partition = this.#layout.move(topic, from, to);
    const target = this.#layout.epochAt(to);
    this.#note(this.#layout.epochAt(from), { topicId: topic.id, partition, to: target });
  }

  #note(owner: BrokerEpoch, move: PlannedMove): void {
    this.#count++;
    if (owner === this.#planner && this.own.length < this.#ownMax) this.own.push(move);
  }
}
