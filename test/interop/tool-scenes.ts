/**
 * What an operator of consumer groups does with Kafka's own tools, as scenes that are played against any
 * broker. A scene makes its topics and groups, asks, and keeps what the tools said; two brokers are alike
 * when they said the same, apart from ids, times and the order of rows, which come from hash maps.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { shardIndex } from "../../src/broker/shards.ts";
import type { MemberOptions, Said, ToolShell } from "./tool-shell.ts";

/** What a tool was asked, and what it answered. */
export interface Line {
  readonly asked: string;
  readonly code: number;
  readonly said: readonly string[];
}

export interface Scene {
  /** The tools that it is about. */
  readonly tool: string;
  /** A sentence: what they do. */
  readonly name: string;
  /** Part of the sample. */
  readonly sample: boolean;
  readonly play: (stage: Stage) => Promise<void>;
}

const toolClasses = {
  acls: "AclCommand",
  "client-metrics": "ClientMetricsCommand",
  configs: "kafka.admin.ConfigCommand",
  "console-consumer": "consumer.ConsoleConsumer",
  "consumer-groups": "consumer.group.ConsumerGroupCommand",
  "delete-records": "DeleteRecordsCommand",
  features: "FeatureCommand",
  "get-offsets": "GetOffsetShell",
  groups: "GroupsCommand",
  "leader-election": "LeaderElectionCommand",
  "reassign-partitions": "reassign.ReassignPartitionsCommand",
  "share-groups": "consumer.group.ShareGroupCommand",
  topics: "TopicCommand",
  transactions: "TransactionsCommand",
} as const;

type ToolName = keyof typeof toolClasses;

/** What Kafka's formatters write, as far as it matters here. */
interface FormattedRecord {
  readonly key: unknown;
  readonly value: { readonly data: FormattedData } | null;
}

interface FormattedData {
  readonly members?: { readonly memberId: string }[];
  readonly transactionPartitions?: { readonly topic: string; readonly partitionIds: number[] }[];
}

/** One broker with the tools before it, and everything that they said. */
export class Stage {
  readonly shell: ToolShell;
  /** The same for every broker that is compared: records and questions have times. */
  readonly nowMs: number;
  readonly lines: Line[] = [];
  readonly #name: string;
  #firstEpoch: number | undefined;

  constructor(shell: ToolShell, name: string, nowMs: number) {
    this.shell = shell;
    this.nowMs = nowMs;
    this.#name = name;
  }

  /**
   * Asks a tool (its name, then its arguments), keeps what it says, and answers what it printed as it is.
   * `seen`: what of a row is compared, where two brokers may differ; undefined: nothing of it.
   */
  async ask(command: string, seen: (row: string) => string | undefined = (row) => row): Promise<string> {
    const { code, out, err } = await this.#run(command);
    const said = this.#rows(out + err).flatMap((row) => seen(row) ?? []);
    this.lines.push({ asked: this.#same(command), code, said });
    return out;
  }

  #run(command: string): Promise<Said> {
    const [tool, ...args] = command.split(" ");
    return this.shell.tool(toolClasses[tool as ToolName], ...args);
  }

  /** Reads what `__consumer_offsets` says of a group, with one of Kafka's formatters; keeps the newest of each key. */
  readOffsetsTopic(formatter: string, group: string): Promise<void> {
    return this.#readTopic("__consumer_offsets", formatter, group);
  }

  /**
   * The same of `__transaction_state` and a transactional id; without the former producer id, which Kafka keeps
   * also where nothing can be asked of it any more.
   */
  readTransactionsTopic(transactionalId: string): Promise<void> {
    return this.#readTopic("__transaction_state", "TransactionLogMessageFormatter", transactionalId);
  }

  async #readTopic(topic: string, formatter: string, name: string): Promise<void> {
    const partition = shardIndex(name, internalPartitionCount);
    const from = `--topic ${topic} --partition ${partition} --offset earliest --timeout-ms 2500`;
    const { code, out } = await this.#run(
      `console-consumer ${from} --formatter org.apache.kafka.tools.consumer.${formatter}`,
    );
    const newest = new Map<string, string>();
    // The formatters write one object behind the other.
    for (const line of out.split(/\n|(?<=\})(?=\{"key":)/)) {
      if (!line.includes(`"${name}"`)) continue;
      const { key, value } = JSON.parse(line) as FormattedRecord;
      value?.data.members?.sort((a, b) => (a.memberId < b.memberId ? -1 : 1));
      value?.data.transactionPartitions?.sort((a, b) => (a.topic < b.topic ? -1 : 1));
      for (const { partitionIds } of value?.data.transactionPartitions ?? [])
        partitionIds.sort((a, b) => a - b);
      newest.set(JSON.stringify(key), JSON.stringify(value));
    }
    const said = Array.from(newest, ([key, value]) => this.#same(`${key} = ${value}`)).toSorted();
    this.lines.push({ asked: `${formatter} of ${name}`, code, said });
  }

