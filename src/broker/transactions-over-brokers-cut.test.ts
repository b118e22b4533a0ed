/**
 * Brokers that die, stop and go on, or leave in the middle of transactions that reach over several of them: what
 * is acknowledged stays, what was not is whole or not there at all, and nothing hangs.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  ClusterProducer,
  committedAt,
  coordinatorOf,
  groupAt,
  ownerOf,
  stableOffsetAt,
} from "../../test/cluster-producer.ts";
import { SimulatedCluster } from "../../test/simulated-cluster.ts";
import { type CommittedView, place, type Speech } from "../../test/transaction-fixture.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { CreateTopics } from "../protocol/messages/create-topics.ts";
import { drawWeather, fairWeather } from "../sim/bucket.ts";
import { Disconnected } from "../sim/client.ts";
import { silentLogger } from "../sim/silence.ts";
import { offsetsTopic } from "./groups.ts";
import { transactionsTopic } from "./transactions.ts";

const settings = { "transaction.state.log.num.partitions": "3", "offsets.topic.num.partitions": "3" };
const topic = "orders";
const places = [0, 1, 2].map((at) => place(topic, at));
const input = place(topic);
const group = "g";
/** Every one at another place of a transaction's way from its first request to behind its last answer. */
const cuts = Number(process.env["TRANSACTION_CUTS"] ?? 18);
const seed = Number(process.env["TRANSACTION_SEED"] ?? 7);

/** The share of requests to the store that fail or are late in a round, at most. */
const weather = Number(process.env["TRANSACTION_WEATHER"] ?? 0.15);

/** So often something is tried while the store is in a bad way; then it must go well. */
const badTriesMax = 100;

const harms = ["coordinator", "partition", "group", "all", "pause", "leave"] as const;
type Harm = (typeof harms)[number];

async function started(): Promise<SimulatedCluster> {
  // One marker a step, so that cuts come between any two.
  const cluster = new SimulatedCluster(settings, seed, { markersAtOnce: 1 });
  await cluster.bootAll(3);
  const wanted = { name: topic, numPartitions: 3, replicationFactor: -1, assignments: [], configs: [] };
  const request = { topics: [wanted], timeoutMs: 1_000, validateOnly: false };
  await cluster.ask(0, CreateTopics, request);
  const { transactions, groups } = cluster.at(0).services;
  await cluster.run(Promise.resolve(transactions.whenMade()));
  await cluster.run(Promise.resolve(groups.whenMade()));
  await whole(cluster);
  return cluster;
}

/** Who gave up, because of the store or because others took it for dead, is started again. */
async function revive(cluster: SimulatedCluster): Promise<void> {
  for (const at of [0, 1, 2]) if (stateOf(cluster, at) === "ended") await cluster.boot(at);
}

function stateOf(cluster: SimulatedCluster, at: number): "away" | "ended" | "paused" | "running" {
  if (!cluster.has(at)) return "away";
  const { process } = cluster.memberAt(at);
  return process.isDead ? "ended" : process.isPaused ? "paused" : "running";
}

/** Somebody who can be asked where everything is. */
async function seer(cluster: SimulatedCluster): Promise<number> {
  await revive(cluster);
  const found = [0, 1, 2].find((at) => stateOf(cluster, at) === "running");
  assert.ok(found !== undefined);
  return found;
}

/** Three brokers run, each has its share, and all agree on that. */
async function whole(cluster: SimulatedCluster): Promise<void> {
  const isWhole = (): boolean =>
    [topic, transactionsTopic, offsetsTopic].every((name) => {
      const views = [0, 1, 2].map((seenBy) => [0, 1, 2].map((at) => cluster.ownerOf(name, at, seenBy)));
      const [first] = views;
      return new Set(first).size === 3 && views.every((view) => view.join() === first?.join());
    });
  for (let tries = 0; !isWhole(); tries++) {
    assert.ok(tries < 2_000, "all is spread");
    await revive(cluster);
    await cluster.pass(100);
  }
  await cluster.pass(200);
}

