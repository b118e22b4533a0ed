import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { offset, walPosition } from "../base/ids.ts";
import { BatchView, batchesIn } from "../record/batch.ts";
import type { AppendOutcome } from "./outcomes.ts";
import { aBatch, PartitionWorld } from "./partition-fixture.ts";
import type { FooterState } from "./segment-format.ts";

/*
 * Random lives of one partition: appends with and without producers, retries, gaps, new epochs, durability
 * in steps, flushes, trims, crashes. After each step every offset is read and compared with a plain list
 * of what was appended. Variants break one promise each and must be caught.
 */

type Step =
  | { readonly kind: "append"; readonly count: number; readonly large: boolean }
  /** `shift`: relative to the sequence after the newest batch of this producer that the model has. */
  | { readonly kind: "send"; readonly producer: number; readonly shift: number; readonly bump: boolean }
  | { readonly kind: "sync"; readonly appends: number }
  | { readonly kind: "flush" }
  | { readonly kind: "trim"; readonly share: number }
  | { readonly kind: "crash"; readonly kept: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      count: fc.integer({ min: 1, max: 4 }),
      large: fc.constantFrom(false, false, true),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("send" as const),
      producer: fc.integer({ min: 1, max: 2 }),
      shift: fc.constantFrom(0, 0, 0, 0, -1, -1, -2, -3, -6, -8, 1),
      bump: fc.constantFrom(false, false, false, false, false, true),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("sync" as const), appends: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("flush" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("trim" as const),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("crash" as const), kept: fc.integer({ min: 0, max: 3 }) }),
  },
);

/** Ways to be wrong. */
interface Variant {
  /** What the footer says of producers instead of the truth. */
  readonly footer?: (world: PartitionWorld, honest: FooterState | undefined) => FooterState | undefined;
  readonly options?: { readonly announcesEarly?: boolean };
}

/** What the model knows of one batch in the log. `end` is exclusive. */
interface Appended {
  readonly base: number;
  readonly end: number;
  /** As sent: everything behind base offset and leader epoch, which the broker stamps. */
  readonly content: Buffer;
  readonly walNumber: number;
}

const everything = walPosition(Number.MAX_SAFE_INTEGER);
const tail = { heldBytesMax: 3000 };

class Life {
  world: PartitionWorld;
  readonly #variant: Variant;
  /** In offset order; what is at or above `durableEnd` may vanish in a crash. */
  #log: Appended[] = [];
  #start = 0;
  /** Moves of the log start, each in force once its entry is durable. */
  #trims: { readonly start: number; readonly walNumber: number }[] = [];
  /** Next sequence and epoch by producer, as a client that knows what the log has. */
  readonly #clients = new Map<number, { epoch: number; sequence: number }>();
  #serial = 0;

  constructor(variant: Variant) {
    this.#variant = variant;
    this.world = new PartitionWorld({ ...variant.options, tail });
  }