  async topic(name: string, partitionCount: number): Promise<void> {
    const { code, out, err } = await this.#run(
      `topics --create --topic ${name} --partitions ${partitionCount} --replication-factor 1 --config retention.ms=-1`,
    );
    if (code !== 0) throw new Error(`${name} was not made: ${out} ${err}`);
  }

  /** A file for a tool to read; answers its path, which is not part of what is compared. */
  file(name: string, content: string): string {
    const directory = join(cacheDirectory, "interop", "scenes");
    mkdirSync(directory, { recursive: true });
    const path = join(directory, `${this.#name}-${name}`);
    writeFileSync(path, content);
    return path;
  }

  #rows(text: string): string[] {
    const rows = text
      .split("\n")
      .filter((row) => row.trim() !== "" && !/^\s+at |^\s*\.\.\. \d+ more/.test(row));
    return this.#countedEpochs(rows)
      .map((row) => this.#same(row))
      .toSorted();
  }

  /** Epochs of groups of KIP-848 as distances from the first that was seen: they are ids. */
  #countedEpochs(rows: readonly string[]): readonly string[] {
    const header = rows.find((row) => /\b(GROUP|TARGET|CURRENT|MEMBER)-EPOCH\b/.test(row)) ?? "";
    const columns = Array.from(header.matchAll(/[A-Z-]*\b(GROUP|TARGET|CURRENT|MEMBER|ASSIGNMENT)-EPOCH\b/g));
    return rows.map((row) => {
      let text = row;
      for (const { index } of columns.toReversed()) {
        const [digits] = /^\d+(?=\s|$)/.exec(text.slice(index)) ?? [];
        if (digits === undefined) continue;
        this.#firstEpoch ??= Number(digits);
        const distance = Number(digits) - this.#firstEpoch;
        text = `${text.slice(0, index)}first+${distance}${text.slice(index + digits.length)}`;
      }
      return text;
    });
  }

  /** Without what may differ: addresses, ids, times, and the width of columns. */
  #same(text: string): string {
    return text
      .replaceAll(this.shell.address, "BROKER")
      .replaceAll(join(cacheDirectory, "interop", "scenes", this.#name), "FILE")
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "ID")
      .replaceAll(/(?<![\w/+-])(?!\w+Exception)[\w-]{22}(?![\w/+=-])/g, "ID")
      .replaceAll(/(Timestamp(Ms)?"?[:=])\d+/g, "$1TIME")
      .replaceAll(/"previousProducerId":-?\d+,/g, "")
      .replaceAll(/(roducerId":)\d+/g, "$1ID")
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-][\d:]+)?/g, "TIME")
      .replaceAll(/\s+/g, " ")
      .trim();
  }
}

const hourMs = 3_600_000;
/** Kafka's default, which both have. */
const internalPartitionCount = 50;
const views = ["offsets", "offsets --verbose", "members", "members --verbose", "state", "state --verbose"];

async function describe(stage: Stage, group: string): Promise<void> {
  for (const view of views) await stage.ask(`consumer-groups --describe --group ${group} --${view}`);
}

/** Three partitions: ten records in the first, half of them two hours old; four in the second; none in the third. */
export async function filledTopic(stage: Stage, name: string): Promise<void> {
  await stage.topic(name, 3);
  await stage.shell.produce(name, 0, stage.nowMs - 2 * hourMs, 5);
  await stage.shell.produce(name, 0, stage.nowMs, 5);
  await stage.shell.produce(name, 1, stage.nowMs, 4);
}

/** A group without members that has read a part of both. */
async function idleGroup(stage: Stage, group: string, topic: string): Promise<void> {
  await stage.shell.commit(group, topic, 0, 6, "half-way");
  await stage.shell.commit(group, topic, 1, 4, "");
}

/** A group with two members, one after the other, that have read and committed everything. */
async function livingGroup(
  stage: Stage,
  options: Pick<MemberOptions, "group" | "protocol" | "topic"> & { readonly instances: readonly string[] },
): Promise<void> {
  const { shell } = stage;
  const [first = "", second = ""] = options.instances;
  await shell.join({ ...options, client: `${options.group}-a`, instance: first }, 3);
  await shell.join({ ...options, client: `${options.group}-b`, instance: second }, 1);
  await shell.hold(`${options.group}-a`, 2);
  await shell.settle(`${options.group}-a`);
  await shell.settle(`${options.group}-b`);
}

