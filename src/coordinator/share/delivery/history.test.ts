/**
 * Any sequence of requests of several members (late, doubled, for others, nonsense), of time-outs, of lost sessions,
 * of what happens to the log, and of crashes in which all is gone that was not taken and kept. The table is at each
 * step what a word for each offset says, and nothing that was durably acknowledged is delivered again.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { offset } from "../../../base/ids.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import type { StateBatch } from "../state-batch.ts";
import { type Content, DeliveryModel, range } from "./delivery-model.ts";
import { DeliveryTable } from "./table.ts";

const members = ["a", "b", "c"];
const lockDurationMs = 1_000;

const member = fc.constantFrom(...members);
const some = fc.nat(12);
const command = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("acquire" as const),
      member,
      recordsMax: fc.constantFrom(1, 2, 3, 10),
      mode: fc.constantFrom("batch" as const, "strict" as const),
      /** How many batches the read brings. */
      batches: fc.integer({ min: 1, max: 4 }),
      /** Some reads begin elsewhere than they should. */
      off: fc.oneof(
        { weight: 6, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: -3, max: 3 }) },
      ),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("acknowledge" as const),
      member,
      /** From the start on. */
      from: some,
      count: fc.integer({ min: 0, max: 6 }),
      types: fc.oneof(
        fc.integer({ min: 0, max: 4 }).map((type) => [type]),
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 6, maxLength: 6 }),
        fc.constant([5]),
      ),
      /** What it holds, or any records. */
      isMine: fc.boolean(),
      isTwice: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("release" as const),
      member,
      end: fc.constantFrom("closed" as const, "lost" as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(1, 400, lockDurationMs) }),
  },
  { weight: 4, arbitrary: fc.constant({ kind: "take" as const }) },
  { weight: 4, arbitrary: fc.constant({ kind: "keep" as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: "crash" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("moveStart" as const), by: fc.integer({ min: 1, max: 5 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("skip" as const),
      from: some,
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("archive" as const),
      from: some,
      count: fc.integer({ min: 1, max: 8 }),
    }),
  },
);
const histories = fc.record({
  deliveryCountLimit: fc.constantFrom(1, 2, 3, 5),
  recordLocksMax: fc.constantFrom(1, 4, 20),
  hasDeadLetters: fc.boolean(),
  /** The batches of the log: how many records, and how many offsets without any lie before them. */
  log: fc.array(fc.record({ gap: fc.constantFrom(0, 0, 0, 1, 3), count: fc.integer({ min: 1, max: 5 }) }), {
    minLength: 5,
    maxLength: 12,
  }),
  commands: fc.array(command, { maxLength: 120, size: "max" }),
});
type History = typeof histories extends fc.Arbitrary<infer T> ? T : never;
type Command = History["commands"][number];

class Run {
  readonly #batches: { readonly first: number; readonly last: number }[] = [];
  readonly model: DeliveryModel;
  table: DeliveryTable;
  #nowMs = 0;
  crashes = 0;
  delivered = 0;

  constructor({ deliveryCountLimit, recordLocksMax, hasDeadLetters, log }: Omit<History, "commands">) {
    this.model = new DeliveryModel({ lockDurationMs, deliveryCountLimit, recordLocksMax, hasDeadLetters });
    for (const { gap, count } of log) {
      this.model.log.push(...Array.from({ length: gap }, (): Content => "nothing"));
      this.#batches.push({ first: this.model.log.length, last: this.model.log.length + count - 1 });
      this.model.log.push(...Array.from({ length: count }, (): Content => "record"));
    }
    this.table = DeliveryTable.load({ startOffset: offset(0), batches: [] }, this.model.settings);
  }

  do(command: Command): void {
    this.#do(command);
    this.model.judge(this.table);
  }

  #do(command: Command): void {
    const { table, model } = this;
    const start = table.startOffset;
    switch (command.kind) {
      case "acquire":
        return this.#acquire(command);
      case "acknowledge":
        return this.#acknowledge(command);
      case "release":
        return assert.equal(
          table.release(command.member, command.end),
          model.released(command.member, command.end),
        );
      case "pass":
        this.#nowMs += command.ms;
        return assert.equal(table.onTime(this.#nowMs), model.passed(this.#nowMs));
      case "take": {
        const changes = table.takeChanges();
        assert.equal(table.takeChanges(), null);
        return changes === null ? undefined : model.took(changes);
      }
      case "keep":
        return void model.keep();
      case "crash":
        return this.#crash();
      case "moveStart": {
        const logStart = Math.min(Math.max(start, model.logStart) + command.by, model.log.length);
        if (logStart <= start) return;
        table.moveStart(logStart);
        return model.movedStart(logStart);
      }
      case "skip": {
        const first = start + command.from;
        table.skip(first, first + command.count);
        return model.skipped(first, first + command.count);
      }
      case "archive":
        table.archive(start + command.from, start + command.from + command.count);
        return model.archived(start + command.from, start + command.from + command.count);
    }
  }

  #acquire({ member: memberId, recordsMax, mode, batches: count, off }: Command & { kind: "acquire" }): void {
    const first = Math.max(0, this.model.logStart, this.table.nextFetchOffset + off);
    const batches = this.#batches.filter(({ last }) => last >= first).slice(0, count);
    const last = batches.at(-1)?.last ?? first;
    const request = { memberId, first, last, batches, recordsMax, mode, nowMs: this.#nowMs };
    const told = this.table.acquire(request);
    this.delivered += told.length;
    this.model.acquired(this.table, request, told);
  }

  #acknowledge(command: Command & { kind: "acknowledge" }): void {
    const { table, model } = this;
    const memberId = command.member;
    const held = table.ranges(0, Infinity).find(({ lock }) => lock?.memberId === memberId);
    if (command.isMine && held === undefined) return;
    const first = command.isMine ? (held?.first ?? 0) : Math.max(0, table.startOffset - 3 + command.from);
    const last = command.isMine ? Math.min(held?.last ?? 0, first + command.count) : first + command.count;
    const types: readonly number[] =
      command.types.length === 1 ? command.types : command.types.slice(0, last - first + 1);
    const isSane =
      types.every((type) => type <= 4) && (types.length === 1 || types.length === last - first + 1);
    const mayDo = isSane && (last < table.startOffset || model.mayAcknowledge(memberId, first, last));
    const batches = [{ first, last, types }];
    if (command.isTwice) {
      const twice = { memberId, batches: [...batches, ...batches], nowMs: this.#nowMs };
      assert.equal(table.acknowledge(twice).errorCode, ErrorCode.INVALID_REQUEST);
      model.judge(table);
    }
    const { errorCode } = table.acknowledge({ memberId, batches, nowMs: this.#nowMs });
    assert.equal(errorCode === ErrorCode.NONE, mayDo, `${memberId} of ${first} to ${last}`);
    if (!mayDo) return;
    for (const at of range(first, last))
      model.acknowledged(at, types.length === 1 ? (types[0] ?? 0) : (types[at - first] ?? 0), this.#nowMs);
  }

  #crash(): void {
    this.crashes++;
    const codes = { available: 0, acquired: 0, acknowledged: 2, archiving: 3, archived: 4 } as const;
    const { startOffset, batches } = this.model.crash();
    const read = batches.map(
      ([at, { state, count }]): StateBatch => ({
        first: offset(at),
        last: offset(at),
        state: codes[state],
        deliveryCount: count,
      }),
    );
    this.table = DeliveryTable.load({ startOffset: offset(startOffset), batches: read }, this.model.settings);
    // What lies in the log was not lost; a partition that is loaded is told where its log begins.
    if (this.model.logStart > this.table.startOffset) {
      this.table.moveStart(this.model.logStart);
      this.model.movedStart(this.model.logStart);
    }
  }

  /** All who hold anything are gone, and one member takes what is left, until nothing is. */
  finish(): void {
    for (const memberId of members) this.do({ kind: "release", member: memberId, end: "closed" });
    for (let round = 0; this.table.startOffset < this.model.log.length; round++) {
      assert.ok(round < 2_000, `nothing moves at ${this.table.startOffset}`);
      this.do({ kind: "acquire", member: "a", recordsMax: 3, mode: "batch", batches: 2, off: 0 });
      for (const { first, last, lock } of this.table.ranges(0, Infinity))
        if (lock !== null)
          this.do({
            kind: "acknowledge",
            member: "a",
            from: 0,
            count: last - first,
            types: [1],
            isMine: true,
            isTwice: false,
          });
      this.do({ kind: "archive", from: 0, count: 100 });
      if (this.table.counts.available > 0 || this.table.endOffset < this.model.log.length) continue;
      const [tail] = this.#batches.slice(-1);
      this.do({ kind: "skip", from: (tail?.last ?? 0) + 1 - this.table.startOffset, count: 0 });
    }
  }
}

describe("any history of one share-partition", () => {
  it("is, at each step, what a word for each offset says, and loses no record over crashes", () => {
    const reached = { crashes: 0, delivered: 0 };
    fc.assert(
      fc.property(histories, ({ commands, ...world }) => {
        const run = new Run(world);
        for (const command of commands) run.do(command);
        run.finish();
        reached.crashes += run.crashes;
        reached.delivered += run.delivered;
      }),
      { numRuns: Number(process.env["HISTORIES"] ?? 300) },
    );
    assert.ok(reached.crashes > 100 && reached.delivered > 1_000, JSON.stringify(reached));
  });
});
