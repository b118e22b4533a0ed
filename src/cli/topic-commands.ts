/** The commands of `holdfast topic`. */
import type { Command } from "commander";
import {
  type Act,
  connection,
  declare,
  hidden,
  hiddenMany,
  json,
  many,
  option,
  wholeNumber,
} from "./declare.ts";

export function addTopicCommands(root: Command, act: Act): void {
  const topic = root
    .command("topic")
    .alias("topics")
    .description("create, look at, change and delete topics");
  declare(
    topic,
    {
      name: "list",
      args: "[topic...]",
      text: "all topics, or those that are named, with their partitions and records",
      options: [...connection, json("one JSON object for each topic"), hidden("--topic <topic>")],
      load: async () => (await import("./commands/topic-list.ts")).topicList,
      examples: [{ line: "holdfast topic list", text: "" }],
    },
    act,
  );
  declare(
    topic,
    {
      name: "create",
      args: "<topic...>",
      text: "create topics",
      options: [
        ...connection,
        option(
          "--partitions <n>",
          "how many; without it the broker's num.partitions",
          wholeNumber("--partitions", 1),
        ),
        many("--set <key=value>", "a setting of the topic, such as retention.ms=86400000; may be repeated"),
        option("--if-not-exists", "a topic that exists already is fine, as it is"),
        json("one JSON object for each topic"),
        hidden("--replication-factor <n>", wholeNumber("--replication-factor", 1)),
        ...hiddenMany("--config <key=value>"),
        hidden("--topic <topic>"),
      ],
      load: async () => (await import("./commands/topic-create.ts")).topicCreate,
      examples: [
        { line: "holdfast topic create orders --partitions 6", text: "" },
        { line: "holdfast topic create events --set retention.ms=3600000", text: "records stay for an hour" },
      ],
    },
    act,
  );
  declare(
    topic,
    {
      name: "describe",
      args: "<topic...>",
      text: "partitions, offsets, and settings with where each comes from",
      options: [
        ...connection,
        option("-a, --all", "also the settings that have their default"),
        json("one JSON object for each topic"),
        hidden("--topic <topic>"),
      ],
      load: async () => (await import("./commands/topic-describe.ts")).topicDescribe,
      examples: [{ line: "holdfast topic describe orders", text: "" }],
    },
    act,
  );
  declare(
    topic,
    {
      name: "alter",
      args: "<topic>",
      text: "add partitions, set or unset settings",
      options: [
        ...connection,
        option(
          "--partitions <n>",
          "how many there shall be in all; never fewer than there are",
          wholeNumber("--partitions", 1),
        ),
        many("--set <key=value>", "a setting; may be repeated"),
        many("--unset <key>", "back to the broker's value; may be repeated"),
        json("one JSON object"),
        ...hiddenMany("--config <key=value>", "--add-config <key=value>", "--delete-config <key>"),
        hidden("--topic <topic>"),
      ],
      load: async () => (await import("./commands/topic-alter.ts")).topicAlter,
      examples: [
        {
          line: "holdfast topic alter orders --partitions 12",
          text: "keys may go to other partitions from then on",
        },
        {
          line: "holdfast topic alter orders --set retention.bytes=1073741824 --unset retention.ms",
          text: "",
        },
      ],
    },
    act,
  );
  declare(
    topic,
    {
      name: "delete",
      args: "<topic...>",
      text: "delete topics with their records; nothing brings them back",
      options: [
        ...connection,
        option("--if-exists", "a topic that does not exist is fine"),
        json("one JSON object for each topic"),
        hidden("--topic <topic>"),
      ],
      load: async () => (await import("./commands/topic-delete.ts")).topicDelete,
      examples: [{ line: "holdfast topic delete orders", text: "" }],
    },
    act,
  );
  declare(
    topic,
    {
      name: "purge",
      args: "<topic>",
      text: "delete the oldest records of a topic, or all, and keep the topic; nothing brings them back",
      options: [
        ...connection,
        option("--before <position>", "what goes: all records below this offset, or all there are now: end"),
        many("-p, --partition <n>", "only this partition; may be repeated"),
        json("one JSON object for each partition"),
        hidden("--topic <topic>"),
      ],
      load: async () => (await import("./commands/topic-purge.ts")).topicPurge,
      examples: [
        { line: "holdfast topic purge orders --before end", text: "all records" },
        { line: "holdfast topic purge orders --partition 0 --before 1200", text: "" },
      ],
    },
    act,
  );
  declare(
    topic,
    {
      name: "segments",
      args: "[topic...]",
      text: "bytes on disk of each partition",
      options: [...connection, json("one JSON object for each partition"), hidden("--topic <topic>")],
      load: async () => (await import("./commands/topic-segments.ts")).topicSegments,
      examples: [{ line: "holdfast topic segments orders", text: "" }],
    },
    act,
  );
}