/** From the first member's arrival until the group is deleted. */
function lifeOf(protocol: "classic" | "consumer", instances: readonly string[]): Scene["play"] {
  return async (stage) => {
    const group = `life-${protocol}${instances.length === 0 ? "" : "-static"}`;
    const topic = `${group}-topic`;
    const ofGroup = `--group ${group}`;
    await filledTopic(stage, topic);
    await livingGroup(stage, { group, protocol, topic, instances });
    await stage.ask("consumer-groups --list --state");
    await describe(stage, group);
    if (protocol === "classic") await stage.readOffsetsTopic("GroupMetadataMessageFormatter", group);
    await stage.ask(`consumer-groups --delete ${ofGroup}`);
    await stage.ask(`consumer-groups --delete-offsets ${ofGroup} --topic ${topic}`);
    const toStart = `consumer-groups --reset-offsets ${ofGroup} --topic ${topic} --to-earliest`;
    await stage.ask(`${toStart} --dry-run`);
    await stage.ask(`${toStart} --execute`);
    await stage.shell.leave(`${group}-b`);
    if (instances.length === 0) {
      await stage.shell.hold(`${group}-a`, 3);
      await describe(stage, group);
    }
    await stage.shell.leave(`${group}-a`);
    await describe(stage, group);
    await stage.ask(`${toStart} --execute`);
    await stage.ask(`consumer-groups --describe ${ofGroup}`);
    await stage.ask(`consumer-groups --delete-offsets ${ofGroup} --topic ${topic}:1`);
    await stage.ask("consumer-groups --describe --all-groups --state");
    if (protocol === "classic") await stage.readOffsetsTopic("GroupMetadataMessageFormatter", group);
    await stage.readOffsetsTopic("OffsetsMessageFormatter", group);
    await stage.ask(`consumer-groups --delete ${ofGroup}`);
    await stage.ask(`consumer-groups --describe ${ofGroup}`);
  };
}

async function listsAndDescribes(stage: Stage): Promise<void> {
  await filledTopic(stage, "by-hand-topic");
  await idleGroup(stage, "by-hand", "by-hand-topic");
  for (const how of ["", " --state", " --type", " --state empty", " --state stable", " --type consumer"]) {
    await stage.ask(`consumer-groups --list${how}`);
  }
  await describe(stage, "by-hand");
  await describe(stage, "nobody");
  await stage.ask("consumer-groups --describe --all-groups");
  await stage.ask("consumer-groups --delete --group by-hand --group nobody");
  await stage.ask("consumer-groups --list");
}

async function resetsToTargets(stage: Stage): Promise<void> {
  const topic = "targets-topic";
  await filledTopic(stage, topic);
  const anHourAgo = new Date(stage.nowMs - hourMs).toISOString().slice(0, -1);
  const targets = [
    "--to-earliest",
    "--to-latest",
    "--to-current",
    "--to-offset 3",
    "--to-offset 99",
    "--shift-by 2",
    "--shift-by -3",
    "--shift-by -99",
    "--by-duration PT1H",
    "--by-duration P1D",
    `--to-datetime ${anHourAgo}`,
    "--to-datetime 2100-01-01T00:00:00.000",
  ];
  for (const [index, target] of targets.entries()) {
    const group = `target-${index}`;
    await idleGroup(stage, group, topic);
    const reset = `consumer-groups --reset-offsets --group ${group} ${target}`;
    const look = `consumer-groups --describe --group ${group} --offsets --verbose`;
    await stage.ask(`${reset} --topic ${topic} --dry-run`);
    await stage.ask(look);
    await stage.ask(`${reset} --topic ${topic}:0 --execute`);
    await stage.ask(look);
    await stage.ask(`${reset} --all-topics --execute`);
    await stage.ask(look);
  }
}

async function resetsFromFiles(stage: Stage): Promise<void> {
  const topic = "plan-topic";
  await filledTopic(stage, topic);
  await idleGroup(stage, "plan-1", topic);
  await idleGroup(stage, "plan-2", topic);
  const reset = "consumer-groups --reset-offsets --group plan-1 --group plan-2";
  const exported = await stage.ask(`${reset} --topic ${topic} --to-earliest --dry-run --export`);
  const plan = stage.file("plan.csv", exported);
  await stage.ask(`${reset} --from-file ${plan} --dry-run`);
  await stage.ask(`${reset} --from-file ${plan} --execute`);
  await stage.ask("consumer-groups --describe --group plan-1 --group plan-2");
  const resetNew = "consumer-groups --reset-offsets --group plan-new";
  const small = stage.file("small.csv", `${topic},0,2\n${topic},1,1\n`);
  await stage.ask(`${resetNew} --from-file ${small} --execute`);
  await stage.ask("consumer-groups --describe --group plan-new");
  await stage.ask(`${resetNew} --topic no-such-topic --to-latest --execute`);
  await stage.ask(`${resetNew} --topic ${topic}:7 --to-latest --execute`);
  await stage.ask("consumer-groups --describe --group plan-new");
  await stage.readOffsetsTopic("OffsetsMessageFormatter", "plan-1");
  await stage.readOffsetsTopic("OffsetsMessageFormatter", "plan-new");
}

