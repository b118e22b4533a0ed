/** Workers that die with work in their hands, and a mail that nobody can send. */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { createClient } from "holdfast/client";
import { startBroker } from "holdfast/testing";
import { mailQueue, order } from "../work-queue.ts";

test("every mail is sent, though workers die of some", { timeout: 60_000 }, async () => {
  await using broker = await startBroker({ topics: ["sent"] });
  await using client = createClient({ bootstrap: broker.address });
  const queue = mailQueue(client);
  for (let n = 0; n < 40; n++) {
    await order(queue, { to: `u${n}@example.org`, text: n % 10 === 7 ? `heavy ${n}` : `light ${n}` });
  }
  await order(queue, { to: "nowhere", text: "lost" });

  let deaths = 0;
  let isOver = false;
  const workers = new Set<ChildProcess>();
  const hire = (): void => {
    const worker = fork(new URL("../work-queue.ts", import.meta.url), [broker.address], { stdio: "ignore" });
    workers.add(worker);
    worker.once("exit", () => {
      workers.delete(worker);
      if (isOver) return;
      deaths++;
      hire();
    });
  };
  hire();
  hire();

  const sent = new Set<string>();
  for await (const { key } of client.consumer({ topic: "sent" })) {
    if (sent.add(String(key)).size === 40) break;
  }
  // All are done in the end, also the one that is rejected, and nothing is given to anybody any more.
  let lag = 1;
  while (lag > 0) {
    const waiting = await client.admin().listShareGroupOffsets("mails");
    lag = waiting.reduce((sum, each) => sum + each.lag, 0);
    await setTimeout(20);
  }
  isOver = true;
  await Promise.all([...workers].map(ended));
  assert.ok(deaths >= 1, "nobody died");
});

function ended(worker: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    worker.once("exit", () => resolve());
    worker.kill("SIGTERM");
  });
}
