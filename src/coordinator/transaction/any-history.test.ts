/**
 * Any sequence of requests of several producers (doubled, late, from epochs long gone), of time-outs, of
 * restarts and of markers that were written in part. A judge who sees requests, answers, records and markers,
 * and nothing of the shard, finds that no two producers may write, that no transaction is both committed and
 * aborted, and that records alone give the same state again. Coordinators that do wrong are found out.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { producerEpoch, type ProducerId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { TransactionLogValue, TransactionRecord } from "./records.ts";
import { identity, type Marker, part, testSettings, TransactionFixture } from "./shard-fixture.ts";
import { TransactionShard } from "./shard.ts";
import {
  isSame,
  lastToldEpoch,
  type Outcome,
  type ProducerIdentity,
  transactionStates,
  type TransactionState,
} from "./transaction.ts";

const ids = ["a", "b"];
const partitions = [part("x"), part("x", 1), part("y")];

interface Client extends ProducerIdentity {
  readonly transactionalId: string;
  /** A client does not change its version. */
  readonly version: 0 | 2;
}

type Command =
  | { readonly kind: "init"; readonly id: number; readonly version: 0 | 2 }
  | { readonly kind: "goOn" | "verify"; readonly who: number }
  | { readonly kind: "add"; readonly who: number; readonly partition: number }
  | { readonly kind: "end"; readonly who: number; readonly outcome: Outcome }
  | { readonly kind: "mark"; readonly count: number }
  | { readonly kind: "pass"; readonly ms: number }
  | { readonly kind: "drive" | "expire" | "restart" };

/** 0: the newest client that was told something; those long gone are rarer. */
const who = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(3), fc.nat(30));
const version = fc.constantFrom<0 | 2>(0, 2);
const outcome = fc.constantFrom<Outcome>("commit", "abort");
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("init" as const), id: fc.nat(1), version }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("goOn" as const, "verify" as const), who }) },
  { weight: 24, arbitrary: fc.record({ kind: fc.constant("add" as const), who, partition: fc.nat(2) }) },
  { weight: 24, arbitrary: fc.record({ kind: fc.constant("end" as const), who, outcome }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("mark" as const), count: fc.nat(2) }) },
  { weight: 16, arbitrary: fc.constant({ kind: "drive" as const }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(1, 600, 5_000) }),
  },
  { weight: 3, arbitrary: fc.constant({ kind: "restart" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "expire" as const }) },
);
const histories = fc.record({
  /** Where epochs begin: at the first one, or just below the last. */
  epochs: fc.constantFrom(0, 32_763),
  commands: fc.array(command, { maxLength: 80, size: "max" }),
});
type History = typeof histories extends fc.Arbitrary<infer T> ? T : never;

/** One transaction, from its first partition to its last marker. */
interface Opened extends ProducerIdentity {
  outcome: Outcome | null;
  readonly partitions: Set<string>;
  readonly marked: Set<string>;
}

/** What a judge knows of one transactional id. */
interface Case {
  /** Who may write; null: nobody was told anything since the last one was fenced. */
  writer: ProducerIdentity | null;
  readonly told: ProducerIdentity[];
  readonly opened: Opened[];
  value: TransactionLogValue | null;
}

const next: { readonly [state in TransactionState]: readonly TransactionState[] } = {
  Empty: ["Empty", "Ongoing", "CompleteAbort"],
  Ongoing: ["Ongoing", "PrepareCommit", "PrepareAbort"],
  PrepareCommit: ["CompleteCommit"],
  PrepareAbort: ["CompleteAbort"],
  CompleteCommit: ["Empty", "Ongoing", "CompleteAbort"],
  CompleteAbort: ["Empty", "Ongoing", "CompleteAbort"],
};

const nameOf = ({ topic, partition }: { topic: string; partition: number }): string =>
  `${topic}-${partition}`;
const stateOf = (value: TransactionLogValue): TransactionState =>
  transactionStates[value.status] as TransactionState;

