/**
 * Kafka's console producer and consumer (4.3.0) as writer and reader: records are lines with tabs between
 * headers, key and value.
 */
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { type Ended, start } from "../../tools/processes.ts";
import { kafkaClasspath } from "../../tools/toolbox.ts";
import { codecs, type DataRecord, Digests, recordsOf } from "./data-set.ts";
import { expectRunning, expectSuccess, header, type Reader, textOf, type Writer } from "./exchange.ts";

export const javaHeap = ["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"];

export function consoleTools(): Writer & Reader {
  return {
    client: "kafka-console-producer, -consumer",
    version: "4.3.0",
    language: "Java",
    dress: "console",
    partitionCount: 1,
    write: async ({ address, topic, set, timeoutMs, onProgress }) => {
      let count = 0;
      let lane: { codec: number; input: PassThrough; running: Promise<Ended> } | undefined;
      const close = async (): Promise<void> => {
        lane?.input.end();
        if (lane !== undefined) expectSuccess("console producer", await lane.running);
        lane = undefined;
      };
      for await (const record of recordsOf(set)) {
        if (lane !== undefined && lane.codec !== record.codec) await close();
        if (lane === undefined) {
          const input = new PassThrough({ highWaterMark: 1 << 20 });
          const running = kafkaTool(
            "ConsoleProducer",
            consoleProducerArguments(address, topic, record.codec),
            { input, timeoutMs },
          );
          lane = { codec: record.codec, input, running };
        }
        if (!lane.input.write(consoleLine(record))) {
          await Promise.race([
            once(lane.input, "drain"),
            lane.running.then((ended) => expectRunning("console producer", ended)),
          ]);
        }
        count += 1;
        if (count % 500 === 0) onProgress(count);
      }
      await close();
    },
    read: async ({ address, topic, set, timeoutMs, onProgress }) => {
      if (set.dress !== "console")
        throw new Error("The console consumer reads what the console producer can write");
      const digests = new Digests(set.partitionCount, { withHeaders: true });
      let count = 0;
      for (let partition = 0; partition < set.partitionCount; partition += 1) {
        const where = [
          "--bootstrap-server",
          address,
          "--topic",
          topic,
          "--partition",
          String(partition),
          "--offset",
          "earliest",
        ];
        const bound = [
          "--max-messages",
          String(set.partitions[partition]?.count ?? 0),
          "--timeout-ms",
          "60000",
        ];
        const shown = [
          "print.headers=true",
          "print.key=true",
          "print.value=true",
          "headers.separator=,",
          `null.literal=${nullMarker}`,
        ];
        const ended = await kafkaTool(
          "consumer.ConsoleConsumer",
          [...where, ...bound, ...shown.flatMap((item) => ["--formatter-property", item])],
          {
            timeoutMs,
            onLine: (line) => {
              digests.add(partition, consoleRecord(line));
              count += 1;
              if (count % 500 === 0) onProgress(count);
            },
          },
        );
        expectSuccess("console consumer", ended);
      }
      return { partitions: digests.end(), withHeaders: true };
    },
  };
}

const nullMarker = "<null>";

function consoleProducerArguments(address: string, topic: string, codec: number): string[] {
  const reader = ["parse.key=true", "parse.headers=true", `null.marker=${nullMarker}`];
  const producer = [
    "enable.idempotence=true",
    "acks=all",
    "delivery.timeout.ms=300000",
    "max.block.ms=120000",
    "linger.ms=5",
  ];
  return [
    "--bootstrap-server",
    address,
    "--topic",
    topic,
    "--compression-codec",
    codecs[codec] ?? "none",
    "--message-send-max-retries",
    "2147483647",
    "--max-block-ms",
    "120000",
    ...reader.flatMap((item) => ["--reader-property", item]),
    ...producer.flatMap((item) => ["--command-property", item]),
  ];
}

function consoleLine({ key, value, headers }: DataRecord): Buffer {
  const shown = headers.map((item) => `${textOf(item.name)}:${textOf(item.value)}`).join(",");
  return Buffer.concat([
    Buffer.from(`${shown}\t${textOf(key)}\t`),
    value ?? Buffer.from(nullMarker),
    Buffer.from("\n"),
  ]);
}

function consoleRecord(line: string): Pick<DataRecord, "key" | "value" | "headers"> {
  const [headers = "", key = "", value = ""] = line.split("\t");
  return {
    key: Buffer.from(key),
    value: value === nullMarker ? null : Buffer.from(value),
    headers: headers.split(",").map((part) => header(part, ":")),
  };
}

/** Runs one of Kafka's command line tools, named by its class, to its end. */
export async function kafkaTool(
  name: string,
  args: readonly string[],
  options: { input?: AsyncIterable<Uint8Array>; onLine?: (line: string) => void; timeoutMs: number },
): Promise<Ended> {
  const className = name.startsWith("kafka.") ? name : `org.apache.kafka.tools.${name}`;
  return start("java", [...javaHeap, "-cp", await kafkaClasspath(), className, ...args], options).ended;
}
