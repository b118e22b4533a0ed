/**
 * What an operator does with Kafka's own command line tools (4.3.0), and what each must print. Every case
 * works on topics of its own.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { kafkaTool } from "./console-tools.ts";

export interface AdminCase {
  readonly tool: string;
  /** A sentence: what the tool is expected to do. */
  readonly name: string;
  run(address: string, topic: string): Promise<void>;
}

const toolMs = 60_000;

/** Runs a tool and answers what it printed; another exit code than 0 is a failure. */
async function said(tool: string, address: string, ...args: string[]): Promise<string> {
  const ended = await kafkaTool(tool, ["--bootstrap-server", address, ...args], { timeoutMs: toolMs });
  assert.equal(
    ended.code,
    0,
    `${tool} ${args.join(" ")}: ${ended.stdout.slice(-1500)} ${ended.stderr.slice(-3000)}`,
  );
  return ended.stdout;
}

export async function createTopic(
  address: string,
  topic: string,
  partitionCount: number,
  ...configs: string[]
): Promise<void> {
  const settings = configs.flatMap((config) => ["--config", config]);
  await said(
    "TopicCommand",
    address,
    "--create",
    "--topic",
    topic,
    "--partitions",
    String(partitionCount),
    "--replication-factor",
    "1",
    ...settings,
  );
}

export async function deleteTopic(address: string, topic: string): Promise<void> {
  await said("TopicCommand", address, "--delete", "--topic", topic);
}

