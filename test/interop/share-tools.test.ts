/**
 * Kafka's own share consumers (4.3.0) against a real broker process that is killed while they read: the console's,
 * whose records all come, and of which none comes again; and VerifiableShareConsumer behind VerifiableProducer, in
 * each of its ways to acknowledge. Then what Kafka's formatter reads in `__share_group_state`.
 *
 *   HOLDFAST_INTEROP   sample or full; without it nothing runs
 *   HOLDFAST_TARGET    kafka instead of holdfast, which tells whose fault a failure is
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createClient } from "../../src/entry/client.ts";
import { type Broker, type BrokerKind, isHoldfast, startBroker } from "../../tools/brokers.ts";
import { type InteropResult, keepNewest, testedCommit } from "../../tools/interop-results.ts";
import type { Ended } from "../../tools/processes.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { kafkaTool } from "./console-tools.ts";
import { shareSettings } from "./share-play.ts";

const scale = process.env["HOLDFAST_INTEROP"];
const skip = scale === undefined ? "set HOLDFAST_INTEROP to sample or full" : false;
const target = (process.env["HOLDFAST_TARGET"] ?? "holdfast") as BrokerKind;
const count = scale === "full" ? 100_000 : 5_000;
const lockMs = 3_000;
const toolMs = 240_000;
/**
 * VerifiableShareConsumer ends once so many acknowledgements were answered. One that the broker kept and could not
 * answer before it died is never asked for again, so there is more to read than it has to: else it reads for ever.
 */
const verifiedCount = 2 * count;
/** A reader that is to find nothing looks so long: longer than a lock, so that what was not accepted would come. */
const idleMs = lockMs + 4_000;

let directory = "";
let broker: Broker;

before(async () => {
  if (skip !== false) return;
  mkdirSync(join(cacheDirectory, "interop"), { recursive: true });
  directory = mkdtempSync(join(cacheDirectory, "interop", "share-tools-"));
  broker = await startBroker(target, { directory, settings: shareSettings(target, lockMs) });
});

after(async () => {
  // It is not there when it could not start.
  const ended = await (broker as Broker | undefined)?.stop();
  if (ended === undefined) return;
  if (isHoldfast(target)) assert.equal(ended.code, 0, ended.stdout.slice(-4000));
  rmSync(directory, { recursive: true, force: true });
});

/** The broker dies once the reader is half-way. */
function killingAt(half: number): { tick(by?: number): void; done(): Promise<void> } {
  let ticks = 0;
  let dying: Promise<void> | undefined;
  return {
    tick: (by = 1) => {
      ticks += by;
      if (ticks < half) return;
      dying ??= broker.kill().then(async () => {
        await broker.start();
      });
      // `done` tells of it.
      dying.catch(() => undefined);
    },
    done: async () => {
      assert.ok(dying !== undefined, "the broker was killed");
      await dying;
    },
  };
}

const at = (): string[] => ["--bootstrap-server", broker.address];

/** How it ended, with what it said. */
function ended(name: string, { code, stdout, stderr }: Ended): void {
  assert.ok(code === 0, `${name} ended with ${code}: ${stdout.slice(-2000)} ${stderr.slice(-4000)}`);
}

async function judged(client: string, what: string, judge: () => Promise<void>): Promise<void> {
  const begun = performance.now();
  let failure: string | undefined;
  try {
    await judge();
  } catch (error) {
    failure = error instanceof Error ? error.message.slice(0, 2000) : String(error);
    throw error;
  } finally {
    const result: InteropResult = {
      client,
      version: "4.3.0",
      language: "Java",
      target,
      kind: "shares",
      what,
      killed: true,
      passed: failure === undefined,
      seconds: Math.round(performance.now() - begun) / 1000,
      at: new Date().toISOString(),
      commit: testedCommit(),
      recordCount: count,
      ...(failure === undefined ? {} : { failure }),
    };
    if (scale !== undefined) keepNewest(`share-tools-${target}-${scale}`, { scale, results: [result] });
  }
}

