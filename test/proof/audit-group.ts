/**
 * A group in a correct world: a coordinator that gives partitions out anew in each generation and refuses
 * commits of old ones, members that handle records out of order and commit the lowest unfinished offset,
 * die, hang on after they were replaced, and an admin who sets the group back and forth while it is empty.
 */
import type { Operation } from "../../src/audit/operation.ts";
import type { GroupNumber } from "../../src/audit/words.ts";
import type { CleanWorld, ModelPartition, Turns } from "./audit-world.ts";

export class ModelGroup {
  readonly world: CleanWorld;
  readonly number: GroupNumber;
  readonly isClassic: boolean;
  generation = 0;
  readonly #members = new Set<string>();
  readonly #owners = new Map<ModelPartition, string>();
  /** The generation in which its owner was given a partition. */
  readonly #since = new Map<ModelPartition, number>();
  readonly committed = new Map<ModelPartition, number>();
  readonly #previous = new Map<ModelPartition, number>();
  /** Whether it may be joined. */
  isOpen = true;

  constructor(world: CleanWorld, name: string) {
    this.world = world;
    this.isClassic = world.random.chance(0.5);
    this.number = world.history.group(name, { protocol: this.isClassic ? "classic" : "consumer" });
  }

  enter(member: string): void {
    this.#members.add(member);
    this.rebalance();
  }

  leave(member: string): void {
    this.#members.delete(member);
    this.rebalance();
  }