export const adminCases: readonly AdminCase[] = [
  {
    tool: "topics",
    name: "creates, lists, describes, grows and deletes a topic",
    run: async (address, topic) => {
      await createTopic(address, topic, 3, "retention.ms=3600000");
      assert.match(await said("TopicCommand", address, "--list"), new RegExp(`^${topic}$`, "m"));
      const described = await said("TopicCommand", address, "--describe", "--topic", topic);
      assert.match(
        described,
        new RegExp(
          `Topic: ${topic}\\s+TopicId: [A-Za-z0-9_-]{22}\\s+PartitionCount: 3\\s+ReplicationFactor: 1\\s+Configs: .*retention\\.ms=3600000`,
        ),
      );
      assert.equal(described.match(/Leader: \d+\s+Replicas: \d+\s+Isr: \d+/g)?.length, 3, described);
      await said("TopicCommand", address, "--alter", "--topic", topic, "--partitions", "5");
      assert.match(await said("TopicCommand", address, "--describe", "--topic", topic), /PartitionCount: 5/);
      await deleteTopic(address, topic);
      assert.doesNotMatch(await said("TopicCommand", address, "--list"), new RegExp(`^${topic}$`, "m"));
    },
  },
  {
    tool: "topics",
    name: "refuses a topic that exists and fewer partitions, each with Kafka's words",
    run: async (address, topic) => {
      await createTopic(address, topic, 2);
      const refused = async (words: RegExp, ...args: string[]): Promise<void> => {
        const ended = await kafkaTool("TopicCommand", ["--bootstrap-server", address, ...args], {
          timeoutMs: toolMs,
        });
        assert.notEqual(ended.code, 0, args.join(" "));
        assert.match(`${ended.stdout}${ended.stderr}`, words);
      };
      await refused(/TopicExistsException/, "--create", "--topic", topic, "--partitions", "2");
      await refused(/InvalidPartitionsException/, "--alter", "--topic", topic, "--partitions", "1");
      await deleteTopic(address, topic);
    },
  },
  {
    tool: "configs",
    name: "describes, alters and resets the settings of a topic",
    run: async (address, topic) => {
      await createTopic(address, topic, 1);
      const entity = ["--entity-type", "topics", "--entity-name", topic];
      await said(
        "kafka.admin.ConfigCommand",
        address,
        "--alter",
        ...entity,
        "--add-config",
        "retention.ms=7200000,max.message.bytes=2000000",
      );
      const altered = await said("kafka.admin.ConfigCommand", address, "--describe", ...entity);
      assert.match(altered, /retention\.ms=7200000/);
      assert.match(altered, /max\.message\.bytes=2000000/);
      await said(
        "kafka.admin.ConfigCommand",
        address,
        "--alter",
        ...entity,
        "--delete-config",
        "retention.ms",
      );
      assert.doesNotMatch(
        await said("kafka.admin.ConfigCommand", address, "--describe", ...entity),
        /retention\.ms=/,
      );
      assert.match(
        await said("kafka.admin.ConfigCommand", address, "--describe", "--all", ...entity),
        /retention\.ms=604800000/,
      );
      await deleteTopic(address, topic);
    },
  },
  {
    tool: "configs",
    name: "describes the settings of the broker",
    run: async (address) => {
      const nodeId = /^Broker id: (\d+)|\(id: (\d+) rack/m.exec(
        await said("BrokerApiVersionsCommand", address),
      );
      const id = nodeId?.[1] ?? nodeId?.[2] ?? "";
      const described = await said(
        "kafka.admin.ConfigCommand",
        address,
        "--describe",
        "--all",
        "--entity-type",
        "brokers",
        "--entity-name",
        id,
      );
      assert.match(described, /message\.max\.bytes=\d+/);
    },
  },
  {
    tool: "producer performance",
    name: "writes numbered payloads, and get-offsets and the log directories tell how many",
    run: async (address, topic) => {
      await createTopic(address, topic, 1);
      const properties = join(cacheDirectory, "interop", "performance.properties");
      writeFileSync(
        properties,
        `bootstrap.servers=${address}\nacks=all\nenable.idempotence=true\ncompression.type=lz4\n`,
      );
      const args = [
        "--topic",
        topic,
        "--num-records",
        "20000",
        "--throughput",
        "-1",
        "--payload-monotonic",
        "--command-config",
        properties,
      ];
      const ended = await kafkaTool("ProducerPerformance", args, { timeoutMs: toolMs });
      assert.match(ended.stdout, /20000 records sent/, ended.stderr);
      assert.equal(await said("GetOffsetShell", address, "--topic", topic), `${topic}:0:20000\n`);
      assert.equal(
        await said("GetOffsetShell", address, "--topic", topic, "--time", "earliest"),
        `${topic}:0:0\n`,
      );
      assert.match(
        await said("GetOffsetShell", address, "--topic", topic, "--time", "max-timestamp"),
        new RegExp(`^${topic}:0:\\d+\n$`),
      );
      let next = 0;
      const read = [
        "--topic",
        topic,
        "--partition",
        "0",
        "--offset",
        "earliest",
        "--max-messages",
        "20000",
        "--timeout-ms",
        "30000",
      ];
      const consumed = await kafkaTool("consumer.ConsoleConsumer", ["--bootstrap-server", address, ...read], {
        timeoutMs: toolMs,
        onLine: (line) => {
          assert.equal(line, String(next));
          next += 1;
        },
      });
      assert.equal(consumed.code, 0, consumed.stderr);
      assert.equal(next, 20000);
      const directories = await said("LogDirsCommand", address, "--describe", "--topic-list", topic);
      const found = JSON.parse(
        directories.split("\n").find((line) => line.startsWith("{")) ?? "{}",
      ) as LogDirectories;
      const partitions =
        found.brokers?.flatMap((broker) => broker.logDirs.flatMap((directory) => directory.partitions)) ?? [];
      const mine = partitions.find(({ partition }) => partition === `${topic}-0`);
      assert.ok(mine !== undefined && mine.size > 0, directories);
      await deleteTopic(address, topic);
    },
  },
];

interface LogDirectories {
  readonly brokers?: readonly {
    readonly logDirs: readonly {
      readonly partitions: readonly { readonly partition: string; readonly size: number }[];
    }[];
  }[];
}
