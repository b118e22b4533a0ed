/** Share groups over one whole broker in the simulation: acquire, acknowledge, come back, and what survives its death. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { SimulatedBroker } from "../../../test/simulated-broker.ts";
import { Ack, aQueue, offsetsIn, pass, ShareMember, topicIdOf } from "../../../test/share-fixture.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { DeleteRecords } from "../../protocol/messages/delete-records.ts";
import { offset, partitionIndex, producerEpoch, producerId } from "../../base/ids.ts";
import { buildMarker } from "../../record/control.ts";
import { SimProcess } from "../../sim/process.ts";

/** From now on nothing is written, for a minute or until the disk is let go. */
function holdDisk(context: TestContext, { disk, scheduler }: SimulatedBroker): () => void {
  const held = Promise.withResolvers<void>();
  const write = disk.writeFile.bind(disk);
  const { life } = disk;
  const { mock } = context.mock.method(disk, "writeFile", async (...call: Parameters<typeof write>) => {
    if (disk.life !== life) return write(...call);
    await held.promise;
    // What a process had still to write when it died is never written.
    return disk.life === life ? write(...call) : new Promise<void>(() => undefined);
  });
  const letGo = (): void => {
    mock.restore();
    held.resolve();
  };
  scheduler.schedule(60_000, letGo);
  return letGo;
}

/** Waits until the share-partition is read, too. */
const patient = { waitMs: 1_000 };

test("what a member acquires, others do not get, and what it accepts, nobody gets again", async (context) => {
  const broker = await aQueue(context, ["a", "b", "c"]);
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  const first = await one.fetch(patient);
  assert.deepEqual(first.records, [
    { offset: 0, deliveryCount: 1, value: "a" },
    { offset: 1, deliveryCount: 1, value: "b" },
    { offset: 2, deliveryCount: 1, value: "c" },
  ]);
  assert.deepEqual(offsetsIn(await two.fetch()), []);
  assert.equal(await one.acknowledge(0, 1, Ack.accept), ErrorCode.NONE);
  assert.equal(await one.acknowledge(2, 2, Ack.release), ErrorCode.NONE);
  assert.deepEqual((await two.fetch()).records, [{ offset: 2, deliveryCount: 2, value: "c" }]);
});

test("an acknowledgement that was answered survives a crash; what was in flight comes back", async (context) => {
  const broker = await aQueue(context, ["a", "b", "c"]);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  assert.equal(await one.acknowledge(1, 1, Ack.accept), ErrorCode.NONE);
  broker.crash();
  await broker.boot();
  const two = new ShareMember(broker, "two", "t");
  assert.deepEqual(offsetsIn(await two.fetch(patient)), [0, 2]);
});

test("an acknowledgement whose answer was not there may count or not, and nothing else is lost", async (context) => {
  const broker = await aQueue(context, ["a", "b"]);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  one.sendWord(0, 0, Ack.accept).catch(() => undefined);
  await pass(broker, 0);
  broker.crash();
  await broker.boot();
  const two = new ShareMember(broker, "two", "t");
  assert.ok(offsetsIn(await two.fetch(patient)).includes(1));
});

test("where a group begins is durable before anything is delivered", async (context) => {
  const broker = await aQueue(context, ["a"], { "share.auto.offset.reset": "latest" });
  const one = new ShareMember(broker, "one", "t");
  assert.deepEqual(offsetsIn(await one.fetch(patient)), []);
  await broker.write("t", ["b"]);
  broker.crash();
  await broker.boot();
  await broker.write("t", ["c"]);
  const two = new ShareMember(broker, "two", "t");
  assert.deepEqual(offsetsIn(await two.fetch(patient)), [1, 2]);
});

test("a lock that runs out frees its records, and not before", async (context) => {
  const broker = await aQueue(context, ["a"], { "share.record.lock.duration.ms": "15000" });
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  await one.fetch(patient);
  await pass(broker, 14_000);
  assert.deepEqual(offsetsIn(await two.fetch()), []);
  await pass(broker, 1_500);
  assert.deepEqual((await two.fetch()).records, [{ offset: 0, deliveryCount: 2, value: "a" }]);
  assert.equal(await one.acknowledge(0, 0, Ack.accept), ErrorCode.INVALID_RECORD_STATE);
  assert.equal(await two.acknowledge(0, 0, Ack.accept), ErrorCode.NONE);
});