class Judge {
  readonly #cases = new Map<string, Case>(
    ids.map((id) => [id, { writer: null, told: [], opened: [], value: null }]),
  );
  readonly #owners = new Map<ProducerId, string>();

  of(id: string): Case {
    return this.#cases.get(id) as Case;
  }

  /** Records are looked at in their order. */
  wrote({ key: { transactionalId: id }, value }: TransactionRecord): void {
    const known = this.of(id);
    const former = known.value;
    known.value = value;
    if (value === null) {
      assert.ok(former !== null && ["Empty", "CompleteCommit", "CompleteAbort"].includes(stateOf(former)));
      known.writer = null;
      return;
    }
    const state = stateOf(value);
    const isOther = value.producerId !== former?.producerId;
    const owner = this.#owners.get(value.producerId);
    if (isOther) assert.equal(owner, undefined, "a producer id belongs to nobody else, and never comes back");
    this.#owners.set(value.producerId, id);
    if (former === null) return assert.equal(state, "Empty");
    assert.ok(next[stateOf(former)].includes(state), `${stateOf(former)} → ${state}`);
    if (!isOther) assert.ok(value.producerEpoch >= former.producerEpoch, "epochs never go back");
    this.#follow(known, former, value);
  }

  #follow(known: Case, former: TransactionLogValue, value: TransactionLogValue): void {
    const state = stateOf(value);
    const names = (value.partitions ?? []).flatMap(({ topic, partitionIds }) =>
      partitionIds.map((partition) => nameOf({ topic, partition })),
    );
    const last = known.opened.at(-1);
    if (state === "Ongoing" && stateOf(former) !== "Ongoing") {
      const { producerId: id, producerEpoch: epoch } = value;
      const opened = { producerId: id, producerEpoch: epoch, outcome: null, marked: new Set<string>() };
      known.opened.push({ ...opened, partitions: new Set(names) });
    } else if (state === "Ongoing") {
      assert.ok(last?.outcome === null);
      for (const each of last.partitions) assert.ok(names.includes(each), "no partition is lost");
      for (const each of names) last.partitions.add(each);
    } else if (state === "PrepareCommit" || state === "PrepareAbort") {
      assert.ok(last?.outcome === null, "how a transaction ends is decided once");
      last.outcome = state === "PrepareCommit" ? "commit" : "abort";
      assert.deepEqual(new Set(names), last.partitions);
    } else if (stateOf(former).startsWith("Prepare")) {
      assert.ok(last !== undefined);
      assert.deepEqual(last.marked, last.partitions, "complete is what has all of its markers");
    }
  }

  marked(id: string, marker: Marker): void {
    const last = this.of(id).opened.at(-1);
    assert.ok(last?.outcome === marker.outcome, "a marker says what was decided");
    assert.ok(last.producerId === marker.producerId && marker.producerEpoch >= last.producerEpoch);
    last.marked.add(nameOf(marker));
  }

  /** InitProducerId said this. */
  told(id: string, told: ProducerIdentity, expected: ProducerIdentity | null): void {
    const known = this.of(id);
    const isNew = !known.told.some((each) => isSame(each, told));
    if (expected === null) assert.ok(isNew, "nobody else was ever told this");
    this.#telling(known, told);
  }

  #telling(known: Case, told: ProducerIdentity): void {
    assert.ok(told.producerEpoch <= lastToldEpoch, "one epoch is left to fence with");
    const isNew = !known.told.some((each) => isSame(each, told));
    assert.ok(isNew || (known.writer !== null && isSame(known.writer, told)), "who is fenced stays so");
    if (isNew) known.told.push(told);
    known.writer = told;
  }

  /** Its transaction was ended over its head: nobody may write until somebody is told who may. */
  fenced(id: string): void {
    this.of(id).writer = null;
  }

  took(client: Client): void {
    const { writer } = this.of(client.transactionalId);
    assert.ok(writer !== null && isSame(writer, client), "only one producer may write");
  }

  /** EndTxn said that it is done. */
  ended(client: Client, decided: Outcome, told: ProducerIdentity): void {
    const known = this.of(client.transactionalId);
    const mine = known.opened.filter((each) => isSame(each, client)).at(-1);
    if (mine !== undefined || decided === "commit") {
      assert.equal(mine?.outcome, decided, "what is told of the end is what was decided");
    }
    if (client.version === 0) assert.deepEqual(told, identity(client.producerId, client.producerEpoch));
    this.#telling(known, told);
    if (client.version === 2) assert.ok(!isSame(client, told), "a transaction takes its epoch with it");
  }
}

/** How a coordinator does wrong. */
interface Wrong {
  /** Takes a claim for another one. */
  readonly claim?: (claim: Client, value: TransactionLogValue | undefined) => Client;
  /** Writes something else; `isTime`: because time ran out. */
  readonly write?: (value: TransactionLogValue, isTime: boolean) => TransactionLogValue;
  /** Reads something else at a start. */
  readonly read?: (value: TransactionLogValue) => TransactionLogValue;
}