interface Heard {
  isCommitted: boolean;
  /** From here on it asks for nothing more: somebody else takes its transactional id. */
  isCut: boolean;
  isOver: boolean;
}

/** One transaction that reads, writes and says how far it has read; given up where anything fails. */
async function transact(cluster: SimulatedCluster, speech: Speech, round: number, heard: Heard) {
  const producer = new ClusterProducer(cluster, speech, "tx");
  const isFine = (codes: readonly ErrorCode[]): boolean =>
    !heard.isCut && codes.every((code) => code === ErrorCode.NONE);
  try {
    if (!isFine([(await producer.init()).errorCode])) return;
    if (speech === "old") {
      if (!isFine(await producer.add(places))) return;
      if (!isFine([await producer.at(producer.coordinator).addOffsets(group)])) return;
    }
    if (!isFine(await producer.write(places, `${round}`))) return;
    if (!isFine([await producer.commitOffset(group, input, round)])) return;
    heard.isCommitted = (await producer.end(true)).errorCode === ErrorCode.NONE;
  } catch (cause) {
    const isAway = cause instanceof Disconnected || /nobody|no broker runs/.test(String(cause));
    if (!isAway) throw cause;
  } finally {
    heard.isOver = true;
  }
}

/** Runs the world until `isOver`, asked after each event; returns how many there were. */
async function runUntil(cluster: SimulatedCluster, isOver: (events: number) => boolean): Promise<number> {
  const { scheduler } = cluster;
  let events = 0;
  await scheduler.runUntil(
    new Promise<void>((resolve) => {
      scheduler.afterEvent = () => {
        if (isOver(++events)) resolve();
      };
    }),
  );
  scheduler.afterEvent = null;
  return events;
}

/** Undefined: somebody is not there for a moment, or does not answer. */
async function attempt<T>(cluster: SimulatedCluster, work: () => Promise<T>): Promise<T | undefined> {
  const patience = new Promise<undefined>((resolve) => {
    cluster.scheduler.schedule(2_000, () => resolve(undefined));
  });
  const working = work().catch(() => undefined);
  return cluster.run(Promise.race([working, patience]));
}

async function viewsOf(cluster: SimulatedCluster): Promise<readonly CommittedView[]> {
  for (let tries = 0; tries < 3_000; tries++) {
    if (tries === badTriesMax) cluster.bucket.weather = fairWeather;
    const seenBy = await seer(cluster);
    const views: CommittedView[] = [];
    for (const each of places) {
      const view = await attempt(cluster, () => committedAt(cluster, each, seenBy));
      if (view !== undefined && view.lastStable === view.highWatermark) views.push(view);
    }
    if (views.length === places.length) return views;
    await cluster.pass(50);
  }
  throw new Error("something hangs");
}

/** Whatever is open ends, because a producer comes after it. */
async function endWhatIsOpen(cluster: SimulatedCluster, speech: Speech): Promise<void> {
  for (let tries = 0; tries < 3_000; tries++) {
    if (tries === badTriesMax) cluster.bucket.weather = fairWeather;
    const next = new ClusterProducer(cluster, speech, "tx");
    next.seenBy = await seer(cluster);
    const told = await attempt(cluster, () => next.init());
    if (told?.errorCode === ErrorCode.NONE) return;
    await cluster.pass(50);
  }
  throw new Error("nobody takes over the transactional id");
}

/** Hands everything over and ends, in its own time. */
function leave(cluster: SimulatedCluster, at: number): void {
  const { broker, process } = cluster.memberAt(at);
  const end = (): void => process.kill();
  broker.stop().then(end, end);
}

