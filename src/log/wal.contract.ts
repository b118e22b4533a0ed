/**
 * What every WAL must do, whatever it is made of: order, groups, durability before the word, and the
 * same entries after a crash. A test file calls `describeWal` with a world of its own.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { WalClosedError } from "../base/errors.ts";
import {
  type BrokerEpoch,
  brokerEpoch,
  leaderEpoch,
  offset,
  partitionIndex,
  producerEpoch,
  producerId,
  topicId,
  walPosition,
} from "../base/ids.ts";
import { EntryKind, type Wal, type WalEntry, type WalEvents, type WalGroup } from "./wal.ts";
import type { RecoveredWal } from "./wal-recovery.ts";

export interface WalWorld {
  /** A WAL on the same storage with small files, so that it goes from one to the next all the time. */
  open(epoch: BrokerEpoch, events: WalEvents): Promise<Wal>;
  recover(epoch: BrokerEpoch): Promise<RecoveredWal>;
  /** The process dies; what it wrote stays visible. */
  kill(): void;
  /** The power fails: nothing is left but what was durable. */
  crash(): void;
  /** The next writes fail. */
  failWrites(): void;
  /** Lets the world go on until the promise settles. */
  run<T>(promise: Promise<T>): Promise<T>;
  advance(ms: number): Promise<void>;
}

const topic = topicId("AAECAwQFBgcICQoLDA0ODw");

export function anEntry(facts: {
  readonly base: number;
  readonly bytes?: number;
  readonly partition?: number;
}): WalEntry {
  const { base, bytes = 100, partition = 0 } = facts;
  const payload = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at++) payload[at] = (base * 31 + partition * 7 + at) & 0xff;
  return {
    kind: EntryKind.batch,
    topicId: topic,
    partition: partitionIndex(partition),
    baseOffset: offset(base),
    count: 1,
    leaderEpoch: leaderEpoch(3),
    producerId: producerId(1_000_000_000_000 + base),
    producerEpoch: producerEpoch(5),
    sequence: base,
    appendedMs: 1_767_225_600_000 + base,
    payload,
  };
}

class Listener implements WalEvents {
  readonly groups: WalGroup[] = [];
  failure: Error | null = null;
  onDurable(group: WalGroup): void {
    this.groups.push(group);
  }
  onFailure(cause: Error): void {
    this.failure = cause;
  }
}

const first = brokerEpoch(1);

