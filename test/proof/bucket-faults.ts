/**
 * The real HTTP client before a bucket that misbehaves over real sockets: puts that are late, doubled, reordered,
 * done and never answered, or refused; 409, 412 and 503 in mixtures; stalls, resets, bodies that are cut, parts of
 * another place, deletes that come later. Two stories, from seeds: rivals who create the same names, and a writer of
 * the WAL whose log is sealed while it writes. Counted are requests that met a fault.
 *
 *   node test/proof/bucket-faults.ts [SEEDS] [FIRST]
 */
import assert from "node:assert/strict";
import { brokerEpoch, walPosition } from "../../src/base/ids.ts";
import { systemRandom } from "../../src/io/random.ts";
import { FakeBucket, type FakeFault, type FakeRequest } from "../../src/io/s3/fake-bucket.ts";
import { hastyClock, storeBefore } from "../../src/io/s3/store-fixture.ts";
import type { S3Store } from "../../src/io/s3/store.ts";
import { deleteSlots, readSealed, sealWal } from "../../src/log/object-wal-seal.ts";
import { decodeSlot, slotKey } from "../../src/log/object-wal-format.ts";
import { ObjectWal } from "../../src/log/object-wal.ts";
import { anEntry } from "../../src/log/wal.contract.ts";
import { SimRandom } from "../../src/sim/random.ts";
import { silentLogger, silentMeter } from "../../src/sim/silence.ts";
import { create, read, untilAnswered } from "../../src/store/create.ts";

export interface BucketFaultCounts {
  readonly seeds: number;
  readonly requests: number;
  readonly faulted: number;
  readonly names: number;
  readonly acknowledged: number;
}

const hurry = 20;
const clock = hastyClock(hurry);
const limits = { connectMs: 2_000 * hurry, stallMs: 60 * hurry, totalMs: 5_000 * hurry };
const rivals = 3;
const namesPerSeed = 12;
const partsPerName = 4;
const entriesPerSeed = 60;
const clusterId = "test";

/** Which faults a seed has, and how often. */
function faultsOf(random: SimRandom): (seen: FakeRequest) => FakeFault | null {
  const rate = 0.1 + random.fraction() * 0.5;
  const ms = (): number => random.below(120);
  const kinds: readonly (() => FakeFault)[] = [
    () => ({ kind: "error", status: 409, code: "ConditionalRequestConflict", applies: random.chance(0.3) }),
    () => ({ kind: "error", status: 503, code: "SlowDown", applies: random.chance(0.3) }),
    () => ({ kind: "error", status: 500, code: "InternalError", applies: random.chance(0.5) }),
    // For a success of its own: what a proxy makes of it that sends a request again.
    () => ({ kind: "error", status: 412, code: "PreconditionFailed", applies: true }),
    () => ({ kind: "reset", applies: random.chance(0.5) }),
    () => (random.chance(0.5) ? { kind: "stall", appliesAfterMs: ms() } : { kind: "stall" }),
    () => ({ kind: "slow", ms: ms() }),
    () => ({ kind: "late-answer", ms: ms() }),
    () => ({ kind: "twice", againMs: ms() }),
    () => ({ kind: "cut" }),
    () => ({ kind: "shifted" }),
    () => ({ kind: "late-delete", ms: ms() }),
  ];
  const chosen = kinds.filter(() => random.chance(0.6));
  return ({ method }) => {
    if (chosen.length === 0 || !random.chance(rate)) return null;
    const fault = (chosen[random.below(chosen.length)] as () => FakeFault)();
    // 412 is an answer to a put.
    return fault.kind === "error" && fault.status === 412 && method !== "PUT" ? null : fault;
  };
}

export async function run(options: {
  readonly seeds: number;
  readonly first?: number;
}): Promise<BucketFaultCounts> {
  const { seeds, first = 1 } = options;
  const counts = { seeds, requests: 0, faulted: 0, names: 0, acknowledged: 0 };
  for (let seed = first; seed < first + seeds; seed++) {
    try {
      await story(seed, counts);
    } catch (error) {
      throw new Error(`node test/proof/bucket-faults.ts 1 ${seed}`, { cause: error });
    }
  }
  return counts;
}

async function story(
  seed: number,
  counts: { requests: number; faulted: number; names: number; acknowledged: number },
): Promise<void> {
  const random = new SimRandom(seed);
  const draw = faultsOf(random.fork("faults"));
  let isPeace = false;
  const fake = await FakeBucket.start({
    fault: (seen) => {
      counts.requests++;
      const fault = isPeace ? null : draw(seen);
      if (fault !== null) counts.faulted++;
      return fault;
    },
  });
  const stores = Array.from({ length: rivals }, () =>
    storeBefore(fake, { clock, limits, pageObjects: 7, hedgeMsMin: 1 }),
  );
  try {
    counts.names += await rivalry(fake, stores, random.fork("rivals"));
    counts.acknowledged += await sealedWhileWriting(stores, random.fork("wal"));
    isPeace = true;
    for (const [key, created] of fake.creations) {
      // A name whose object was deleted may be made again, by the same bytes only: they were checked by their readers.
      if (!key.includes("/wal/")) assert.equal(created, 1, `${key} was created ${created} times`);
    }
  } finally {
    for (const store of stores) store.close();
    await fake.close();
  }
}