  get #durableEnd(): number {
    const durable = this.#log.filter((batch) => batch.walNumber <= this.world.wal.durable);
    return durable.at(-1)?.end ?? 0;
  }

  run(step: Step): void {
    switch (step.kind) {
      case "append":
        this.#append(aBatch({ count: step.count, value: this.#value(step.large ? 2000 : 10) }));
        break;
      case "send":
        this.#send(step);
        break;
      case "sync":
        this.world.wal.sync(step.appends);
        break;
      case "flush":
        this.#flush();
        break;
      case "trim":
        this.#trim(Math.floor(step.share * this.#durableEnd));
        break;
      case "crash":
        this.#crash(step.kept);
        break;
      default:
        step satisfies never;
    }
    this.#moveStart();
  }

  #moveStart(): void {
    for (const { start, walNumber } of this.#trims) {
      if (walNumber <= this.world.wal.durable) this.#start = Math.max(this.#start, start);
    }
  }

  #value(bytes: number): string {
    return `${this.#serial++}`.padEnd(bytes, ".");
  }

  #append(bytes: Uint8Array): AppendOutcome {
    const outcome = this.world.append(bytes);
    if (outcome.kind === "appended") {
      const end = this.#log.at(-1)?.end ?? 0;
      assert.equal(outcome.baseOffset, end, "offsets are dense");
      const { lastOffsetDelta } = BatchView.at(bytes);
      this.#log.push({
        base: end,
        end: end + lastOffsetDelta + 1,
        content: contentOf(bytes),
        walNumber: outcome.walNumber,
      });
    }
    return outcome;
  }

  /** One record per batch, whose value names producer, epoch and sequence: the same batch is the same bytes. */
  #send({ producer, shift, bump }: { producer: number; shift: number; bump: boolean }): void {
    const client = this.#clients.get(producer) ?? { epoch: 0, sequence: 0 };
    this.#clients.set(producer, client);
    if (bump) Object.assign(client, { epoch: client.epoch + 1, sequence: 0 });
    const sequence = Math.max(0, client.sequence + shift);
    const value = `${producer}/${client.epoch}/${sequence}`;
    const bytes = aBatch({ producer, epoch: client.epoch, sequence, value });
    const known = this.#log.find((batch) => batch.content.equals(contentOf(bytes)));
    const outcome = this.#append(bytes);
    switch (outcome.kind) {
      case "appended":
        assert.equal(known, undefined, "no batch of a producer is in the log twice");
        client.sequence = sequence + 1;
        break;
      case "duplicate":
        assert.ok(known, "only what is in the log is called a duplicate");
        assert.equal(outcome.baseOffset, known.base);
        assert.equal(outcome.walNumber, known.walNumber);
        break;
      case "duplicate-sequence":
        assert.ok(known, "only what is in the log is called a duplicate");
        assert.ok(outcome.walNumber >= known.walNumber);
        break;
      default:
        assert.equal(known, undefined, "what is in the log is not refused");
        assert.ok(sequence > client.sequence, "only a gap is refused");
    }
  }

  #flush(): void {
    this.world.flush();
    if (this.#variant.footer !== undefined) {
      this.world.state = this.#variant.footer(this.world, this.world.state);
    }
  }

  #trim(start: number): void {
    const outcome = this.world.trim(start);
    assert.equal(outcome.kind, "trimmed");
    assert.ok(outcome.kind === "trimmed");
    this.#trims.push({ start, walNumber: outcome.walNumber });
  }

  /** `kept` appends more than those that are durable survive; nobody was told of them. */
  #crash(kept: number): void {
    const before = this.world;
    before.wal.sync(kept);
    this.#log = this.#log
      .filter((batch) => batch.walNumber <= before.wal.durable)
      .map((batch) => ({ ...batch, walNumber: 0 }));
    this.#moveStart();
    this.#trims = [];
    this.#resendFrom();
    this.world = before.restart(before.wal.durable, { tail });
    if (this.#variant.footer === undefined) this.#compareWith(before);
  }

  /** A client that was not told of its newest batches sends them again. */
  #resendFrom(): void {
    for (const [producer, client] of this.#clients) {
      const isLogged = (sequence: number) => {
        const value = `${producer}/${client.epoch}/${sequence}`;
        const content = contentOf(aBatch({ producer, epoch: client.epoch, sequence, value }));
        return this.#log.some((batch) => batch.content.equals(content));
      };
      while (client.sequence > 0 && !isLogged(client.sequence - 1)) client.sequence--;
    }
  }

  /** What a restart has in memory equals what the process before had of the same entries. */
  #compareWith(before: PartitionWorld): void {
    const was = before.partition.unflushed(everything);
    const is = this.world.partition.unflushed(everything);
    assert.ok(is !== null, "a restarted partition depends on the older WAL until it is flushed");
    if (was === null) return;
    assert.deepEqual([is.from, is.to, is.start], [was.from, was.to, was.start]);
    assert.deepEqual([is.appendedFirstMs, is.appendedLastMs], [was.appendedFirstMs, was.appendedLastMs]);
    assert.deepEqual(is.state, was.state);
    assert.deepEqual(
      is.batches.map((batch) => [batch.baseOffset, batch.count, Buffer.from(batch.payload)]),
      was.batches.map((batch) => [batch.baseOffset, batch.count, Buffer.from(batch.payload)]),
    );
  }

  /** Every offset can be read, exactly as it was sent, up to the durable end and not beyond. */
  async check(): Promise<void> {
    const { partition } = this.world;
    const durableEnd = this.#durableEnd;
    const durable = this.#log.filter((batch) => batch.end <= durableEnd);
    assert.equal(partition.highWatermark, durableEnd);
    assert.equal(partition.logStart, this.#start);
    assert.equal(partition.logEnd, this.#log.at(-1)?.end ?? 0);
    for (let from = this.#start; from <= durableEnd; from++) {
      const expected = durable.filter((batch) => batch.end > from);
      const found: Appended[] = [];
      for (let next = from; next < durableEnd; ) {
        const outcome = await partition.read({ offset: offset(next), bytesMax: 2500, orOneBatch: true });
        assert.ok(outcome.kind === "read", "an offset between log start and high watermark is readable");
        const bytes = outcome.chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
        assert.equal(outcome.bytes, bytes);
        for (const batch of outcome.chunks.flatMap((chunk) => [...batchesIn(chunk)])) {
          assert.ok(batch.isIntact());
          next = batch.nextOffset;
          found.push({
            base: batch.baseOffset,
            end: next,
            content: contentOf(batch.bytes),
            walNumber: 0,
          });
        }
        if (outcome.chunks.length === 0) break;
      }
      assert.deepEqual(
        found.map(({ base, end, content }) => [base, end, content]),
        expected.map(({ base, end, content }) => [base, end, content]),
      );
      const available = partition.availableBytes(offset(from));
      const bytes = expected.reduce((sum, batch) => sum + batch.content.byteLength + 16, 0);
      assert.ok(available === bytes || available === Infinity);
    }
    const beyond = await partition.read({ offset: offset(durableEnd + 1), bytesMax: 1, orOneBatch: true });
    assert.equal(beyond.kind, "out-of-range");
    const below = await partition.read({ offset: offset(this.#start - 1), bytesMax: 1, orOneBatch: true });
    assert.equal(below.kind, "out-of-range");
  }
}

/** Without base offset, length and leader epoch: what a batch is, wherever it lies. */
function contentOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.subarray(16));
}

async function live(variant: Variant, parameters: fc.Parameters<[Step[]]>): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 50 }), async (steps) => {
      const life = new Life(variant);
      for (const each of steps) {
        life.run(each);
        await life.check();
      }
    }),
    parameters,
  );
}

/** That a broken variant fails, by the promise that it breaks. */
async function assertCaught(variant: Variant, promise: RegExp): Promise<void> {
  await assert.rejects(live(variant, { numRuns: 500, seed: 1, endOnFailure: true }), (failure: Error) => {
    assert.match(String(failure.cause), promise);
    return true;
  });
}

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 150);

describe("a partition against a plain list of what was appended", () => {
  it("keeps and serves every durable batch, once, through flushes, trims and crashes", () =>
    live({}, { numRuns }));

  it("is caught when it serves above the durable end", () =>
    assertCaught({ options: { announcesEarly: true } }, /strictly equal/));

  it("is caught when producer state is not kept with the batches that were flushed", () =>
    assertCaught(
      { footer: (_world, honest) => (honest === undefined ? undefined : { ...honest, producers: [] }) },
      /in the log twice|only a gap is refused|is not refused/,
    ));

  it("is caught when producer state runs ahead of the batches that were flushed", () =>
    assertCaught(
      {
        footer: (world, honest) =>
          world.restart(world.wal.appended).partition.unflushed(everything)?.state ?? honest,
      },
      /only what is in the log is called a duplicate/,
    ));
});
