/**
 * The tree of commands: names, arguments, options, examples. Help, shell completion and `docs/cli.md` are made
 * from it. A command's code is loaded when it is run, never before.
 */
import { Command, type Option } from "commander";
import { addBenchCommands } from "./bench-commands.ts";
import { addBrokerCommands } from "./broker-commands.ts";
import { addBucketCommands } from "./bucket-commands.ts";
import {
  codecs,
  connection,
  type Act,
  configured,
  type Declared,
  declare,
  optionLines,
  hidden,
  hiddenMany,
  json,
  many,
  option,
  wholeNumber,
} from "./declare.ts";
import { addGroupCommands } from "./group-commands.ts";
import { partitionList } from "./partition-choice.ts";
import { addQueueCommands } from "./queue-commands.ts";
import { addTopicCommands } from "./topic-commands.ts";
import { addTxnCommands } from "./txn-commands.ts";

export function commandTree(act: Act): Command {
  const root = new Command("holdfast")
    .usage("[command] [options]")
    .description(
      "A broker that speaks the Kafka protocol, and its tools. An acknowledged message is on disk.\nWithout a command it starts a broker.",
    );
  const add = (parent: Command, declared: Declared): Command => declare(parent, declared, act);

  const start = add(root, {
    name: "start",
    text: "start a broker (the default)",
    examples: [
      { line: "holdfast", text: "on Kafka's port of this machine, data in ./holdfast-data" },
      { line: "holdfast start --listen 127.0.0.1:0 --data /tmp/try", text: "on a free port" },
      {
        line: "holdfast start --store s3://acme-log/orders",
        text: "one of the brokers that share a bucket",
      },
    ],
  });
  for (const option of startOptions) start.addOption(option);

  add(root, {
    name: "produce",
    args: "<topic> [value...]",
    text: "send records: the values given, else the lines of standard input",
    options: [
      ...connection,
      option("-k, --key <key>", "the key of every record"),
      option(
        "-K, --key-separator <text>",
        "each value or line is a key, this text, and the value; \\t is a tab",
      ),
      many("-H, --header <name=value>", "a header of every record; may be repeated"),
      option("-f, --file <path>", "the bytes of this file are the value of one record"),
      option(
        "-p, --partition <n>",
        "this partition; without it the key decides as in Java's client",
        wholeNumber("--partition"),
      ),
      option("--timestamp <time>", "of every record; without it the time of sending"),
      option("--tombstone", "a record without value, which takes back its key"),
      option("--null-value <text>", "a value that is exactly this text becomes no value"),
      option("-z, --compression <codec>", "how batches are compressed").choices(codecs),
      option(
        "--timeout <duration>",
        "how long to try before a record counts as not acknowledged (default 30s)",
      ),
      json("one JSON object for each record"),
      hidden("--topic <topic>"),
      ...hiddenMany("--property <key=value>", "--reader-property <key=value>"),
      hidden("--compression-codec <codec>").choices(codecs),
      hidden("-Z, --empty-as-null"),
      hidden("--request-required-acks <acks>"),
      hidden("--sync"),
    ],
    load: async () => (await import("./commands/produce.ts")).produce,
    examples: [
      { line: 'holdfast produce orders "hello"', text: "one record" },
      { line: "holdfast produce orders -k o-1 -H trace=7 '{\"total\":3}'", text: "with key and header" },
      { line: "holdfast produce orders < lines.txt", text: "a record for each line, bytes as they are" },
      { line: "holdfast produce orders -K : < pairs.txt", text: "lines such as o-1:hello" },
      { line: "holdfast produce orders -k o-1 --tombstone", text: "take back a key" },
    ],
  });

  add(root, {
    name: "consume",
    args: "<topic>",
    text: "print records as they come; Ctrl-C ends it",
    options: [
      ...connection,
      option(
        "-o, --from <position>",
        "start, end (the default), an offset, -N (the last N of each partition), or a time: 10m (ago), 14:30, 2026-11-21T14:30Z, @ms; with --group where the group begins that has committed nothing, by default at the start",
      ),
      option(
        "-g, --group <group>",
        "as a member of this group: go on where it left off, share the partitions, commit what is printed",
      ),
      option("-p, --partition <n>", "only these partitions, such as 0,2,4-7; may be repeated", partitions),
      option("-n, --count <n>", "end after this many records", wholeNumber("--count", 1)),
      option("-u, --until <position>", "end when everything that was there at the start is printed").choices([
        "end",
      ]),
      option(
        "--skip",
        "go on behind records that are gone or damaged, and say which; without it that is an error",
      ),
      option(
        "--uncommitted",
        "also records of transactions that are open or were aborted; without it those are left out, or waited for",
      ),
      option(
        "-f, --format <format>",
        "how a record is printed: %t %p %o %k %v %h %T and more; see `holdfast cheat format`",
      ),
      json("one JSON object for each record; bytes that are not UTF-8 as base64, and flagged"),
      hidden("--topic <topic>"),
      hidden("--from-beginning"),
      hidden("--offset <position>"),
      hidden("--max-messages <n>", wholeNumber("--max-messages", 1)),
      hidden("-c, --limit <n>", wholeNumber("--limit", 1)),
      hidden("-e, --exit-at-end"),
      hidden("-J, --json-envelope"),
      hidden("--num <n>", wholeNumber("--num", 1)),
      hidden("--isolation-level <level>").choices(["read_committed", "read_uncommitted"]),
      ...hiddenMany("--property <key=value>", "--formatter-property <key=value>"),
    ],
    load: async () => (await import("./commands/consume.ts")).consume,
    examples: [
      { line: "holdfast consume orders", text: "what comes from now on" },
      { line: "holdfast consume orders --from start --until end", text: "what is there, then end" },
      {
        line: "holdfast consume orders --from -10 --partition 0",
        text: "the last ten of partition 0, and what follows",
      },
      {
        line: "holdfast consume orders --from 15m --format '%T %k %v\\n'",
        text: "since a quarter of an hour ago",
      },
      { line: "holdfast consume orders --from start --json | jq .value", text: "for other programs" },
      { line: "holdfast consume orders --group billing", text: "as a member of a group" },
    ],
  });

  addTopicCommands(root, act);
  addGroupCommands(root, act);
  addQueueCommands(root, act);
  addTxnCommands(root, act);
  addBenchCommands(root, act);
  addBrokerCommands(root, act);
  addBucketCommands(root, act);

  add(root, {
    name: "inspect",
    args: "<path...>",
    text: "what the bytes of a data directory say: log, segments, journal; works beside a running broker",
    options: [
      option("--batches", "each batch of a log or a segment"),
      option("--records", "each record, too"),
      option("--check", "of a data directory: read everything that it holds"),
      json("one JSON object a line"),
    ],
    load: async () => (await import("./commands/inspect.ts")).inspect,
    examples: [
      { line: "holdfast inspect holdfast-data", text: "what there is, and whether it fits together" },
      { line: "holdfast inspect holdfast-data --check", text: "every checksum of the store" },
    ],
  });
  add(root, {
    name: "doctor",
    text: "what could lose records here: the disk, the ports, settings, a client's configuration",
    options: [
      option("--data <dir>", "the data directory whose disk is looked at (default ./holdfast-data)"),
      option("--listen <host:port>", "the address that a broker shall have"),
      option("--config <file>", "settings of a broker, as for start"),
      many("--set <key=value>", "one setting of a broker, as for start; may be repeated"),
      option("--client-config <file>", "a client's properties file"),
      json("one JSON object for each finding"),
    ],
    load: async () => (await import("./commands/doctor.ts")).doctor,
    examples: [
      { line: "holdfast doctor", text: "this machine, before a start" },
      {
        line: "holdfast doctor --client-config client.properties",
        text: "what a client's settings can lose",
      },
    ],
  });
  add(root, {
    name: "completion",
    args: "<shell>",
    choices: ["bash", "zsh", "fish"],
    text: "a script that completes this command line in your shell",
    load: async () => (await import("./commands/completion.ts")).completion,
    examples: [
      { line: "source <(holdfast completion bash)", text: "also for zsh" },
      { line: "holdfast completion fish | source", text: "" },
    ],
  });
  add(root, {
    name: "cheat",
    args: "[noun]",
    text: "short examples by subject",
    load: async () => (await import("./commands/cheat.ts")).cheat,
    examples: [{ line: "holdfast cheat consume", text: "" }],
  });
  // A start is what comes without a command, so its options are the program's.
  root.addHelpText("after", () => `\nOptions of start:\n${optionLines(start)}`);
  return configured(root);
}

const startOptions: readonly Option[] = [
  option("--listen <host:port>", "for Kafka clients (default 127.0.0.1:9092; port 0 takes a free one)"),
  option("--data <dir>", "where everything is kept, by one broker (default ./holdfast-data)"),
  option(
    "--store <url>",
    "in place of --data: s3://BUCKET/PREFIX or file:DIR, shared with other brokers (env HOLDFAST_STORE)",
  ),
  option("--endpoint <url>", "of the bucket; else AWS_ENDPOINT_URL_S3, else that of the region"),
  option("--region <name>", "of the bucket; else AWS_REGION"),
  option(
    "--http <host:port>",
    "metrics and health (default port 9093 on the same host; a free one when --listen has port 0)",
  ),
  option(
    "--advertise <host:port>",
    "the address that clients are told (default: the one that they connected to)",
  ),
  option("--config <file>", "settings as key=value lines, under Kafka's names"),
  option("--set <key=value>", "one setting; may be repeated, and counts more than the file"),
  option("-v, --version", "the version"),
  option("--insecure", "listen on an address beyond this machine although there is no authentication"),
];

function partitions(text: string, before?: readonly number[]): readonly number[] {
  return [...new Set([...(before ?? []), ...partitionList("--partition", text)])];
}
