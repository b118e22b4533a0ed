import assert from "node:assert/strict";
import { test } from "node:test";
import { UnreachableError } from "../base/errors.ts";
import type { Socket } from "../base/ports.ts";
import { SimNetwork } from "./network.ts";
import { SimProcess } from "./process.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";

const address = { host: "127.0.0.1", port: 9092 };

async function aPair() {
  const random = new SimRandom(1);
  const scheduler = new Scheduler(random);
  const network = new SimNetwork(scheduler, random);
  const server = new SimProcess("server", scheduler);
  const client = new SimProcess("client", scheduler);
  const heard: number[] = [];
  let isClosed = false;
  await network.of(server).listen(address, (socket) => {
    socket.open({
      onData: (bytes) => heard.push(...bytes),
      onEnd: () => undefined,
      onDrain: () => undefined,
      onClose: () => (isClosed = true),
    });
  });
  const dial = (): Promise<Socket> => network.of(client).dial(address, { timeoutMs: 300 });
  return { scheduler, network, server, client, heard, dial, isClosed: () => isClosed };
}

test("what is sent while two hosts cannot reach each other arrives afterwards, in order and once", async () => {
  const { scheduler, network, server, client, heard, dial } = await aPair();
  const socket = await scheduler.runUntil(dial());
  for (let value = 0; value < 60; value++) {
    if (value === 20) network.cut(server, client);
    if (value === 40) network.heal(server, client);
    socket.write([Uint8Array.of(value, value)]);
    await scheduler.run({ untilMs: scheduler.nowMs + 1 });
    if (value === 39) assert.ok(heard.length <= 40, "nothing passes a cut");
  }
  await scheduler.run();
  assert.deepEqual(
    heard,
    Array.from({ length: 120 }, (_, at) => at >> 1),
  );
});

test("who dials a host that cannot be reached waits for the whole time, and a dead one refuses at once", async () => {
  const { scheduler, network, server, client, dial } = await aPair();
  network.cut(server, client);
  await assert.rejects(scheduler.runUntil(dial()), UnreachableError);
  assert.ok(scheduler.nowMs >= 300);
  network.heal(server, client);
  server.kill();
  network.killHost(server);
  await assert.rejects(scheduler.runUntil(dial()), /nothing listens/);
  assert.ok(scheduler.nowMs < 500);
});

test("a paused process takes what was sent when it goes on, and of its peer's death it hears then", async () => {
  const { scheduler, network, server, client, heard, dial, isClosed } = await aPair();
  const socket = await scheduler.runUntil(dial());
  await scheduler.run();
  server.pause();
  socket.write([Uint8Array.of(7)]);
  await scheduler.run();
  client.kill();
  network.killHost(client);
  await scheduler.run();
  assert.deepEqual([heard, isClosed()], [[], false]);
  server.resume();
  await scheduler.run();
  assert.deepEqual([heard, isClosed()], [[7], true]);
});
