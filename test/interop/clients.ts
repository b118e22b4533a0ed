/**
 * Other people's clients as writers and readers of a data set: Kafka's Java clients, its console tools,
 * kcat (librdkafka) and franz-go, each with idempotence on. A writer ends only when every record is
 * acknowledged; a reader answers one digest per partition over all that it was given.
 */
import { PassThrough } from "node:stream";
import { once } from "node:events";
import { join } from "node:path";
import { type Ended, finish, type Running, start } from "../../tools/processes.ts";
import {
  goProgram,
  javaProgram,
  kafkaClasspath,
  kafkaClientsClasspath,
  type KafkaClientVersion,
  kcat,
} from "../../tools/toolbox.ts";
import {
  codecs,
  type DataRecord,
  type DataSet,
  Digests,
  type Dress,
  kcatHeaders,
  type PartitionDigest,
  recordsOf,
} from "./data-set.ts";

export interface Exchange {
  readonly address: string;
  readonly topic: string;
  readonly set: DataSet;
  readonly timeoutMs: number;
  /** Told now and then how many records the client has written or read. */
  readonly onProgress: (count: number) => void;
}

export interface Writer {
  readonly client: string;
  readonly version: string;
  readonly dress: Dress;
  readonly partitionCount: number;
  write(exchange: Exchange): Promise<void>;
}

export interface ReadBack {
  readonly partitions: readonly PartitionDigest[];
  readonly withHeaders: boolean;
}

export interface Reader {
  readonly client: string;
  readonly version: string;
  read(exchange: Exchange): Promise<ReadBack>;
}

const javaHeap = ["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"];

export function javaClient(version: KafkaClientVersion): Writer & Reader {
  const command = async (): Promise<string[]> => {
    const classpath = await javaProgram(
      join(import.meta.dirname, "java"),
      await kafkaClientsClasspath(version),
    );
    return ["java", ...javaHeap, "-cp", classpath, "Wire"];
  };
  return { client: "kafka-clients (Java)", version, ...wireProgram(command) };
}

export function franzGo(): Writer & Reader {
  const command = async (): Promise<string[]> => [await goProgram(join(import.meta.dirname, "go"))];
  return { client: "franz-go", version: "1.22.2", ...wireProgram(command) };
}

/** Both our small programs, in Java and in Go, have the same arguments and print the same lines. */
function wireProgram(
  command: () => Promise<string[]>,
): Pick<Writer, "dress" | "partitionCount" | "write"> & Pick<Reader, "read"> {
  const launch = async (args: readonly string[], exchange: Exchange): Promise<Ended> => {
    const [program, ...first] = await command();
    return finish(program ?? "", [...first, ...args], {
      timeoutMs: exchange.timeoutMs,
      onLine: (line) => {
        if (line.startsWith("progress ")) exchange.onProgress(Number(line.slice(9)));
      },
    });
  };
  return {
    dress: "rich",
    partitionCount: 5,
    write: async (exchange) => {
      const { address, topic, set } = exchange;
      const { stdout } = await launch(
        ["produce", address, topic, set.path, String(set.partitionCount)],
        exchange,
      );
      if (!stdout.includes(`acked ${set.recordCount}\n`))
        throw new Error(`Not all of ${set.recordCount} records were acknowledged`);
    },
    read: async (exchange) => {
      const { address, topic, set } = exchange;
      const { stdout } = await launch(["consume", address, topic, String(set.partitionCount)], exchange);
      const partitions = [...stdout.matchAll(/^partition \d+ (\d+) ([0-9a-f]{64})$/gm)];
      return {
        partitions: partitions.map((match) => ({ count: Number(match[1]), sha256: match[2] ?? "" })),
        withHeaders: true,
      };
    },
  };
}

const keySeparator = 0x1f;
const recordSeparator = 0x1e;

