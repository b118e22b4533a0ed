/** Producers, transactions, readers and whoever deletes, in a correct world. Each yields where others may act. */
import type { Operation } from "../../src/audit/operation.ts";
import {
  type CleanWorld,
  type Entry,
  type ModelPartition,
  OpenTransaction,
  type Turns,
} from "./audit-world.ts";

const inFlightMax = 5;

interface Batch {
  readonly operation: Operation;
  readonly partition: ModelPartition;
  readonly values: readonly { readonly value: string; readonly step: number }[];
  readonly facts: ReturnType<CleanWorld["facts"]>[];
  fate: "waiting" | "stored" | "refused";
}

/** Several batches under way; stored in order; answers come in any order, late, or never. */
export function* producer(world: CleanWorld, name: string): Turns {
  const { random } = world;
  const isIdempotent = random.chance(0.7);
  let life = 0;
  let inFlight: Batch[] = [];
  const client = (): string => `${name}.${life}`;
  for (let left = random.between(5, 40); left > 0 || inFlight.length > 0; ) {
    yield;
    world.history.client(client(), { idempotent: isIdempotent });
    const what = random.below(10);
    if (what < 4 && left > 0 && inFlight.length < inFlightMax) {
      inFlight.push(aBatch(world, client()));
      left--;
    } else if (what < 8) {
      const next = inFlight.find(({ fate }) => fate === "waiting");
      if (next !== undefined) store(world, next, isIdempotent);
    } else {
      const done = random.pick(inFlight.filter(({ fate }) => fate !== "waiting"));
      if (done !== undefined) {
        answer(world, done);
        inFlight = inFlight.filter((other) => other !== done);
      }
    }
    if (!random.chance(0.02)) continue;
    // Its process dies. What is on its way may still be stored, later, while its successor writes.
    world.count("crashes");
    const orphans = inFlight;
    inFlight = [];
    life++;
    for (const each of orphans) {
      if (random.chance(0.5)) each.operation.unknown(world.nowMs);
      world.count("unknown outcomes");
    }
    for (const each of orphans) {
      if (each.fate === "waiting" && random.chance(0.5)) {
        yield;
        store(world, { ...each, fate: "waiting" }, true, false);
      } else break;
    }
  }
}

function aBatch(world: CleanWorld, client: string): Batch {
  const partition = world.random.pick(world.partitions);
  const operation = world.begin(client, "send");
  const facts = Array.from({ length: world.random.between(1, 3) }, () => world.facts());
  const values = facts.map((each) => {
    const value = world.aValue();
    return { value, step: operation.sends(partition.number, value, each) };
  });
  world.count("records sent", values.length);
  return { operation, partition, values, facts, fate: "waiting" };
}

function store(world: CleanWorld, batch: Batch, isIdempotent: boolean, isAnswered = true): void {
  const { partition, operation } = batch;
  if (isAnswered && world.random.chance(0.05)) {
    batch.fate = "refused";
    return;
  }
  batch.fate = "stored";
  const isTwice = isIdempotent
    ? world.breaks("an idempotent record is stored twice")
    : world.random.chance(0.1);
  for (let times = isTwice ? 2 : 1; times > 0; times--) {
    batch.values.forEach(({ value, step }, at) => {
      const entry = partition.append(value, batch.facts[at] ?? {}, "committed");
      if (times === 1 && isAnswered) operation.stored(step, entry.offset);
    });
  }
  if (world.breaks("an unsent record appears")) partition.append(`ghost${partition.end}`, {}, "committed");
}

function answer(world: CleanWorld, { operation, fate, partition, values }: Batch): void {
  if (world.random.chance(0.1)) {
    world.count("unknown outcomes");
    if (world.random.chance(0.5)) operation.unknown(world.nowMs);
  } else if (fate === "refused") operation.fail(world.nowMs);
  else {
    operation.ok(world.nowMs);
    if (world.breaks("an acknowledged record is lost")) {
      partition.entries = partition.entries.filter(({ value }) => value !== values[0]?.value);
    }
  }
}

/** Sends and polls in transactions, of which some are aborted and some of unknown fate. */
export function* transactor(world: CleanWorld, name: string): Turns {
  const { random } = world;
  const source = random.pick(world.partitions);
  let position = source.start;
  let isAssigned = false;
  for (let left = random.between(3, 15); left > 0; left--) {
    yield;
    if (!isAssigned || position < source.start) {
      position = Math.max(position, source.start);
      const assign = world.begin(name, "assign");
      assign.takes(source.number, position);
      assign.ok(world.nowMs);
      isAssigned = true;
    }
    const operation = world.begin(name, "transaction");
    world.count("transactions");
    const transaction = new OpenTransaction(world.nowMs);
    const open = transaction.entries;
    world.track(transaction, () => world.end(transaction, "aborted"));
    let next = position;
    for (let steps = random.between(1, 4); steps > 0; steps--) {
      yield;
      if (random.chance(0.4) && next >= source.start) {
        next = world.read(operation, source, { from: next, broker: world.brokers[0] as string, max: 5 });
        continue;
      }
      if (transaction.state !== "open") break;
      const partition = random.pick(world.partitions);
      const value = world.aValue();
      const facts = world.facts();
      const step = operation.sends(partition.number, value, facts);
      const entry = partition.append(value, facts, "open");
      operation.stored(step, entry.offset);
      open.push({ partition, entry });
      world.count("records sent");
    }
    yield;
    if (transaction.state !== "open") {
      operation.fail(world.nowMs);
      continue;
    }
    const isCommitted = random.chance(0.7);
    const isTorn =
      isCommitted && open.length > 1 && world.breaks("a transaction is committed in one partition only");
    const isShown = !isCommitted && open.length > 0 && world.breaks("an aborted record is shown");
    const ended = isCommitted || isShown ? ("committed" as const) : ("aborted" as const);
    world.decide(transaction, ended);
    const touched = new Set(open.map(({ partition }) => partition));
    let isFirst = true;
    for (const partition of touched) {
      for (const each of open) {
        if (each.partition === partition) each.entry.state = isTorn && !isFirst ? "aborted" : ended;
        if (isTorn) isFirst = false;
      }
      partition.append(null, {}, "committed");
      if (random.chance(0.5)) yield;
    }
    const isKnown = random.chance(0.85);
    if (!isKnown) {
      world.count("unknown outcomes");
      operation.unknown(world.nowMs);
    } else if (isCommitted) {
      operation.ok(world.nowMs);
      position = next;
    } else operation.fail(world.nowMs);
    // Of unknown fate: it starts anew where it last was for certain.
  }
}

