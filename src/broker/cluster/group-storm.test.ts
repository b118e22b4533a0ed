/**
 * Three members of a group read what a producer writes while the coordinator of the group, and with it a third of
 * the partitions, is killed, paused or stopped and comes back. Everything is read, and no member gives up.
 *
 *   HOLDFAST_RUNS=20 HOLDFAST_SEED=1 HOLDFAST_EVENTS=4 node --test src/broker/cluster/group-storm.test.ts
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Member, SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { shardIndex } from "../shards.ts";

const places = [0, 1, 2];
const partitions = 5;
const settings = {
  "offsets.topic.num.partitions": String(partitions),
  "group.initial.rebalance.delay.ms": "0",
};

/** Null: there is none, or it gave up. */
function alive(cluster: SimulatedCluster, place: number): Member | null {
  const member = cluster.has(place) ? cluster.memberAt(place) : null;
  return member?.failure === null ? member : null;
}

async function disturb(cluster: SimulatedCluster, kind: "kill" | "pause" | "stop"): Promise<void> {
  const seenBy = places.find((place) => alive(cluster, place) !== null) ?? 0;
  const place = cluster.ownerOf("__consumer_offsets", shardIndex("g", partitions), seenBy) ?? seenBy;
  const member = alive(cluster, place);
  if (member === null) return;
  if (kind === "kill") cluster.kill(place);
  else if (kind === "pause") member.process.pause();
  else await cluster.stop(place);
}

async function mend(cluster: SimulatedCluster): Promise<void> {
  for (const place of places) {
    const member = alive(cluster, place);
    if (member === null) await cluster.boot(place);
    else if (member.process.isPaused) member.process.resume();
  }
}

const first = Number(process.env["HOLDFAST_SEED"] ?? 3);
const runs = Number(process.env["HOLDFAST_RUNS"] ?? 1);
const events = Number(process.env["HOLDFAST_EVENTS"] ?? 3);

for (let seed = first; seed < first + runs; seed++) {
  for (const protocol of ["classic", "consumer"] as const) {
    test(`members of the ${protocol} protocol read everything, whatever their coordinator does (seed ${seed})`, async (t) => {
      const cluster = new SimulatedCluster(settings, seed);
      t.after(() => cluster.close());
      const random = cluster.random.fork("storm");
      await cluster.bootAll(3);
      const admin = cluster.client().admin();
      await cluster.run(admin.createTopics([{ topic: "t", partitions: 6 }]));

      const seen = new Map<string, number>();
      const failures: unknown[] = [];
      const read = async (): Promise<void> => {
        const timeouts = { sessionTimeoutMs: 10_000, heartbeatIntervalMs: 1_000, commitIntervalMs: 200 };
        const consumer = cluster.client().consumer({ group: "g", topic: "t", protocol, ...timeouts });
        for await (const { value } of consumer) seen.set(String(value), (seen.get(String(value)) ?? 0) + 1);
      };
      for (let member = 0; member < 3; member++) read().catch((cause: unknown) => failures.push(cause));

      const producer = cluster.client().producer();
      const sent: Promise<unknown>[] = [];
      let isOver = false;
      const write = async (): Promise<void> => {
        while (!isOver) {
          for (let more = 0; more < 5; more++) {
            const at = sent.length;
            sent.push(producer.send({ topic: "t", partition: at % 6, value: `v${at}` }));
          }
          await new Promise<void>((resolve) => cluster.scheduler.schedule(100, () => resolve()));
        }
      };
      const writing = write();
      for (let event = 0; event < events; event++) {
        await cluster.pass(random.between(500, 5_000));
        await disturb(cluster, random.pick(["kill", "pause", "stop"] as const));
        await cluster.pass(random.between(500, 12_000));
        await mend(cluster);
      }
      await cluster.pass(3_000);
      isOver = true;
      await cluster.run(writing);
      await cluster.run(Promise.all(sent));
      await cluster.until("all is read", () => seen.size === sent.length, 120_000);
      assert.deepEqual(failures, []);
      const twice = Array.from(seen.values()).filter((times) => times > 1).length;
      t.diagnostic(`${sent.length} records, ${twice} of them read more than once`);
    });
  }
}