class World {
  readonly #at = new TransactionFixture();
  readonly #judge = new Judge();
  readonly #wrong: Wrong;
  /** Everybody who was ever told something, the newest first. */
  readonly #clients: Client[] = [];
  #seen = 0;
  #isTime = false;

  constructor(epochs: number, wrong: Wrong) {
    this.#wrong = wrong;
    const { write } = wrong;
    if (write !== undefined) {
      this.#at.rewrite = (record) =>
        record.value === null ? record : { ...record, value: write(record.value, this.#isTime) };
    }
    if (epochs > 0) this.#seed(epochs);
  }

  #seed(epoch: number): void {
    for (const id of ids) {
      const told = this.#at.init(null, 1_000, id);
      const [value] = this.#at.records.slice(-1).map((record) => record.value);
      assert.ok(value);
      const raised = { ...value, producerEpoch: producerEpoch(epoch) };
      this.#at.turn((_, turn) =>
        turn.write({ kind: "transaction", key: { transactionalId: id }, value: raised }),
      );
      this.#look();
      this.#judge.told(id, identity(told.producerId, epoch), null);
    }
  }

  /** Returns whether there is such a client. */
  #client(index: number): Client | null {
    return this.#clients[index % Math.max(1, this.#clients.length)] ?? null;
  }

  #claim(client: Client): Client {
    const value = this.#at.shard.transaction(client.transactionalId)?.value;
    return this.#wrong.claim?.(client, value) ?? client;
  }

  #look(): void {
    for (const record of this.#at.records.slice(this.#seen)) this.#judge.wrote(record);
    this.#seen = this.#at.records.length;
  }

  do(each: Command): void {
    this.#do(each);
    this.#look();
    this.#compare();
  }

  #do(each: Command): void {
    const at = this.#at;
    switch (each.kind) {
      case "init":
        return this.#init(ids[each.id] as string, null, each.version);
      case "goOn": {
        const client = this.#client(each.who);
        if (client !== null) this.#init(client.transactionalId, client, client.version);
        return;
      }
      case "add":
        return this.#add(each.who, each.partition);
      case "verify":
        return this.#verify(each.who);
      case "end":
        return this.#end(each.who, each.outcome);
      case "mark":
        return this.#mark(each.count);
      case "drive":
        this.#mark(Infinity);
        for (const { transactionalId } of at.shard.prepared()) {
          at.turn((shard, turn) => shard.completed(turn, transactionalId));
        }
        return;
      case "pass":
        return this.#pass(each.ms);
      case "restart":
        return this.#restart();
      case "expire":
        at.wallMs += testSettings.idExpirationMs;
        at.turn((shard, turn) => shard.expire(turn));
        return;
      default:
        each satisfies never;
    }
  }

  #init(id: string, expected: Client | null, of: 0 | 2): void {
    const wasOpen = this.#at.shard.transaction(id)?.isOpen ?? false;
    const { errorCode, producerId: toldId, producerEpoch: epoch } = this.#at.init(expected, 1_000, id);
    this.#look();
    if (errorCode === ErrorCode.CONCURRENT_TRANSACTIONS && wasOpen) this.#judge.fenced(id);
    if (errorCode !== ErrorCode.NONE) return;
    const told = { producerId: toldId, producerEpoch: epoch };
    this.#judge.told(id, told, expected);
    this.#clients.unshift({ ...told, transactionalId: id, version: of });
  }

  #add(index: number, partition: number): void {
    const client = this.#client(index);
    if (client === null) return;
    const claim = this.#claim(client);
    const added = partitions[partition] as (typeof partitions)[number];
    const errorCode = client.version === 2 ? this.#at.admit(claim, added) : this.#at.add(claim, added);
    if (errorCode === ErrorCode.NONE) this.#judge.took(client);
    if (errorCode === ErrorCode.NONE) assert.ok(this.#at.shard.covers(claim, added));
  }

  #verify(index: number): void {
    const client = this.#client(index);
    if (client === null) return;
    for (const errorCode of this.#at.shard.verify(this.#claim(client), partitions)) {
      if (errorCode === ErrorCode.NONE) this.#judge.took(client);
    }
  }

  #end(index: number, decided: Outcome): void {
    const client = this.#client(index);
    if (client === null) return;
    const told = this.#at.end(this.#claim(client), decided, client.version);
    this.#look();
    if (told.errorCode !== ErrorCode.NONE) return;
    const heard = { producerId: told.producerId, producerEpoch: told.producerEpoch };
    this.#judge.ended(client, decided, heard);
    this.#clients.unshift({ ...client, ...heard });
  }

  #mark(count: number): void {
    for (const { transactionalId, topics, ...marker } of this.#at.shard.prepared()) {
      const all = topics.flatMap(({ topic, partitionIds }) =>
        partitionIds.map((partition) => ({ topic, partition })),
      );
      for (const each of all.slice(0, count)) this.#judge.marked(transactionalId, { ...marker, ...each });
    }
  }

  #pass(ms: number): void {
    const open = ids.filter((id) => this.#at.shard.transaction(id)?.isOpen);
    this.#isTime = true;
    this.#at.pass(ms);
    this.#isTime = false;
    this.#look();
    for (const id of open) if (!this.#at.shard.transaction(id)?.isOpen) this.#judge.fenced(id);
  }

  #restart(): void {
    const { read } = this.#wrong;
    if (read !== undefined) {
      const records = this.#at.records.map((record) =>
        record.value === null ? record : { ...record, value: read(record.value) },
      );
      this.#at.records.splice(0, records.length, ...records);
    }
    this.#at.restart();
  }

  /** What a start would read is what is there; and who was told last is not shut out. */
  #compare(): void {
    const { shard, records } = this.#at;
    const again = new TransactionShard(testSettings, 5);
    for (const record of records) again.load(record);
    assert.equal(again.bytes, shard.bytes);
    assert.deepEqual(again.prepared(), shard.prepared());
    for (const id of ids) {
      assert.deepEqual(again.transaction(id)?.value, shard.transaction(id)?.value);
      const { writer } = this.#judge.of(id);
      if (writer === null || shard.transaction(id)?.isEnding === true) continue;
      const codes = shard.verify({ ...writer, transactionalId: id }, partitions);
      const isOut = codes.some((code) => code !== ErrorCode.NONE && code !== ErrorCode.TRANSACTION_ABORTABLE);
      assert.ok(!isOut, "who was told last may write");
    }
  }
}