test("a lock that is renewed lasts longer, and a request that renews fetches nothing", async (context) => {
  const broker = await aQueue(context, ["a"], { "share.record.lock.duration.ms": "15000" });
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  await one.fetch(patient);
  await pass(broker, 10_000);
  await broker.write("t", ["b"]);
  const renewed = await one.fetch({ renews: true, words: [[0, 0, Ack.renew]] });
  assert.deepEqual([renewed.acknowledgeErrorCode, offsetsIn(renewed)], [ErrorCode.NONE, []]);
  await pass(broker, 10_000);
  assert.deepEqual(offsetsIn(await two.fetch()), [1]);
  assert.equal(await one.acknowledge(0, 0, Ack.accept), ErrorCode.NONE);
});

test("a fetch waits for new records, and for records that come free; who waits longest is served first", async (context) => {
  const broker = await aQueue(context, ["a"]);
  const [one, two, three] = ["one", "two", "three"].map((name) => new ShareMember(broker, name, "t")) as [
    ShareMember,
    ShareMember,
    ShareMember,
  ];
  await one.fetch(patient);
  const waitingTwo = two.send({ waitMs: 60_000 });
  await pass(broker, 100);
  const waitingThree = three.send({ waitMs: 60_000 });
  await pass(broker, 100);
  await one.acknowledge(0, 0, Ack.release);
  assert.deepEqual(offsetsIn(two.read(await broker.scheduler.runUntil(waitingTwo))), [0]);
  await broker.write("t", ["b"]);
  assert.deepEqual(offsetsIn(three.read(await broker.scheduler.runUntil(waitingThree))), [1]);
});

test("acknowledgements along with a fetch count first", async (context) => {
  const broker = await aQueue(context, ["a", "b"]);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch({ ...patient });
  const next = await one.fetch({
    words: [
      [0, 0, Ack.accept],
      [1, 1, Ack.release],
    ],
  });
  assert.equal(next.acknowledgeErrorCode, ErrorCode.NONE);
  assert.deepEqual(next.records, [{ offset: 1, deliveryCount: 2, value: "b" }]);
  const wrong = await one.fetch({ words: [[0, 0, Ack.accept]] });
  assert.equal(wrong.acknowledgeErrorCode, ErrorCode.NONE, "what is done already is no longer asked for");
});

test("a member whose connection ends loses what it holds at once; one that says good-bye gives it back", async (context) => {
  const broker = await aQueue(context, ["a"]);
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  await two.fetch();
  await one.fetch(patient);
  one.vanish();
  assert.deepEqual((await two.fetch({ waitMs: 1_000 })).records, [
    { offset: 0, deliveryCount: 2, value: "a" },
  ]);
  one.comeBack();
  await one.fetch();
  await two.fetch({}, -1);
  assert.deepEqual(offsetsIn(await one.fetch({ waitMs: 1_000 })), [0]);
});

test("a record is delivered no more often than the limit says, also over crashes", async (context) => {
  const broker = await aQueue(context, ["a", "b"], { "share.delivery.count.limit": "3" });
  const counts: number[] = [];
  for (let life = 0; life < 8; life++) {
    const member = new ShareMember(broker, `m${life}`, "t");
    const { records } = await member.fetch({ ...patient, recordsMax: 1, strict: true });
    const [given] = records;
    if (given?.offset === 0) {
      counts.push(given.deliveryCount);
      await member.acknowledge(0, 0, Ack.release);
    }
    broker.crash();
    await broker.boot();
  }
  assert.deepEqual(counts, [1, 2, 3]);
});

for (const [what, ends] of [
  ["a release", (one: ShareMember) => void one.sendWord(0, 0, Ack.release).catch(() => undefined)],
  ["a lock that ran out", () => undefined],
  ["a lost connection", (one: ShareMember) => one.vanish()],
] as const) {
  test(`a record that comes again after ${what} is not told before that is durable, and no crash takes back its count`, async (context) => {
    const broker = await aQueue(context, ["a"], { "share.record.lock.duration.ms": "15000" });
    const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
    await two.fetch();
    await one.fetch(patient);
    holdDisk(context, broker);
    ends(one);
    assert.deepEqual(offsetsIn(await two.fetch({ waitMs: 16_000 })), []);
    broker.crash();
    await broker.boot();
    const three = new ShareMember(broker, "three", "t");
    assert.deepEqual((await three.fetch(patient)).records, [{ offset: 0, deliveryCount: 1, value: "a" }]);
  });
}

