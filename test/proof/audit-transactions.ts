/**
 * Consume, transform, produce in a correct world: producers of one transactional id that take over from one
 * another, transactions that are committed with the offsets of their input, aborted, left alone, or ended by
 * their time-out, and readers who ask for uncommitted records too.
 */
import type { Operation } from "../../src/audit/operation.ts";
import type { GroupNumber } from "../../src/audit/words.ts";
import { type CleanWorld, type ModelPartition, OpenTransaction, type Turns } from "./audit-world.ts";

/** What all producers of one transactional id share: the broker's side. */
export class Transformation {
  readonly world: CleanWorld;
  readonly id: string;
  readonly source: ModelPartition;
  readonly group: GroupNumber;
  /** Who may write. */
  owner: string | null = null;
  open: OpenTransaction | null = null;
  committed = -1;

  constructor(world: CleanWorld, id: string) {
    this.world = world;
    this.id = id;
    this.source = world.random.pick(world.partitions);
    this.group = world.history.group(`group of ${id}`);
  }

  /** Fences all others; what they had open is aborted. */
  takeOver(client: string): void {
    if (this.open !== null) this.abort(this.open);
    this.owner = client;
  }

  mayWrite(client: string): boolean {
    if (this.owner === client) return true;
    this.world.count("producers fenced");
    return this.world.breaks("a fenced producer is taken");
  }

  abort(transaction: OpenTransaction): void {
    if (transaction.state !== "open") return;
    this.world.end(transaction, "aborted");
    if (transaction.next >= 0 && this.world.breaks("offsets are committed outside of their transaction"))
      this.committed = transaction.next;
  }

  commit(transaction: OpenTransaction): void {
    this.world.end(transaction, "committed");
    if (!this.world.breaks("a transaction is committed without its offsets"))
      this.committed = transaction.next;
    this.world.count("transactions with offsets");
  }

  /** All that is left, in one last transaction, and that nothing is left afterwards. */
  finish(): void {
    const { world } = this;
    const client = `${this.id}.last`;
    this.takeOver(client);
    let position = startOf(this, client);
    while (position < this.source.end) {
      const operation = world.begin(client, "transaction").inGroup(this.group);
      const transaction = new OpenTransaction(world.nowMs);
      const before = position;
      position = take(this, operation, { from: position, max: 50 });
      if (position === before) position = this.source.end;
      operation.commits(this.source.number, position);
      transaction.next = position;
      this.commit(transaction);
      operation.ok(world.nowMs++);
    }
    const end = world.begin(client, "handle").inGroup(this.group);
    end.reachedEnd(this.source.number);
    end.ok(world.nowMs++);
  }
}

/** One of the producers of a transactional id, with several lives. */
export function* transformer(shared: Transformation, name: string): Turns {
  const { world } = shared;
  for (let life = world.random.between(1, 3); life > 0; life--) yield* transformAs(shared, `${name}.${life}`);
}

function* transformAs(shared: Transformation, client: string): Turns {
  const { world } = shared;
  const { random } = world;
  const init = world.begin(client, "init").takesOver(shared.id);
  yield;
  shared.takeOver(client);
  yield;
  if (random.chance(0.05)) return init.unknown(world.nowMs);
  init.ok(world.nowMs);
  for (let left = random.between(1, 6); left > 0; left--) {
    yield;
    const position = startOf(shared, client);
    yield;
    const isOver = yield* transformOnce(shared, client, position);
    if (isOver) return;
  }
}

/** Where the group is; an open transaction of its own there is none. */
function startOf(shared: Transformation, client: string): number {
  const { world, source } = shared;
  const fetch = world.begin(client, "fetch-offsets").inGroup(shared.group);
  fetch.committed(source.number, shared.committed);
  fetch.ok(world.nowMs);
  return Math.max(0, shared.committed, world.askStart(client, source));
}

/** Handles what is visible; returns where to go on. */
function take(
  shared: Transformation,
  operation: Operation,
  { from, max }: { readonly from: number; readonly max: number },
): number {
  const { source, world } = shared;
  const given = source.visible(from, source.stable).slice(0, max);
  for (const { offset, value } of given) {
    operation.handled(source.number, offset, value as string);
    world.count("records handled in transactions");
  }
  const last = given.at(-1);
  return last === undefined ? from : last.offset + 1;
}

/** True: this life is over. */
function* transformOnce(
  shared: Transformation,
  client: string,
  position: number,
): Generator<void, boolean, void> {
  const { world, source } = shared;
  const { random } = world;
  const operation = world.begin(client, "transaction").inGroup(shared.group);
  const next = take(shared, operation, { from: position, max: 4 });
  const transaction = new OpenTransaction(world.nowMs);
  world.count("transactions");
  for (let sends = random.between(1, 3); sends > 0; sends--) {
    yield;
    if (transaction.state !== "open" || !shared.mayWrite(client)) {
      operation.fail(world.nowMs);
      return true;
    }
    if (shared.open !== transaction) {
      shared.open = transaction;
      transaction.beganMs = world.nowMs;
      world.track(transaction, () => shared.abort(transaction));
    }
    const partition = random.pick(world.partitions);
    const value = world.aValue();
    const facts = world.facts();
    const step = operation.sends(partition.number, value, facts);
    const entry = partition.append(value, facts, "open");
    if (random.chance(0.9)) operation.stored(step, entry.offset);
    transaction.entries.push({ partition, entry });
    world.count("records sent");
  }
  operation.commits(source.number, next);
  transaction.next = next;
  yield;
  const fate = random.below(10);
  if (fate === 0) {
    // It dies, and leaves the transaction to its time-out or to the next of its id.
    world.count("crashes");
    if (random.chance(0.5)) operation.unknown(world.nowMs);
    if (world.breaks("a transaction hangs")) {
      transaction.isForgotten = true;
      shared.open = null;
    }
    return true;
  }
  const isTaken = transaction.state === "open" && (fate < 3 || shared.mayWrite(client));
  if (isTaken && fate >= 3) shared.commit(transaction);
  else shared.abort(transaction);
  if (shared.open === transaction) shared.open = null;
  yield;
  if (random.chance(0.1)) {
    world.count("unknown outcomes");
    operation.unknown(world.nowMs);
    return true;
  }
  operation[isTaken && fate >= 3 ? "ok" : "fail"](world.nowMs);
  return !isTaken;
}

/** Reads what is not decided too. */
export function* glimpser(world: CleanWorld, name: string): Turns {
  const { random } = world;
  for (let left = random.between(3, 20); left > 0; left--) {
    yield;
    const partition = random.pick(world.partitions);
    const poll = world.begin(name, "poll");
    const from = random.below(partition.end + 1);
    for (const { offset, value, facts } of partition.entries) {
      if (offset < from || value === null || random.chance(0.3)) continue;
      poll.glimpsed(partition.number, offset, value, facts);
      world.count("records glimpsed");
    }
    poll.ok(world.nowMs);
  }
}
