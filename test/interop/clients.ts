/**
 * Other people's clients, and our own, as writers and readers, each with idempotence on, where a small program
 * in the client's language does the work. All these programs have the same arguments and print the same lines:
 *
 *   produce ADDRESS TOPIC FILE PARTITIONS   "progress N" now and then, "acked N" at the end
 *   consume ADDRESS TOPIC PARTITIONS        "progress N" now and then, "partition P COUNT SHA256" at the end
 *   tour ADDRESS TOPIC                      with the client's default settings and its own admin client: creates
 *                                           the topic with a setting, sees both, writes three records, sees the
 *                                           end offsets, deletes it and sees it gone
 *
 * Each checks that acknowledged and read offsets are dense from 0, since the topic was empty.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Ended, finish } from "../../tools/processes.ts";
import {
  goProgram,
  javaProgram,
  kafkaClientsClasspath,
  type KafkaClientVersion,
  nodePackages,
  pythonPackages,
  repositoryRoot,
} from "../../tools/toolbox.ts";
import { javaHeap } from "./console-tools.ts";
import type { Dress } from "./data-set.ts";
import type { Client, Exchange, Reader, Tourist, Writer } from "./exchange.ts";

/** How a program is started; its own arguments follow. */
interface Program {
  readonly command: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
}

export interface WireClient extends Writer, Reader, Tourist {}

const here = import.meta.dirname;

export function javaClient(version: KafkaClientVersion): Writer & Reader {
  const client: Client = { client: "kafka-clients", version, language: "Java" };
  return exchanging(client, "rich", async () => {
    const classpath = await javaProgram(join(here, "java"), await kafkaClientsClasspath(version));
    return { command: ["java", ...javaHeap, "-cp", classpath, "Wire"] };
  });
}

export function franzGo(): WireClient {
  return exchanging({ client: "franz-go", version: "1.22.2", language: "Go" }, "rich", async () => ({
    command: [await goProgram(join(here, "go"), "franz-go")],
  }));
}

export function sarama(): WireClient {
  return exchanging({ client: "sarama", version: "1.61.1", language: "Go" }, "rich", async () => ({
    command: [await goProgram(join(here, "go"), "sarama")],
  }));
}

export function confluentPython(): WireClient {
  const client: Client = { client: "confluent-kafka (librdkafka)", version: "2.16.1", language: "Python" };
  return exchanging(client, "rich", () => pythonProgram("confluent.py"));
}

export function kafkaPython(): WireClient {
  const client: Client = { client: "kafka-python", version: "3.0.12", language: "Python" };
  // It refuses null as the value of a header.
  return exchanging(client, "map", () => pythonProgram("kafka_python.py"));
}

export function kafkaJs(): Omit<WireClient, "read"> {
  const client: Client = {
    client: "KafkaJS",
    version: "2.2.4",
    language: "JavaScript",
    remark: "It reads in a consumer group only, so it writes here and others read.",
  };
  return exchanging(client, "map", () => nodeProgram("kafkajs.ts"));
}

export function platformatic(): WireClient {
  const client: Client = {
    client: "@platformatic/kafka",
    version: "2.12.1",
    language: "TypeScript",
    remark: "Its streams need a consumer group; it reads with `Consumer.fetch`, which needs none.",
  };
  return exchanging(client, "map", () => nodeProgram("platformatic.ts"));
}

/** Our own client. */
export function holdfast(): WireClient {
  const path = join(repositoryRoot, "package.json");
  const { version } = JSON.parse(readFileSync(path, "utf8")) as { version: string };
  const client: Client = { client: "holdfast/client", version, language: "TypeScript" };
  return exchanging(client, "rich", () => nodeProgram("holdfast.ts"));
}

async function pythonProgram(file: string): Promise<Program> {
  const packages = await pythonPackages(join(here, "python", "requirements.txt"));
  return {
    command: ["python3", join(here, "python", file)],
    env: { PYTHONPATH: packages, PYTHONDONTWRITEBYTECODE: "1" },
  };
}

async function nodeProgram(file: string): Promise<Program> {
  const ours = join(repositoryRoot, "node_modules/.bin/node");
  const node = existsSync(ours) ? ours : process.execPath;
  const packages = await nodePackages(join(here, "node"));
  return { command: [node, join(here, "node", file)], env: { HOLDFAST_NODE_PACKAGES: packages } };
}

function exchanging(client: Client, dress: Dress, program: () => Promise<Program>): WireClient {
  const launch = async (
    args: readonly string[],
    exchange: Pick<Exchange, "timeoutMs" | "onProgress">,
  ): Promise<Ended> => {
    const { command, env } = await program();
    const [name, ...first] = command;
    return finish(name, [...first, ...args], {
      timeoutMs: exchange.timeoutMs,
      ...(env === undefined ? {} : { env }),
      onLine: (line) => {
        if (line.startsWith("progress ")) exchange.onProgress(Number(line.slice(9)));
      },
    });
  };
  return {
    ...client,
    dress,
    partitionCount: 5,
    tour: async (address, topic, timeoutMs) => {
      await launch(["tour", address, topic], { timeoutMs, onProgress: () => undefined });
    },
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