test("an answer that waited for what it rests on has its records as soon as that is durable", async (context) => {
  const broker = await aQueue(context, ["a"]);
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  await one.fetch(patient);
  const letGo = holdDisk(context, broker);
  const released = one.sendWord(0, 0, Ack.release);
  const second = two.send({ waitMs: 100 });
  await pass(broker, 2_000);
  letGo();
  assert.deepEqual(two.read(await broker.scheduler.runUntil(second)).records, [
    { offset: 0, deliveryCount: 2, value: "a" },
  ]);
  assert.equal((await broker.scheduler.runUntil(released)).responses[0]?.partitions[0]?.errorCode, 0);
  assert.equal(await two.acknowledge(0, 0, Ack.accept), ErrorCode.NONE);
});

test("what takes too long to become durable is given to nobody meanwhile, and does not count as given", async (context) => {
  const broker = await aQueue(context, ["a"]);
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  await one.fetch(patient);
  const letGo = holdDisk(context, broker);
  one.sendWord(0, 0, Ack.release).catch(() => undefined);
  for (let times = 0; times < 8; times++) assert.deepEqual(offsetsIn(await two.fetch()), []);
  letGo();
  assert.deepEqual((await two.fetch(patient)).records, [{ offset: 0, deliveryCount: 2, value: "a" }]);
  await pass(broker, 10);
  assert.equal(broker.broker.services.answers.used, 0);
});

test("a member hears that the share-partition ended while its answer waited, and has none of the records", async (context) => {
  const broker = await aQueue(context, ["a"]);
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  await one.fetch(patient);
  const letGo = holdDisk(context, broker);
  one.sendWord(0, 0, Ack.release).catch(() => undefined);
  const second = two.send();
  await pass(broker, 100);
  broker.broker.services.shares.all()[0]?.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  letGo();
  const { errorCode, records } = two.read(await broker.scheduler.runUntil(second));
  assert.deepEqual([errorCode, records], [ErrorCode.NOT_LEADER_OR_FOLLOWER, []]);
});

test("a first delivery writes nothing, and waits for nothing that others have said", async (context) => {
  const broker = await aQueue(context, ["a", "b", "c"]);
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  await two.fetch({ ...patient, recordsMax: 1, strict: true });
  const { wal } = broker.broker.services;
  const { appended } = wal;
  await one.fetch({ recordsMax: 1, strict: true });
  assert.equal(wal.appended, appended);
  holdDisk(context, broker);
  two.sendWord(0, 0, Ack.accept).catch(() => undefined);
  await pass(broker, 10);
  assert.ok(wal.appended > wal.durable);
  const { records } = await one.fetch();
  assert.deepEqual(records, [{ offset: 2, deliveryCount: 1, value: "c" }]);
  assert.ok(wal.appended > wal.durable);
});

test("a member gets no more records than it asks for in strict mode, and whole batches else", async (context) => {
  const broker = await aQueue(context, ["a", "b", "c"]);
  await broker.write("t", ["d", "e", "f"]);
  const one = new ShareMember(broker, "one", "t");
  assert.deepEqual(offsetsIn(await one.fetch({ ...patient, recordsMax: 2, strict: true })), [0, 1]);
  assert.deepEqual(offsetsIn(await one.fetch({ recordsMax: 2, strict: true })), [2, 3]);
  assert.deepEqual(offsetsIn(await one.fetch({ recordsMax: 1 })), [4, 5]);
});

test("records that are deleted are not delivered any more, and the group goes on behind them", async (context) => {
  const broker = await aQueue(context, ["a", "b", "c"]);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch({ ...patient, recordsMax: 1, strict: true });
  const partitions = [{ partitionIndex: partitionIndex(0), offset: offset(2) }];
  await broker.ask(DeleteRecords, { topics: [{ name: "t", partitions }], timeoutMs: 1_000 });
  assert.deepEqual(offsetsIn(await one.fetch()), [2]);
  assert.equal(await one.acknowledge(0, 0, Ack.accept), ErrorCode.NONE);
});

