/**
 * Takes the requests of other people's clients off the wire, for the fuzzer to make mutants of:
 *
 *   node test/tough/capture.ts     writes test/tough/frames.jsonl; installs the clients into .cache/
 *
 * A relay stands between client and broker and reads what passes. Of each client, API and version the
 * first few requests are kept, as long as they are short.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { join } from "node:path";
import { startBroker } from "../../tools/brokers.ts";
import { freePort } from "../../tools/processes.ts";
import { cacheDirectory, loopback } from "../../tools/toolbox.ts";
import { createTopic } from "../interop/admin.ts";
import { confluentPython, franzGo, javaClient, sarama } from "../interop/clients.ts";
import { dataSet } from "../interop/data-set.ts";
import type { Reader, Writer } from "../interop/exchange.ts";
import { kcatClient } from "../interop/kcat.ts";

const keptOfOneKind = 3;
const frameBytesMax = 6_000;

const lines: string[] = [];
const kinds = new Map<string, number>();
let client = "";

function keep(frame: Buffer): void {
  if (frame.byteLength > frameBytesMax) return;
  const kind = `${client} ${frame.readInt16BE(4)} ${frame.readInt16BE(6)}`;
  const count = kinds.get(kind) ?? 0;
  if (count >= keptOfOneKind) return;
  kinds.set(kind, count + 1);
  lines.push(JSON.stringify({ client, base64: frame.toString("base64") }));
}

mkdirSync(join(cacheDirectory, "tough"), { recursive: true });
const directory = mkdtempSync(join(cacheDirectory, "tough", "capture-"));
const relayPort = await freePort();
const address = `${loopback}:${relayPort}`;
const broker = await startBroker("holdfast", { directory, settings: ["--advertise", address] });
const relay = createServer((down) => {
  const up = createConnection(Number(broker.address.split(":")[1]), loopback);
  let pending = Buffer.alloc(0);
  down.on("data", (bytes: Buffer) => {
    pending = Buffer.concat([pending, bytes]);
    while (pending.byteLength >= 4 && pending.byteLength >= 4 + pending.readInt32BE(0)) {
      const end = 4 + pending.readInt32BE(0);
      keep(pending.subarray(0, end));
      pending = pending.subarray(end);
    }
    up.write(bytes);
  });
  up.on("data", (bytes: Buffer) => down.write(bytes));
  for (const [one, other] of [
    [down, up],
    [up, down],
  ] as const) {
    one.on("error", () => other.destroy());
    one.on("close", () => other.destroy());
  }
});
await new Promise<void>((resolve) => relay.listen(relayPort, loopback, resolve));

const clients: readonly (Writer & Partial<Reader>)[] = [
  kcatClient(),
  javaClient("4.4.0"),
  franzGo(),
  confluentPython(),
  sarama(),
];
for (const each of clients) {
  client = `${each.client} ${each.version}`;
  try {
    const set = await dataSet({
      dress: each.dress,
      partitionCount: each.partitionCount,
      smallCount: 12_000,
      largeCount: 12,
    });
    const topic = `captured-${each.client.replaceAll(/\W/g, "-")}`;
    await createTopic(broker.address, topic, each.partitionCount);
    const exchange = { address, topic, set, timeoutMs: 120_000, onProgress: () => undefined };
    await each.write(exchange);
    await each.read?.(exchange);
    console.log(`${client}: ${[...kinds.keys()].filter((kind) => kind.startsWith(client)).length} kinds`);
  } catch (cause) {
    console.log(`${client}: ${String(cause).split("\n")[0]}`);
  }
}
relay.close();
await broker.stop();
rmSync(directory, { recursive: true, force: true });
writeFileSync(join(import.meta.dirname, "frames.jsonl"), `${lines.join("\n")}\n`);
console.log(`${lines.length} frames`);
process.exit(0);
