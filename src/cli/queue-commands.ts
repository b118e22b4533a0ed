/** The commands of `holdfast queue`. */
import type { Command, Option } from "commander";
import { type Act, connection, declare, json, many, option, wholeNumber } from "./declare.ts";

const selection: readonly Option[] = [
  option("--reason <text>", "only those whose reason has this text; /…/ is a regular expression"),
  option("--since <time>", "only records that are not older: 10m (ago), 14:30, 2026-11-21T14:30Z, @ms"),
  option("--before <time>", "only records that are older"),
  option("-k, --key <key>", "only this key"),
  option("--origin <topic>", "only those that came from this topic"),
  option("-g, --group <group>", "only those of this group"),
  many("--at <n:offset>", "only the letter at this partition and offset; may be repeated"),
  option("-n, --count <n>", "no more than so many", wholeNumber("--count", 1)),
];

export function addQueueCommands(root: Command, act: Act): void {
  const queue = root
    .command("queue")
    .alias("queues")
    .description("look at queues (share groups), and at what they could not handle");
  declare(
    queue,
    {
      name: "list",
      text: "all queues: state, topics, and how many messages wait",
      options: [...connection, json("one JSON object for each queue")],
      load: async () => (await import("./commands/queue-list.ts")).queueList,
      examples: [{ line: "holdfast queue list", text: "" }],
    },
    act,
  );
  declare(
    queue,
    {
      name: "describe",
      args: "<group...>",
      text: "what waits in each partition and since when, and how the queue is set",
      options: [...connection, json("one JSON object for each partition")],
      load: async () => (await import("./commands/queue-describe.ts")).queueDescribe,
      examples: [{ line: "holdfast queue describe emails", text: "" }],
    },
    act,
  );
  declare(
    queue,
    {
      name: "members",
      args: "<group>",
      text: "who works on a queue, and which partitions each takes from",
      options: [...connection, json("one JSON object for each member")],
      load: async () => (await import("./commands/queue-members.ts")).queueMembers,
      examples: [{ line: "holdfast queue members emails", text: "" }],
    },
    act,
  );
  declare(
    queue,
    {
      name: "peek",
      args: "<group>",
      text: "print the oldest messages that are not done, and take none: those that are worked on are among them, and so may be some that were done out of turn",
      options: [
        ...connection,
        option("-n, --count <n>", "so many of each partition (default 10)", wholeNumber("--count", 1)),
        option(
          "-f, --format <format>",
          "how a message is printed: %t %p %o %k %v %h %T and more; see `holdfast cheat format`",
        ),
        json("one JSON object for each message"),
      ],
      load: async () => (await import("./commands/queue-peek.ts")).queuePeek,
      examples: [{ line: "holdfast queue peek emails --count 3", text: "" }],
    },
    act,
  );
  declare(
    queue,
    {
      name: "reset",
      args: "<group>",
      text: "move where a queue without members begins to deliver; what is before that is not delivered any more",
      options: [
        ...connection,
        option("--to <position>", "start, end, an offset, or a time: 10m (ago), 14:30, @ms"),
        many(
          "-t, --topic <topic>",
          "only this topic, or t:0,2,4-7 for some partitions of it; may be repeated",
        ),
        option("--dry-run", "say what would be done, and do nothing"),
        json("one JSON object for each partition"),
      ],
      load: async () => (await import("./commands/queue-reset.ts")).queueReset,
      examples: [
        {
          line: "holdfast queue reset emails --to start --dry-run",
          text: "what delivering everything again means",
        },
        { line: "holdfast queue reset emails --to 1h --topic emails", text: "the last hour again" },
      ],
    },
    act,
  );
  addDeadLetterCommands(queue, act);
}

function addDeadLetterCommands(queue: Command, act: Act): void {
  const dlq = queue.command("dlq").description("look at dead letters, send them again, or drop them");
  const dryRun = option("--dry-run", "say how many it would be, and do nothing");
  declare(
    dlq,
    {
      name: "list",
      text: "all dead-letter topics, and how many letters lie in each",
      options: [...connection, json("one JSON object for each topic")],
      load: async () => (await import("./commands/dlq-list.ts")).dlqList,
      examples: [{ line: "holdfast queue dlq list", text: "" }],
    },
    act,
  );
  declare(
    dlq,
    {
      name: "show",
      args: "<topic>",
      text: "print dead letters: where each came from, why, and what it says",
      options: [
        ...connection,
        ...selection,
        option("--settled", "also those that were redriven or dropped"),
        json("one JSON object for each letter; `redrive --file` takes them back, edited"),
      ],
      load: async () => (await import("./commands/dlq-show.ts")).dlqShow,
      examples: [
        { line: "holdfast queue dlq show dlq.emails --reason timeout --since 1h", text: "" },
        {
          line: "holdfast queue dlq show dlq.emails --json | tee letters.jsonl",
          text: "to be edited and redriven",
        },
      ],
    },
    act,
  );
  declare(
    dlq,
    {
      name: "redrive",
      args: "<topic>",
      text: "send dead letters to where they came from, each once, whatever dies in the middle; run again, it sends the rest",
      options: [
        ...connection,
        ...selection,
        option("--all", "every letter, where nothing else says which"),
        option("--to <topic>", "to this topic, instead of where each came from"),
        option(
          "--file <path>",
          "exactly the letters of this file, with its keys, values and headers: lines as show --json prints them",
        ),
        dryRun,
        json("one JSON object"),
      ],
      load: async () => (await import("./commands/dlq-redrive.ts")).dlqRedrive,
      examples: [
        {
          line: "holdfast queue dlq redrive dlq.emails --reason timeout --dry-run",
          text: "how many it would be",
        },
        { line: "holdfast queue dlq redrive dlq.emails --key o-1", text: "one key" },
        { line: "holdfast queue dlq redrive dlq.emails --file letters.jsonl", text: "after editing" },
      ],
    },
    act,
  );
  declare(
    dlq,
    {
      name: "drop",
      args: "<topic>",
      text: "pass over dead letters from now on: they are neither shown nor redriven, and lie there until retention takes them",
      options: [
        ...connection,
        ...selection,
        option("--all", "every letter, where nothing else says which"),
        dryRun,
        json("one JSON object"),
      ],
      load: async () => (await import("./commands/dlq-redrive.ts")).dlqDrop,
      examples: [{ line: "holdfast queue dlq drop dlq.emails --before 30d", text: "" }],
    },
    act,
  );
}