test("what lies in segments is delivered as well", async (context) => {
  const broker = await aQueue(context, ["a", "b"]);
  await broker.scheduler.runUntil(broker.broker.flush());
  await broker.restart();
  const one = new ShareMember(broker, "one", "t");
  assert.deepEqual(offsetsIn(await one.fetch(patient)), [0, 1]);
});

test("a member hears that its topic was deleted, also one that waits", async (context) => {
  const broker = await aQueue(context);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  const waiting = one.send({ waitMs: 60_000 });
  await pass(broker, 100);
  await broker.deleteTopic("t");
  const { errorCode } = one.read(await broker.scheduler.runUntil(waiting));
  assert.equal(errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
});

test("acknowledging what another member holds, or nobody, is refused and changes nothing", async (context) => {
  const broker = await aQueue(context, ["a", "b"]);
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  await one.fetch({ ...patient, recordsMax: 1, strict: true });
  await two.fetch({ recordsMax: 1, strict: true });
  assert.equal(await one.acknowledge(1, 1, Ack.accept), ErrorCode.INVALID_RECORD_STATE);
  assert.equal(await one.acknowledge(0, 5, Ack.accept), ErrorCode.INVALID_REQUEST);
  assert.equal(await one.acknowledge(0, 0, Ack.renew, one.epoch), ErrorCode.NONE);
  assert.equal(await two.acknowledge(1, 1, Ack.accept), ErrorCode.NONE);
  assert.equal(await one.acknowledge(0, 0, Ack.accept), ErrorCode.NONE);
});

test("share-partitions go with the last session of their group", async (context) => {
  const broker = await aQueue(context, ["a"]);
  const { shares } = broker.broker.services;
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  assert.deepEqual([shares.count, shares.sessions.count, shares.bytes > 0], [1, 1, true]);
  one.vanish();
  await pass(broker, 100);
  assert.deepEqual([shares.count, shares.sessions.count, shares.bytes], [0, 0, 0]);
});

test("an answer that waited longer than its locks leaves without what another member was given meanwhile", async (context) => {
  const broker = await aQueue(context, [], { "share.record.lock.duration.ms": "15000" });
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  await one.fetch(patient);
  await broker.write("t", ["a"]);
  const { barrier } = broker.broker.services.cluster;
  const passed = Promise.withResolvers<void>();
  context.mock.method(barrier, "pass", () => passed.promise, { times: 1 });
  const late = one.send();
  await pass(broker, 16_000);
  assert.deepEqual((await two.fetch()).records, [{ offset: 0, deliveryCount: 2, value: "a" }]);
  passed.resolve();
  assert.deepEqual(offsetsIn(one.read(await broker.scheduler.runUntil(late))), []);
  assert.equal(await two.acknowledge(0, 0, Ack.accept), ErrorCode.NONE);
});

test("an answer that waited, and whose records are still its member's, has them", async (context) => {
  const broker = await aQueue(context);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  await broker.write("t", ["a"]);
  const passed = Promise.withResolvers<void>();
  context.mock.method(broker.broker.services.cluster.barrier, "pass", () => passed.promise, { times: 1 });
  const late = one.send();
  await pass(broker, 1_000);
  passed.resolve();
  assert.deepEqual(offsetsIn(one.read(await broker.scheduler.runUntil(late))), [0]);
});

test("a marker that compaction left alone behind a gap is passed, and the gap with it", async (context) => {
  const broker = await aQueue(context);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  await broker.write("t", ["a", "b"]);
  const { partitions, shares } = broker.broker.services;
  const partition = partitions.get(topicIdOf(broker, "t"), partitionIndex(0));
  assert.ok(partition !== undefined);
  // As it is where "a" was of an aborted transaction, and "b" is what ended it.
  const marker = buildMarker({
    kind: "abort",
    producerId: producerId(1),
    producerEpoch: producerEpoch(0),
    coordinatorEpoch: 0,
    timestampMs: 0,
  });
  new DataView(marker.buffer, marker.byteOffset).setBigInt64(0, 1n);
  const { highWatermark, lastStable, logStart } = partition;
  const ends = { highWatermark, lastStable, logStart };
  const read = { kind: "read" as const, chunks: [marker], bytes: marker.byteLength, aborted: [], ...ends };
  context.mock.method(partition, "read", () => read);
  assert.deepEqual(offsetsIn(await one.fetch()), []);
  assert.equal(shares.get("g", partition)?.startOffset, 2);
});

test("a fetch that finds nothing to read where the log says there is something waits, and holds up nobody", async (context) => {
  const broker = await aQueue(context);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  await broker.write("t", ["a"]);
  const { partitions } = broker.broker.services;
  const partition = partitions.get(topicIdOf(broker, "t"), partitionIndex(0));
  assert.ok(partition !== undefined);
  const { highWatermark, lastStable, logStart } = partition;
  const ends = { highWatermark, lastStable, logStart };
  const read = context.mock.method(partition, "read", () => {
    assert.ok(read.mock.callCount() < 100, "it is read over and over");
    return { kind: "read" as const, chunks: [], bytes: 0, aborted: [], ...ends };
  });
  const { errorCode, records } = await one.fetch(patient);
  assert.deepEqual([errorCode, records], [ErrorCode.NONE, []]);
  read.mock.restore();
  assert.deepEqual(offsetsIn(await one.fetch(patient)), [0]);
});

test("a share state that makes no sense is told as an error to who reads by it, and to nobody else", async (context) => {
  const broker = await aQueue(context, ["a"]);
  const one = new ShareMember(broker, "one", "t");
  const word = { first: offset(0), last: offset(1), state: 2, deliveryCount: 1, letter: null } as const;
  const value = { stateEpoch: 0, startOffset: offset(0), batches: [word, { ...word, first: offset(1) }] };
  const { sharePersister } = broker.broker.services;
  const nonsense = () => Promise.resolve({ kind: "told" as const, value });
  const { mock } = context.mock.method(sharePersister, "read", nonsense);
  assert.equal((await one.fetch(patient)).errorCode, ErrorCode.KAFKA_STORAGE_ERROR);
  mock.restore();
  assert.deepEqual(offsetsIn(await one.fetch(patient)), [0]);
});

test("locks that run out when the log has closed are not looked at over and over", async (context) => {
  const broker = await aQueue(context, ["a"]);
  await new ShareMember(broker, "one", "t").fetch(patient);
  const { shares, partitions } = broker.broker.services;
  const [share] = shares.all();
  assert.ok(share !== undefined && share.nextDeadlineMs < Infinity);
  const { mock } = context.mock.getter(partitions, "failure", () => new Error("the disk is gone"));
  assert.equal(share.nextDeadlineMs, Infinity);
  mock.restore();
});

/** Lets the broker's process stand still, and go on: what became due meanwhile is late. */
function standStill(context: TestContext, { scheduler, broker }: SimulatedBroker): SimProcess {
  const process = new SimProcess("broker", scheduler);
  const { clock } = broker.services.env;
  const schedule = clock.schedule.bind(clock);
  context.mock.method(clock, "schedule", (delayMs: number, run: () => void) =>
    schedule(delayMs, () => process.deliver(run)),
  );
  return process;
}

test("a broker that stood still takes no records from members that it could not hear meanwhile", async (context) => {
  const broker = await aQueue(context, ["a"], { "share.record.lock.duration.ms": "15000" });
  const process = standStill(context, broker);
  const [one, two] = [new ShareMember(broker, "one", "t"), new ShareMember(broker, "two", "t")];
  await two.fetch();
  await one.fetch(patient);
  await pass(broker, 5_000);
  process.pause();
  await pass(broker, 60_000);
  process.resume();
  await pass(broker, 8_000);
  assert.deepEqual(offsetsIn(await two.fetch()), []);
  assert.equal(await one.acknowledge(0, 0, Ack.renew), ErrorCode.NONE);
  // From now on time counts again, from when the members could be heard.
  await pass(broker, 14_000);
  assert.deepEqual(offsetsIn(await two.fetch()), []);
  await pass(broker, 5_000);
  assert.deepEqual((await two.fetch()).records, [{ offset: 0, deliveryCount: 2, value: "a" }]);
});