function play({ epochs, commands }: History, wrong: Wrong = {}): void {
  const world = new World(epochs, wrong);
  for (const each of commands) world.do(each);
}

const runs = Number(process.env["TRANSACTION_HISTORIES"] ?? 1_000);

describe("any history of transactions", () => {
  it("has one producer at a time, one outcome of each transaction, and its records say all of it", () => {
    fc.assert(
      fc.property(histories, (history) => play(history)),
      { numRuns: runs },
    );
  });

  const isStill = (state: TransactionState, value: TransactionLogValue): boolean => stateOf(value) === state;
  const below = (value: TransactionLogValue): TransactionLogValue => ({
    ...value,
    producerEpoch: producerEpoch(value.producerEpoch - 1),
  });
  const wrongs: { readonly [what: string]: Wrong } = {
    "accepts an old epoch": {
      claim: (claim, value) =>
        value?.producerId === claim.producerId && claim.producerEpoch < value.producerEpoch
          ? { ...claim, producerEpoch: value.producerEpoch }
          : claim,
    },
    "forgets the next epoch when it completes": {
      write: (value) => (isStill("CompleteCommit", value) && value.producerEpoch > 0 ? below(value) : value),
    },
    "forgets the next producer id when it completes": {
      write: (value) =>
        value.producerId !== value.previousProducerId && isStill("CompleteCommit", value)
          ? { ...value, producerId: value.previousProducerId, producerEpoch: lastToldEpoch }
          : value,
    },
    "does not fence when time runs out": {
      write: (value, isTime) => (isTime ? below(value) : value),
    },
    "opens again at a start what was to be committed": {
      read: (value) => (isStill("PrepareCommit", value) ? { ...value, status: 1 } : value),
    },
    "loses a partition between intention and markers": {
      write: (value) =>
        isStill("PrepareCommit", value) ? { ...value, partitions: (value.partitions ?? []).slice(1) } : value,
    },
  };
  for (const [what, wrong] of Object.entries(wrongs)) {
    it(`a coordinator that ${what} is found out`, () => {
      const found = fc.check(
        fc.property(histories, (history) => play(history, wrong)),
        { numRuns: 20_000, endOnFailure: true },
      );
      assert.ok(found.failed);
    });
  }
});