describe("Kafka's share consumers", { concurrency: 1 }, () => {
  test("the console's prints every record, and none again that was acknowledged", {
    skip,
    timeout: 2 * toolMs,
  }, async () => {
    await judged("kafka-console-share-consumer", "reads", async () => {
      const [topic, group] = ["console-jobs", "console-workers"];
      await using client = createClient({ bootstrap: broker.address });
      const admin = client.admin();
      await admin.createTopic({ topic, partitions: 2 });
      await admin.alterConfigs([{ group, set: { "share.auto.offset.reset": "earliest" } }]);
      const producer = client.producer({ lingerMs: 5 });
      await Promise.all(
        Array.from({ length: count }, (_, n) =>
          producer.send({ topic, partition: n % 2, value: `job ${n}` }),
        ),
      );
      const seen = new Map<string, number>();
      const reading = async (onLine: (line: string) => void): Promise<Ended> => {
        const args = [...at(), "--topic", topic, "--group", group, "--timeout-ms", String(idleMs * 2)];
        return kafkaTool("consumer.ConsoleShareConsumer", args, { timeoutMs: toolMs, onLine });
      };
      const death = killingAt(count / 2);
      const first = await reading((line) => {
        seen.set(line, (seen.get(line) ?? 0) + 1);
        death.tick();
      });
      await death.done();
      ended("the console share consumer", first);
      assert.equal(seen.size, count);
      for (let n = 0; n < count; n++) assert.ok(seen.has(`job ${n}`), `job ${n} came`);
      const again: string[] = [];
      ended("the console share consumer", await reading((line) => again.push(line)));
      assert.deepEqual(again, [], "what was acknowledged does not come again");
    });
  });

  for (const mode of ["auto", "sync", "async"] as const) {
    test(`VerifiableShareConsumer acknowledges what VerifiableProducer wrote; ${mode}`, {
      skip,
      timeout: 2 * toolMs,
    }, async () => {
      await judged("VerifiableShareConsumer", `acknowledges, ${mode}`, async () => {
        const [topic, group] = [`verified-${mode}`, `verifiers-${mode}`];
        await using client = createClient({ bootstrap: broker.address });
        await client.admin().createTopic({ topic, partitions: 3 });
        const written = await kafkaTool(
          "VerifiableProducer",
          [...at(), "--topic", topic, "--max-messages", String(verifiedCount), "--acks", "-1"],
          { timeoutMs: toolMs },
        );
        ended("VerifiableProducer", written);
        const death = killingAt(count / 2);
        let acknowledged = 0;
        let consumed = 0;
        const args = [...at(), "--topic", topic, "--group-id", group, "--acknowledgement-mode", mode];
        const read = await kafkaTool(
          "VerifiableShareConsumer",
          [...args, "--offset-reset-strategy", "earliest", "--max-messages", String(count)],
          {
            timeoutMs: toolMs,
            onLine: (line) => {
              if (!line.startsWith("{")) return;
              const event = JSON.parse(line) as { name: string; count?: number; success?: boolean };
              if (event.name === "records_consumed") {
                consumed += event.count ?? 0;
                death.tick(event.count);
              }
              if (event.name === "offsets_acknowledged" && event.success !== false) {
                acknowledged += event.count ?? 0;
              }
            },
          },
        );
        await death.done();
        ended("VerifiableShareConsumer", read);
        assert.ok(consumed >= count, `${consumed} of ${count} were consumed`);
        assert.ok(acknowledged >= count, `${acknowledged} of ${count} were acknowledged`);
      });
    });
  }

  test("Kafka's formatter reads the states that they left", { skip, timeout: toolMs }, async () => {
    const formatter = "org.apache.kafka.tools.consumer.group.share.ShareGroupStateMessageFormatter";
    const kinds = new Map<number, number>();
    const bound = ["--from-beginning", "--timeout-ms", "20000"];
    const said: string[] = [];
    await kafkaTool(
      "consumer.ConsoleConsumer",
      [...at(), "--topic", "__share_group_state", "--formatter", formatter, ...bound],
      { timeoutMs: toolMs, onLine: (line) => said.push(line) },
    );
    // It puts nothing between them.
    for (const line of said.join("").replaceAll('}{"key"', '}\n{"key"').split("\n")) {
      const { key, value } = JSON.parse(line) as StateLine;
      kinds.set(key.type, (kinds.get(key.type) ?? 0) + 1);
      assert.match(key.data.groupId, /-workers$|^verifiers-/);
      for (const each of value?.data.stateBatches ?? []) {
        assert.ok(each.firstOffset <= each.lastOffset && [0, 2, 4].includes(each.deliveryState));
      }
    }
    assert.ok((kinds.get(0) ?? 0) >= 2, "each share-partition has a snapshot");
    assert.ok((kinds.get(1) ?? 0) > 0, "and some have updates");
  });
});

interface StateLine {
  readonly key: { readonly type: number; readonly data: { readonly groupId: string } };
  readonly value: {
    readonly data: {
      readonly stateBatches: readonly {
        readonly firstOffset: number;
        readonly lastOffset: number;
        readonly deliveryState: number;
      }[];
    };
  } | null;
}