export function describeWal(name: string, make: () => WalWorld): void {
  describe(name, () => {
    test("numbers are dense from 1 and rise with each append", async () => {
      const world = make();
      const wal = await world.run(world.open(first, new Listener()));
      assert.equal(wal.append([anEntry({ base: 0 })]), 1);
      assert.equal(wal.append([anEntry({ base: 1 }), anEntry({ base: 2 })]), 3);
      assert.equal(wal.appended, 3);
      assert.equal(wal.durable, 0);
      assert.ok(wal.pendingBytes >= 300);
      await world.run(wal.whenDurable(3));
      assert.equal(wal.durable, 3);
      assert.equal(wal.pendingBytes, 0);
    });

    test("groups are told in order, cover every entry once, and before a waiter wakes", async () => {
      const world = make();
      const listener = new Listener();
      const wal = await world.run(world.open(first, listener));
      const woken: number[] = [];
      const waits: Promise<void>[] = [];
      for (let base = 0; base < 40; base++) {
        const number = wal.append([anEntry({ base, bytes: 700 })]);
        waits.push(
          wal.whenDurable(number).then(() => {
            assert.ok((listener.groups[listener.groups.length - 1] as WalGroup).lastNumber >= number);
            woken.push(number);
          }),
        );
        if (base % 7 === 0) await world.advance(1);
      }
      await world.run(Promise.all(waits));
      assert.deepEqual(
        woken,
        Array.from({ length: 40 }, (_, index) => index + 1),
      );
      const told = listener.groups.flatMap((group) => group.entries.map((entry) => entry.baseOffset));
      assert.deepEqual(
        told,
        Array.from({ length: 40 }, (_, index) => index),
      );
      for (let index = 1; index < listener.groups.length; index++) {
        const [before, group] = listener.groups.slice(index - 1, index + 1) as [WalGroup, WalGroup];
        assert.ok(group.begin >= before.end && group.end > group.begin);
      }
    });

    test("one append is one group, however large", async () => {
      const world = make();
      const listener = new Listener();
      const wal = await world.run(world.open(first, listener));
      const entries = Array.from({ length: 12 }, (_, base) => anEntry({ base, bytes: 9000 }));
      await world.run(wal.whenDurable(wal.append(entries)));
      assert.equal(listener.groups.length, 1);
      assert.equal(listener.groups[0]?.entries.length, 12);
      world.crash();
      const recovered = await world.run(world.recover(first));
      assert.deepEqual(
        recovered.entries.map(({ entry }) => entry),
        entries,
      );
    });

    test("what was durable is there after power loss, byte for byte and in order", async () => {
      const world = make();
      const wal = await world.run(world.open(first, new Listener()));
      const entries = Array.from({ length: 60 }, (_, base) =>
        anEntry({ base, bytes: (base * 997) % 5000, partition: base % 3 }),
      );
      for (const entry of entries) await world.run(wal.whenDurable(wal.append([entry])));
      const end = wal.durablePosition;
      world.crash();
      const recovered = await world.run(world.recover(first));
      assert.deepEqual(
        recovered.entries.map(({ entry }) => entry),
        entries,
      );
      assert.ok(recovered.end >= end);
      assert.deepEqual(recovered.holes, []);
      assert.equal(recovered.jumped, false);
    });

    test("an append that was not durable is there whole or not at all", async () => {
      const world = make();
      const wal = await world.run(world.open(first, new Listener()));
      await world.run(wal.whenDurable(wal.append([anEntry({ base: 0 })])));
      wal.append([anEntry({ base: 1, bytes: 6000 }), anEntry({ base: 2, bytes: 6000 })]);
      await Promise.resolve();
      world.crash();
      const recovered = await world.run(world.recover(first));
      // What was sent may still arrive where a store is far away.
      assert.ok([1, 3].includes(recovered.entries.length), `${recovered.entries.length} entries`);
    });

    test("what recovery returned after a kill survives a power loss right after it", async () => {
      const world = make();
      const wal = await world.run(world.open(first, new Listener()));
      for (let base = 0; base < 5; base++) wal.append([anEntry({ base })]);
      await Promise.resolve();
      world.kill();
      const once = await world.run(world.recover(first));
      world.crash();
      const twice = await world.run(world.recover(first));
      assert.deepEqual(twice.entries, once.entries);
      assert.deepEqual(twice.hash, once.hash);
    });

    test("after a failed write nothing is durable any more, and whoever waits is told", async () => {
      const world = make();
      const listener = new Listener();
      const wal = await world.run(world.open(first, listener));
      await world.run(wal.whenDurable(wal.append([anEntry({ base: 0 })])));
      world.failWrites();
      const lost = wal.whenDurable(wal.append([anEntry({ base: 1 })]));
      await assert.rejects(world.run(lost), WalClosedError);
      assert.ok(listener.failure instanceof WalClosedError);
      assert.throws(() => wal.append([anEntry({ base: 2 })]), WalClosedError);
      await assert.rejects(wal.whenDurable(2), WalClosedError);
      await wal.whenDurable(1);
      assert.equal(wal.durable, 1);
    });

    test("a clean close makes everything durable and refuses what comes later", async () => {
      const world = make();
      const wal = await world.run(world.open(first, new Listener()));
      for (let base = 0; base < 5; base++) wal.append([anEntry({ base })]);
      const closed = wal.close();
      assert.throws(() => wal.append([anEntry({ base: 9 })]), WalClosedError);
      await world.run(closed);
      assert.equal(wal.durable, 5);
      world.crash();
      const recovered = await world.run(world.recover(first));
      assert.equal(recovered.entries.length, 5);
      assert.equal(recovered.end, wal.durablePosition);
    });

    test("released positions need not be there, later ones are", async () => {
      const world = make();
      const listener = new Listener();
      const wal = await world.run(world.open(first, listener));
      for (let base = 0; base < 60; base++) {
        await world.run(wal.whenDurable(wal.append([anEntry({ base, bytes: 3000 })])));
        const behind = listener.groups[base - 5];
        if (behind !== undefined) wal.release(behind.end);
      }
      await world.advance(1000);
      world.crash();
      const recovered = await world.run(world.recover(first));
      const bases: number[] = recovered.entries.map(({ entry }) => entry.baseOffset);
      for (let base = 55; base < 60; base++) assert.ok(bases.includes(base), `${base} is there`);
    });

    test("an epoch that was never written has an empty WAL", async () => {
      const world = make();
      const recovered = await world.run(world.recover(brokerEpoch(77)));
      assert.deepEqual(recovered.entries, []);
      assert.equal(recovered.end, walPosition(0));
    });

    test("epochs lie side by side and do not see each other", async () => {
      const world = make();
      for (const epoch of [1, 5, 9]) {
        const wal = await world.run(world.open(brokerEpoch(epoch), new Listener()));
        await world.run(wal.whenDurable(wal.append([anEntry({ base: epoch })])));
        world.crash();
      }
      for (const epoch of [1, 5, 9]) {
        const recovered = await world.run(world.recover(brokerEpoch(epoch)));
        assert.deepEqual(
          recovered.entries.map(({ entry }) => entry.baseOffset),
          [epoch],
        );
      }
    });
  });
}