async function deletesOffsets(stage: Stage): Promise<void> {
  await filledTopic(stage, "gone-topic");
  await filledTopic(stage, "stay-topic");
  await idleGroup(stage, "gone", "gone-topic");
  await idleGroup(stage, "gone", "stay-topic");
  const look = "consumer-groups --describe --group gone";
  await stage.ask("consumer-groups --delete-offsets --group gone --topic gone-topic:0");
  await stage.ask(look);
  await stage.ask("consumer-groups --delete-offsets --group gone --topic gone-topic");
  await stage.ask(look);
  await stage.ask("consumer-groups --delete-offsets --group gone --topic no-such-topic");
  await stage.ask("consumer-groups --delete-offsets --group nobody --topic stay-topic");
  await stage.ask("consumer-groups --delete-offsets --group gone --topic stay-topic:1");
  await stage.ask("consumer-groups --delete --group gone");
  await stage.ask(look);
  await stage.ask("consumer-groups --delete --group gone");
  await stage.readOffsetsTopic("OffsetsMessageFormatter", "gone");
}

async function deletesRecords(stage: Stage): Promise<void> {
  const topic = "records-topic";
  await filledTopic(stage, topic);
  await idleGroup(stage, "behind", topic);
  const remove = async (name: string, ...wanted: readonly (readonly [number, number])[]) => {
    const partitions = wanted.map(([partition, offset]) => ({ topic, partition, offset }));
    const plan = stage.file(`${name}.json`, JSON.stringify({ partitions, version: 1 }));
    await stage.ask(`delete-records --offset-json-file ${plan}`);
  };
  const ends = ["-1", "-2", "-4", "-5", "latest", "earliest"];
  const times = [...ends, "-3", "max-timestamp"];
  const offsets = async (times: readonly string[]): Promise<void> => {
    for (const time of [...times, stage.nowMs - hourMs, stage.nowMs + hourMs]) {
      await stage.ask(`get-offsets --topic ${topic} --time ${time}`);
    }
  };
  const look = "consumer-groups --describe --group behind";
  await offsets(times);
  await remove("some", [0, 7], [1, 1]);
  await offsets(times);
  await stage.ask(look);
  await remove("less", [0, 3]);
  await remove("too-many", [0, 99]);
  await remove("all", [0, -1], [1, -1], [2, -1]);
  await offsets(ends);
  await stage.ask(look);
  await stage.ask(`consumer-groups --reset-offsets --group behind --topic ${topic} --to-earliest --execute`);
  await stage.ask(`get-offsets --topic-partitions ${topic}:0-2`);
  await stage.ask(`get-offsets --topic ${topic} --partitions 1`);
  await stage.ask("get-offsets --topic no-such-topic");
  await stage.ask("get-offsets --topic __consumer_offsets --exclude-internal-topics");
}

export const scenes: readonly Scene[] = [
  {
    tool: "consumer-groups",
    name: "lists and describes a group whose offsets were committed by hand, and one that is not there",
    sample: true,
    play: listsAndDescribes,
  },
  {
    tool: "consumer-groups, console-consumer",
    name: "follows a group of the classic protocol from its first member to its deletion",
    sample: true,
    play: lifeOf("classic", []),
  },
  {
    tool: "consumer-groups, console-consumer",
    name: "follows a group of KIP-848 from its first member to its deletion",
    sample: false,
    play: lifeOf("consumer", []),
  },
  {
    tool: "consumer-groups, console-consumer",
    name: "follows static members of the classic protocol",
    sample: false,
    play: lifeOf("classic", ["first", "second"]),
  },
  {
    tool: "consumer-groups, console-consumer",
    name: "follows static members of KIP-848",
    sample: false,
    play: lifeOf("consumer", ["first", "second"]),
  },
  {
    tool: "consumer-groups",
    name: "resets offsets to each kind of target, tried out first and then done",
    sample: false,
    play: resetsToTargets,
  },
  {
    tool: "consumer-groups, console-consumer",
    name: "resets offsets from a file that it exported, of several groups and of a new one",
    sample: false,
    play: resetsFromFiles,
  },
  {
    tool: "consumer-groups, console-consumer",
    name: "deletes committed offsets of a topic, of one partition, of what is not there, and groups",
    sample: true,
    play: deletesOffsets,
  },
  {
    tool: "delete-records, get-offsets",
    name: "deletes records, and tells the offsets of what is left",
    sample: true,
    play: deletesRecords,
  },
];
