/** Holdfast's own client in its published form, written to as applications do: record by record, or in lots. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { repositoryRoot } from "../../tools/toolbox.ts";
import { runClientProgram } from "./load.ts";

const built = join(repositoryRoot, "dist/entry/client.js");
const source = join(repositoryRoot, "src/entry/client.ts");
const { createClient } = (await import(
  pathToFileURL(existsSync(built) ? built : source).href
)) as typeof import("../../src/entry/client.ts");

/** Records that a lot holds. */
const lotRecords = 1000;

await runClientProgram({
  produce: async ({ address, topic, partitionCount, setting, count, valueOf }) => {
    const client = createClient({ bootstrap: address, clientId: "bench" });
    const producer = client.producer({
      lingerMs: setting.lingerMs,
      batchBytes: setting.batchKb === undefined ? undefined : setting.batchKb * 1000,
    });
    const fail = (cause: unknown): never => {
      console.error(cause);
      process.exit(1);
    };
    // A loop that never waits leaves no turn to the socket; the first record brings the topic's partitions.
    await producer.send({ topic, partition: 0, value: valueOf(0) });
    for (let number = 0; ; ) {
      if (!producer.hasRoom) await producer.ready();
      if (setting.by === "lot") {
        const begun = number;
        number += lotRecords;
        const lot = Array.from({ length: lotRecords }, (_, index) => ({
          topic,
          partition: (begun + index) % partitionCount,
          value: valueOf(begun + index),
        }));
        producer.sendMany(lot).then(() => count(lotRecords), fail);
      } else {
        const sent = producer.send({ topic, partition: number % partitionCount, value: valueOf(number) });
        number += 1;
        sent.then(() => count(1), fail);
      }
    }
  },
  consume: async ({ address, topic, setting, count }) => {
    const client = createClient({ bootstrap: address, clientId: "bench" });
    const consumer = client.consumer({
      topic,
      from: "start",
      partitionBytesMax: setting.batchKb === undefined ? undefined : setting.batchKb * 1000,
    });
    let seen = 0;
    if (setting.by === "lot") {
      for await (const { records } of consumer.batches()) {
        for (const { value } of records) seen += value?.length ?? 0;
        count(records.length);
      }
    } else {
      for await (const { value } of consumer) {
        seen += value?.length ?? 0;
        count(1);
      }
    }
  },
});