export function kcatClient(): Writer & Reader {
  const settings = ["-E", "-q", "-X", "broker.address.family=v4", "-X", "reconnect.backoff.max.ms=500"];
  return {
    client: "kcat (librdkafka)",
    version: "1.7.1 (2.0.2)",
    dress: "kcat",
    partitionCount: 5,
    write: async ({ address, topic, set, timeoutMs, onProgress }) => {
      const program = await kcat();
      const open = new Map<number, { codec: number; input: PassThrough; running: Running }>();
      const closeAll = async (): Promise<void> => {
        for (const { input } of open.values()) input.end();
        for (const { running } of open.values()) expectSuccess("kcat -P", await running.ended);
        open.clear();
      };
      const headers = kcatHeaders.flatMap(({ name, value }) => ["-H", `${textOf(name)}=${textOf(value)}`]);
      let count = 0;
      for await (const record of recordsOf(set)) {
        const { partition, codec } = record;
        if ((open.get(partition)?.codec ?? codec) !== codec) await closeAll();
        let lane = open.get(partition);
        if (lane === undefined) {
          const input = new PassThrough({ highWaterMark: 1 << 20 });
          const args = [
            "-P",
            "-b",
            address,
            "-t",
            topic,
            "-p",
            String(partition),
            "-z",
            codecs[codec] ?? "none",
            "-Z",
          ];
          const delimiters = ["-K", "\\x1f", "-D", "\\x1e", ...headers];
          const safe = [
            "-X",
            "enable.idempotence=true",
            "-X",
            "queue.buffering.max.messages=2000",
            "-X",
            "linger.ms=5",
          ];
          lane = {
            codec,
            input,
            running: start(program, [...args, ...delimiters, ...settings, ...safe], { input, timeoutMs }),
          };
          open.set(partition, lane);
        }
        if (!lane.input.write(kcatLine(record))) {
          await Promise.race([
            once(lane.input, "drain"),
            lane.running.ended.then((ended) => expectRunning("kcat -P", ended)),
          ]);
        }
        count += 1;
        if (count % 500 === 0) onProgress(count);
      }
      await closeAll();
    },
    read: async ({ address, topic, set, timeoutMs, onProgress }) => {
      const program = await kcat();
      // kcat prints headers as text between commas: the binary ones of the Java and Go sets are not for it.
      const withHeaders = set.dress !== "rich";
      const digests = new Digests(set.partitionCount, { withHeaders });
      let count = 0;
      for (let partition = 0; partition < set.partitionCount; partition += 1) {
        const parser = kcatParser((record) => {
          digests.add(partition, record);
          count += 1;
          if (count % 500 === 0) onProgress(count);
        });
        const format = withHeaders ? "%K,%S,%h\\n%k%s" : "%K,%S,\\n%k%s";
        const args = [
          "-C",
          "-b",
          address,
          "-t",
          topic,
          "-p",
          String(partition),
          "-o",
          "beginning",
          "-e",
          "-f",
          format,
        ];
        await finish(program, [...args, ...settings, "-X", "check.crcs=true"], {
          timeoutMs,
          onBytes: parser.push,
        });
        parser.end();
      }
      return { partitions: digests.end(), withHeaders };
    },
  };
}

function kcatLine({ key, value }: DataRecord): Buffer {
  return Buffer.concat([
    ...(key === null ? [] : [key, Buffer.from([keySeparator])]),
    value ?? Buffer.alloc(0),
    Buffer.from([recordSeparator]),
  ]);
}

/** Reads `key length,value length,headers\n` and then that many bytes of key and value, again and again. */
function kcatParser(onRecord: (record: Pick<DataRecord, "key" | "value" | "headers">) => void): {
  push: (bytes: Buffer) => void;
  end: () => void;
} {
  let pieces: Buffer[] = [];
  let held = 0;
  let needed = 1;
  const parse = (): void => {
    const bytes = Buffer.concat(pieces, held);
    let at = 0;
    for (;;) {
      const lineEnd = bytes.indexOf(0x0a, at);
      needed = bytes.length - at + 1;
      if (lineEnd === -1) break;
      const [keyLength = "", valueLength = "", ...headerParts] = bytes
        .toString("latin1", at, lineEnd)
        .split(",");
      const keyEnd = lineEnd + 1 + Math.max(0, Number(keyLength));
      const valueEnd = keyEnd + Math.max(0, Number(valueLength));
      needed = valueEnd - at;
      if (valueEnd > bytes.length) break;
      onRecord({
        key: keyLength === "-1" ? null : bytes.subarray(lineEnd + 1, keyEnd),
        value: valueLength === "-1" ? null : bytes.subarray(keyEnd, valueEnd),
        headers: headerParts.filter((part) => part !== "").map((part) => header(part, "=")),
      });
      at = valueEnd;
    }
    pieces = [Buffer.from(bytes.subarray(at))];
    held = bytes.length - at;
  };
  return {
    push: (bytes) => {
      pieces.push(bytes);
      held += bytes.length;
      if (held >= needed) parse();
    },
    end: () => {
      if (held > 0) throw new Error(`kcat's output ends within a record, ${held} bytes left`);
    },
  };
}

export function consoleTools(): Writer & Reader {
  return {
    client: "kafka-tools console",
    version: "4.3.0",
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

/** What goes over a command line is never null in the sets that are made for it. */
function textOf(bytes: Buffer | null): string {
  if (bytes === null) throw new Error("A key or header that is null cannot be written on a command line");
  return bytes.toString("latin1");
}

function header(text: string, separator: string): { name: Buffer; value: Buffer } {
  const at = text.indexOf(separator);
  return { name: Buffer.from(text.slice(0, at)), value: Buffer.from(text.slice(at + 1)) };
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

function expectRunning(what: string, ended: Ended): never {
  throw new Error(
    `${what} ended (${ended.code ?? ended.signal}) before it had all records: ${ended.stderr.slice(-2000)}`,
  );
}

function expectSuccess(what: string, ended: Ended): void {
  if (ended.code === 0) return;
  throw new Error(
    `${what} ended with ${ended.code ?? ended.signal}: ${ended.stdout.slice(-2000)}\n${ended.stderr.slice(-4000)}`,
  );
}