/** Whom it strikes, by place. */
function victimsOf(cluster: SimulatedCluster, harm: Harm, round: number): readonly number[] {
  const coordinator = coordinatorOf(cluster, "tx");
  switch (harm) {
    case "all":
      return [0, 1, 2];
    case "partition":
      return [places.map((each) => ownerOf(cluster, each)).find((at) => at !== coordinator) as number];
    case "group":
      return [groupAt(cluster, group)];
    case "coordinator":
      return [coordinator];
    default:
      return [round % 2 === 0 ? coordinator : (coordinator + 1) % 3];
  }
}

for (const speech of ["new", "old"] as const) {
  describe(`a transaction over three brokers, of a client that is ${speech}`, () => {
    test("is in all of its partitions and offsets or in none, whoever goes at whatever step", async (t) => {
      const errors = t.mock.method(silentLogger, "error");
      const cluster = await started();
      t.after(() => cluster.close());
      const random = cluster.random.fork("cuts");
      const expected: string[] = [];
      const fates = { acknowledged: 0, unheard: 0, none: 0 };
      let length = 0;
      for (let round = 0; round <= cuts; round++) {
        const heard: Heard = { isCommitted: false, isCut: false, isOver: false };
        const harm = harms[round % harms.length] as Harm;
        const victims = round === 0 ? [] : victimsOf(cluster, harm, round);
        if (round > 0) cluster.bucket.weather = drawWeather(random, weather);
        const story = transact(cluster, speech, round, heard);
        // The first one is not cut, and tells how long the way is; what follows the last answer is part of it.
        const at = 1 + (random.u32() % Math.ceil(length * 1.3));
        const events = await runUntil(cluster, (count) => (round === 0 ? heard.isOver : count === at));
        if (round === 0) length = events;
        heard.isCut = true;
        for (const each of victims) {
          if (harm === "pause") cluster.memberAt(each).process.pause();
          else if (harm === "leave" && stateOf(cluster, each) === "running") leave(cluster, each);
          else cluster.kill(each);
        }
        if (victims.length === 3) for (const each of victims) await cluster.boot(each);
        if (heard.isCommitted) {
          for (const { values } of await viewsOf(cluster))
            assert.equal(values.at(-1), `${round}`, "seen without anybody's asking");
        }
        await endWhatIsOpen(cluster, speech);
        const views = await viewsOf(cluster);
        const isThere = views[0]?.values.at(-1) === `${round}`;
        if (isThere) expected.push(`${round}`);
        const where = `seed ${seed}, round ${round}: ${harm} at event ${at}`;
        if (heard.isCommitted) assert.ok(isThere, `what is acknowledged stays (${where})`);
        for (const { values } of views)
          assert.deepEqual(values, expected, `all or nothing, in every partition (${where})`);
        // Who was paused wakes up as a zombie, and changes nothing.
        cluster.bucket.weather = fairWeather;
        for (const each of victims) {
          if (stateOf(cluster, each) === "paused") cluster.memberAt(each).process.resume();
          if (stateOf(cluster, each) === "away") await cluster.boot(each);
        }
        await cluster.pass(2_000);
        await whole(cluster);
        await cluster.run(story);
        for (const { values } of await viewsOf(cluster))
          assert.deepEqual(values, expected, `and it stays so (${where})`);
        const stands = await cluster.run(stableOffsetAt(cluster, group, input));
        assert.equal(stands, Number(expected.at(-1) ?? -1), `and so are its offsets (${where})`);
        fates[heard.isCommitted ? "acknowledged" : isThere ? "unheard" : "none"]++;
      }
      // Take-overs and moves leave what looks like damage to nobody.
      const named = errors.mock.calls.map((call) => String((call.arguments as readonly unknown[])[0]));
      assert.deepEqual(
        named.filter((event) => /^(transaction|coordinator-state)\./.test(event)),
        [],
      );
      // Else the cuts came all too early or all too late.
      for (const fate of ["acknowledged", "none"] as const)
        assert.ok(fates[fate] > 0, `${fate}: ${fates[fate]} of ${JSON.stringify(fates)}`);
    });
  });
}