/** Reads partitions of its choice through any broker, changes its mind, dies, and at last reads everything. */
export function* reader(world: CleanWorld, name: string): Turns {
  const { random } = world;
  let positions = new Map<ModelPartition, number>();
  for (let left = random.between(5, 40); left > 0; left--) {
    yield;
    if (random.chance(0.02)) {
      world.count("crashes");
      world.begin(name, "crash").ok(world.nowMs);
      positions = new Map();
    }
    if (positions.size === 0 || random.chance(0.1)) positions = assign(world, name, positions);
    const [partition, from] = random.pick([...positions]);
    if (from < partition.start) {
      positions = assign(world, name, new Map());
      continue;
    }
    const operation = world.begin(name, "poll");
    yield;
    if (from < partition.start) {
      operation.fail(world.nowMs);
      continue;
    }
    const broker = random.pick(world.brokers);
    const next = world.read(operation, partition, { from, broker, max: random.between(1, 8) });
    yield;
    if (random.chance(0.1)) {
      world.count("unknown outcomes");
      if (random.chance(0.5)) operation.fail(world.nowMs);
      else operation.unknown(world.nowMs);
    } else {
      operation.ok(world.nowMs);
      positions.set(partition, next);
    }
  }
}

/** Some stay where they were, some are sought. */
function assign(
  world: CleanWorld,
  name: string,
  before: ReadonlyMap<ModelPartition, number>,
): Map<ModelPartition, number> {
  const { random } = world;
  const operation = world.begin(name, "assign");
  const after = new Map<ModelPartition, number>();
  for (const partition of world.partitions) {
    const known = before.get(partition);
    if (random.chance(0.4) && after.size > 0) continue;
    if (known !== undefined && known >= partition.start && random.chance(0.5)) {
      operation.takes(partition.number);
      after.set(partition, known);
    } else {
      const from = partition.start + random.below(partition.end - partition.start + 1);
      operation.takes(partition.number, from);
      after.set(partition, from);
    }
  }
  operation.ok(world.nowMs);
  return after;
}

/** Asks for watermarks and for offsets by time. */
export function* looker(world: CleanWorld, name: string): Turns {
  const { random } = world;
  for (let left = random.between(2, 15); left > 0; left--) {
    yield;
    const partition = random.pick(world.partitions);
    const look = world.begin(name, "look");
    yield;
    const broker = random.pick(world.brokers);
    const end = world.endAt(broker, partition);
    look.through(broker);
    look.watermarks(partition.number, {
      logStart: Math.min(partition.start, end),
      highWatermark: end,
      logEnd: end,
    });
    const timeMs = random.below(world.nowMs + 20);
    const isThere = ({ facts, state, value }: Entry): boolean =>
      value !== null && state === "committed" && (facts.timestampMs ?? 0) >= timeMs;
    // A lookup goes up to the last stable offset of the broker that leads.
    const found = partition.visible(partition.start, partition.stable).find(isThere);
    if (broker === world.brokers[0] && partition.stable === partition.end) {
      look.lookedUp(partition.number, timeMs, found?.offset ?? -1);
    }
    yield;
    look.ok(world.nowMs);
  }
}

/** Retention and compaction. */
export function* cleaner(world: CleanWorld): Turns {
  const { random } = world;
  for (let left = 10; left > 0; left--) {
    yield;
    const partition = random.pick(world.partitions);
    if (partition.cleanup.includes("delete") && random.chance(0.5)) {
      partition.retain(partition.start + random.below(6));
      world.count("deletions");
    } else if (partition.cleanup.includes("compact")) {
      partition.compact();
      world.count("compactions");
    }
  }
}

/** After all: each partition from its start to its end, through each broker. */
export function readEverything(world: CleanWorld): void {
  for (const broker of world.brokers.toReversed()) {
    for (const partition of world.partitions) {
      const name = `last-${broker}-${partition.number}`;
      const start = world.askStart(name, partition);
      const assigned = world.begin(name, "assign");
      assigned.takes(partition.number, start);
      assigned.ok(world.nowMs);
      for (let from = start; from < partition.end; ) {
        const poll = world.begin(name, "poll");
        from = world.read(poll, partition, { from, broker, max: 50 });
        poll.ok(world.nowMs++);
      }
      const end = world.begin(name, "poll").through(broker);
      end.reachedEnd(partition.number);
      end.ok(world.nowMs++);
    }
  }
}