  rebalance(): void {
    this.generation++;
    this.world.count("rebalances");
    const members = [...this.#members];
    for (const partition of this.world.partitions) {
      if (members.length === 0) this.#owners.delete(partition);
      else if (!this.#members.has(this.#owners.get(partition) ?? "") || this.world.random.chance(0.5)) {
        const owner = this.world.random.pick(members);
        if (owner !== this.#owners.get(partition)) this.#since.set(partition, this.generation);
        this.#owners.set(partition, owner);
      }
    }
  }

  isMember(member: string): boolean {
    return this.#members.has(member);
  }

  owned(member: string): readonly ModelPartition[] {
    return this.world.partitions.filter((partition) => this.#owners.get(partition) === member);
  }

  /** Whether it was taken. */
  commit(partition: ModelPartition, offset: number, by: { member: string; generation: number }): boolean {
    const isOwner =
      this.#owners.get(partition) === by.member && by.generation >= (this.#since.get(partition) ?? 0);
    const isCurrent = this.isClassic ? by.generation === this.generation : isOwner;
    if (!isCurrent || !this.#members.has(by.member)) {
      this.world.count("commits refused");
      if (!this.world.breaks("a commit of an old generation is taken")) return false;
    }
    this.#previous.set(partition, this.committed.get(partition) ?? -1);
    this.committed.set(partition, offset);
    this.world.count("commits");
    return true;
  }

  fetch(partition: ModelPartition): number {
    const committed = this.committed.get(partition) ?? -1;
    const before = this.#previous.get(partition) ?? -1;
    return before < committed && this.world.breaks("a committed offset goes back") ? before : committed;
  }

  begin(
    member: string,
    kind: "join" | "handle" | "commit" | "fetch-offsets" | "reset",
    generation = -1,
  ): Operation {
    return this.world.begin(member, kind).inGroup(this.number, generation);
  }
}

interface Progress {
  /** Where its next poll begins. */
  position: number;
  /** Given to handlers and not finished. */
  readonly open: { readonly offset: number; readonly value: string }[];
}

/** A member with several lives, each under a name of its own. */
export function* member(world: CleanWorld, group: ModelGroup, name: string): Turns {
  const { random } = world;
  for (let life = random.between(1, 3); life > 0; life--) {
    const client = `${name}.${life}`;
    while (!group.isOpen) yield;
    group.enter(client);
    yield* liveAs(world, group, client);
    if (group.isMember(client)) group.leave(client);
  }
}

function* liveAs(world: CleanWorld, group: ModelGroup, client: string): Turns {
  const { random } = world;
  let generation = -1;
  let shares = new Map<ModelPartition, Progress>();
  const subscribe = world.begin(client, "subscribe");
  for (const partition of world.partitions) subscribe.takes(partition.number);
  subscribe.ok(world.nowMs);
  for (let left = random.between(10, 60); left > 0; left--) {
    yield;
    // It hears of a new generation late, and goes on as if nothing had happened until then.
    if (generation === -1 || (generation !== group.generation && random.chance(0.3))) {
      if (!group.isMember(client)) return;
      generation = group.generation;
      shares = new Map();
      for (const partition of join(world, group, client)) {
        const position = yield* startOf(group, client, partition);
        if (position !== null) shares.set(partition, { position, open: [] });
      }
    }
    if (shares.size === 0) continue;
    const [partition, progress] = random.pick([...shares]);
    const what = random.below(3);
    if (what === 0) poll(world, client, partition, progress);
    else if (what === 1) handle(world, group, { client, generation, partition, progress, max: 3 });
    else yield* commit(world, group, { client, generation, partition, progress });
    if (random.chance(0.02)) {
      world.count("crashes");
      return;
    }
  }
}

function join(world: CleanWorld, group: ModelGroup, client: string): readonly ModelPartition[] {
  const operation = group.begin(client, "join", group.generation);
  const owned = world.breaks("one partition is given to two members")
    ? world.partitions
    : group.owned(client);
  for (const partition of owned) operation.owns(partition.number);
  operation.ok(world.nowMs);
  return owned;
}

function* startOf(
  group: ModelGroup,
  client: string,
  partition: ModelPartition,
): Generator<void, number | null, void> {
  const fetch = group.begin(client, "fetch-offsets");
  yield;
  const committed = group.fetch(partition);
  fetch.committed(partition.number, committed);
  yield;
  fetch.ok(group.world.nowMs);
  return Math.max(committed, group.world.askStart(client, partition));
}

function poll(world: CleanWorld, client: string, partition: ModelPartition, progress: Progress): void {
  const from = Math.max(progress.position, partition.start);
  const stable = partition.stable;
  const operation = world.begin(client, "poll");
  const next = world.read(operation, partition, { from, broker: world.brokers[0] as string, max: 6 });
  operation.ok(world.nowMs);
  for (const { offset, value } of partition.visible(from, Math.min(next, stable))) {
    progress.open.push({ offset, value: value as string });
  }
  progress.position = next;
}

interface Holding {
  readonly client: string;
  readonly generation: number;
  readonly partition: ModelPartition;
  readonly progress: Progress;
}

/** Handlers finish in any order. */
function handle(world: CleanWorld, group: ModelGroup, holding: Holding & { readonly max: number }): void {
  const { client, generation, partition, progress } = holding;
  const operation = group.begin(client, "handle", generation);
  for (let left = holding.max; left > 0 && progress.open.length > 0; left--) {
    const [done] = progress.open.splice(world.random.below(progress.open.length), 1);
    if (done !== undefined) operation.handled(partition.number, done.offset, done.value);
    world.count("records handled");
  }
  operation.ok(world.nowMs);
}

function* commit(world: CleanWorld, group: ModelGroup, holding: Holding): Turns {
  const { client, generation, partition, progress } = holding;
  const lowest = Math.min(progress.position, ...progress.open.map(({ offset }) => offset));
  const isEarly = progress.open.length > 0 && world.breaks("a member commits what it has not handled");
  const offset = isEarly ? progress.position : lowest;
  const operation = group.begin(client, "commit", generation);
  operation.commits(partition.number, offset);
  if (world.random.chance(0.3)) yield;
  const isSent = world.random.chance(0.95);
  const isTaken = isSent && group.commit(partition, offset, { member: client, generation });
  if (world.random.chance(0.3)) yield;
  if (!isSent || world.random.chance(0.1)) {
    world.count("unknown outcomes");
    if (world.random.chance(0.5)) operation.unknown(world.nowMs);
  } else if (isTaken) operation.ok(world.nowMs);
  else operation.fail(world.nowMs);
}

/** Sends everybody away now and then, and sets the empty group to anywhere. */
export function* admin(world: CleanWorld, group: ModelGroup, members: readonly string[]): Turns {
  const { random } = world;
  for (let left = random.below(3); left > 0; left--) {
    for (let pause = random.below(60); pause > 0; pause--) yield;
    group.isOpen = false;
    for (const name of members) for (let life = 3; life > 0; life--) group.leave(`${name}.${life}`);
    const operation = group.begin("admin", "reset");
    yield;
    for (const partition of world.partitions) {
      const offset = partition.start + random.below(partition.end - partition.start + 1);
      operation.resets(partition.number, offset);
      group.committed.set(partition, offset);
    }
    world.count("resets");
    yield;
    operation.ok(world.nowMs);
    group.isOpen = true;
  }
}

/** One last member handles what is left. */
export function handleEverything(world: CleanWorld, group: ModelGroup): void {
  const client = "last-member";
  group.enter(client);
  for (const partition of join(world, group, client)) {
    const progress: Progress = {
      position: Math.max(group.fetch(partition), world.askStart(client, partition)),
      open: [],
    };
    while (progress.position < partition.end) {
      poll(world, client, partition, progress);
      while (progress.open.length > 0) {
        handle(world, group, { client, generation: group.generation, partition, progress, max: 10 });
      }
    }
    const end = group.begin(client, "handle", group.generation);
    end.reachedEnd(partition.number);
    end.ok(world.nowMs++);
  }
}
