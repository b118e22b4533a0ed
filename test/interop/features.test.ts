/**
 * The level of a feature that is in force decides how Kafka's Java clients speak: at `transaction.version` 2 a
 * producer adds partitions to its transaction by writing to them (KIP-890), below it asks first.
 *
 * What producers ask is counted, so it is about one broker: of several, each asks the others the same.
 *
 *   HOLDFAST_INTEROP   sample or full; without it nothing runs
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Broker, startBroker } from "../../tools/brokers.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { openToolShell, type ToolShell } from "./tool-shell.ts";

const skip = process.env["HOLDFAST_INTEROP"] === undefined ? "set HOLDFAST_INTEROP to sample or full" : false;

test("a Java producer of transactions follows the level in force, down and up again", {
  skip,
  timeout: 120_000,
}, async (t) => {
  mkdirSync(join(cacheDirectory, "interop"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "interop", "features-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const broker = await startBroker("holdfast", { directory });
  t.after(() => broker.stop());
  const shell = await openToolShell(broker.address);
  t.after(() => shell.close());
  const asked: number[] = [];
  for (const [level, how] of [
    [2, "upgrade"],
    [1, "downgrade"],
    [0, "downgrade"],
    [2, "upgrade"],
  ] as const) {
    const set = await shell.tool("FeatureCommand", how, "--feature", `transaction.version=${level}`);
    assert.equal(set.code, 0, set.out + set.err);
    const before = await requests(broker, "AddPartitionsToTxn");
    await writesTransactions(shell);
    asked.push((await requests(broker, "AddPartitionsToTxn")) - before);
  }
  const [high, one, none, highAgain] = asked.map((count) => count > 0);
  assert.deepEqual({ high, one, none, highAgain }, { high: false, one: true, none: true, highAgain: false });
  assert.ok((await requests(broker, "EndTxn")) >= 8);
});

async function writesTransactions(shell: ToolShell): Promise<void> {
  const amount = ["--num-records", "500", "--record-size", "20", "--throughput", "1000"];
  const transactions = ["--transactional-id", "t", "--transaction-duration-ms", "100"];
  const { out, err } = await shell.tool(
    "ProducerPerformance",
    "--topic",
    "orders",
    ...amount,
    ...transactions,
  );
  assert.match(out, /500 records sent/, err);
}

/** How often an API was asked so far. */
async function requests(broker: Broker, api: string): Promise<number> {
  const page = await (await fetch(`${broker.http}/metrics`)).text();
  const [, count] =
    new RegExp(`^holdfast_dispatch_requests_total\\{api="${api}"\\} (\\d+)`, "m").exec(page) ?? [];
  return Number(count ?? 0);
}