/** Several create each name at once: one wins, all agree, and the memory that was handed over is theirs again. */
async function rivalry(fake: FakeBucket, stores: readonly S3Store[], random: SimRandom): Promise<number> {
  const ports = { clock, random: systemRandom() };
  for (let name = 0; name < namesPerSeed; name++) {
    const key = `meta/${name}`;
    const size = random.chance(0.3) ? 200_000 : 1 + random.below(2_000);
    const bodies = stores.map(() => random.bytes(8 + random.below(16)));
    const whole = bodies.map((mark) => Buffer.concat([mark, varied(size)]));
    const outcomes = await Promise.all(
      stores.map(async (store, at) => {
        const own = Buffer.from(whole[at] as Buffer);
        const created = await create(store, key, own, ports);
        own.fill(0xee);
        return created;
      }),
    );
    const winners = outcomes.flatMap(({ kind }, at) => (kind === "mine" ? [at] : []));
    assert.equal(winners.length, 1, `${key} has one winner`);
    const winner = whole[winners[0] as number] as Buffer;
    assert.ok(winner.equals(fake.objects.get(`holdfast/${key}`) as Uint8Array), `${key} is the winner's`);
    for (const outcome of outcomes) {
      if (outcome.kind === "other") assert.ok(winner.equals(outcome.body), "all see the winner's object");
    }
    for (let part = 0; part < partsPerName; part++) {
      const start = random.below(winner.byteLength);
      const found = await answered(() =>
        (stores[0] as S3Store).get(key, { start, length: 50 }, new Uint8Array(64)),
      );
      const isAsked = found !== null && winner.subarray(start, start + 50).equals(found);
      assert.ok(isAsked, "a part is what was asked for");
    }
  }
  const listed = await answered(() => (stores[1] as S3Store).list("meta/"));
  assert.equal(listed.length, namesPerSeed, "every name is listed");
  return namesPerSeed;
}

/** No byte is the one beside it, so that a part of another place is seen. */
const varied = (size: number): Buffer => Buffer.from(Uint8Array.from({ length: size }, (_, at) => at * 7));

/** Tries until there is an answer. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Error && "retriable" in error && error.retriable === true)) throw error;
    }
  }
}

/** What the writer was told is durable must be found by whoever seals the log, in order, and nothing twice. */
async function sealedWhileWriting(stores: readonly S3Store[], random: SimRandom): Promise<number> {
  const [writer, sealer, other] = stores as [S3Store, S3Store, S3Store];
  const ports = { clock, random: systemRandom() };
  const epoch = brokerEpoch(7);
  const durable: number[] = [];
  const wal = new ObjectWal({
    store: writer,
    clock,
    random: ports.random,
    log: silentLogger,
    meter: silentMeter,
    clusterId,
    epoch,
    lanes: 4,
    events: {
      onDurable: ({ entries }) => durable.push(...entries.map(({ baseOffset }) => baseOffset)),
      onFailure: () => undefined,
    },
  });
  const sealAt = random.below(entriesPerSeed);
  let sealing: Promise<unknown> = Promise.resolve();
  const deadIn = (store: S3Store) => ({ store, ports, clusterId, epoch, released: walPosition(0) });
  const ends: number[] = [];
  for (let base = 0; base < entriesPerSeed; base++) {
    if (base === sealAt) {
      sealing = Promise.all([sealer, other].map(async (store) => ends.push(await sealWal(deadIn(store)))));
    }
    try {
      const number = wal.append([anEntry({ base, bytes: 1 + random.below(3_000) })]);
      if (random.chance(0.4)) await wal.whenDurable(number);
    } catch {
      // Its log is sealed: it is told so, and writes nothing more.
      break;
    }
  }
  await sealing;
  assert.equal(ends[0], ends[1], "two sealers find one end");
  const end = walPosition(ends[0] as number);
  const dead = deadIn(sealer);
  const { entries, holes, jumped } = await readSealed(dead, walPosition(0), end);
  const found = entries.map(({ entry }) => entry.baseOffset);
  assert.deepEqual(found, [...found.keys()], "the log is dense and in order");
  assert.ok(
    found.length >= durable.length,
    `${durable.length} were acknowledged, and ${found.length} are found`,
  );
  assert.equal(holes.length, 0);
  assert.equal(jumped, false);
  // What nobody needs goes, and the seal stays: the writer can never come behind it.
  await untilAnswered(ports, () => deleteSlots(dead, end, end));
  const seal = await read(other, slotKey(epoch, end), ports);
  assert.ok(seal !== null && decodeSlot({ clusterId, epoch, slot: end }, seal).kind === "seal");
  await wal.close().catch(() => undefined);
  assert.ok(wal.durable <= found.length, "nothing is acknowledged behind the seal");
  return durable.length;
}

if (import.meta.main) {
  const [seeds = "20", first = "1"] = process.argv.slice(2);
  console.log(await run({ seeds: Number(seeds), first: Number(first) }));
}
