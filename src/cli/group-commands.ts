/** The commands of `holdfast group`. */
import type { Command } from "commander";
import { type Act, connection, declare, hidden, hiddenMany, json, many, option } from "./declare.ts";

export function addGroupCommands(root: Command, act: Act): void {
  const group = root.command("group").alias("groups").description("look at, move and delete consumer groups");
  const topics = many(
    "-t, --topic <topic>",
    "only this topic, or t:0,2,4-7 for some partitions of it; may be repeated",
  );
  declare(
    group,
    {
      name: "list",
      text: "all groups, with type and state",
      options: [
        ...connection,
        many("--state <state>", "only those in this state, such as Stable or Empty; may be repeated"),
        json("one JSON object for each group"),
      ],
      load: async () => (await import("./commands/group-list.ts")).groupList,
      examples: [{ line: "holdfast group list", text: "" }],
    },
    act,
  );
  declare(
    group,
    {
      name: "describe",
      args: "<group...>",
      text: "how far a group has got, who reads what, and how far it is behind, in records and in time",
      options: [
        ...connection,
        topics,
        json("one JSON object for each partition"),
        hidden("--group <group>"),
        hidden("--members"),
        hidden("--offsets"),
        hidden("--verbose"),
      ],
      load: async () => (await import("./commands/group-describe.ts")).groupDescribe,
      examples: [{ line: "holdfast group describe billing", text: "" }],
    },
    act,
  );
  declare(
    group,
    {
      name: "seek",
      args: "<group>",
      text: "move a group that has no members; where it stood is kept in a file that brings it back",
      options: [
        ...connection,
        option(
          "--to <position>",
          "start, end, an offset, +N or -N (from where it stands), a time: 10m (ago), 14:30, @ms; or where another group stands: its name",
        ),
        option("--to-group <group>", "where this group stands, whatever its name looks like"),
        option(
          "--from-file <file>",
          "where the file says: topic,partition,offset a line, as an undo file has it",
        ),
        topics,
        option("--dry-run", "say what would be done, and do nothing"),
        option("--undo <file>", "where to keep where it stood (default ./holdfast-undo-GROUP-TIME.csv)"),
        json("one JSON object for each partition"),
        hidden("--group <group>"),
        hidden("--all-topics"),
        hidden("--execute"),
        hidden("--to-earliest"),
        hidden("--to-latest"),
        hidden("--to-current"),
        hidden("--to-offset <offset>"),
        hidden("--to-datetime <time>"),
        hidden("--shift-by <n>"),
      ],
      load: async () => (await import("./commands/group-seek.ts")).groupSeek,
      examples: [
        {
          line: "holdfast group seek billing --to 30m --dry-run",
          text: "what going back half an hour means",
        },
        { line: "holdfast group seek billing --to start --topic orders", text: "read orders again" },
        { line: "holdfast group seek billing --to +1 --topic orders:3", text: "pass over one record" },
        { line: "holdfast group seek copy --to billing", text: "another group goes on where billing stands" },
        {
          line: "holdfast group seek billing --from-file holdfast-undo-billing-1.csv",
          text: "take a seek back",
        },
      ],
    },
    act,
  );
  declare(
    group,
    {
      name: "delete",
      args: "<group...>",
      text: "forget groups without members, or with --topic how far they got in a topic that nobody reads",
      options: [
        ...connection,
        topics,
        option("--if-exists", "a group that does not exist is fine"),
        json("one JSON object for each group"),
        hidden("--group <group>"),
        ...hiddenMany("--state <state>"),
      ],
      load: async () => (await import("./commands/group-delete.ts")).groupDelete,
      examples: [
        { line: "holdfast group delete billing", text: "" },
        { line: "holdfast group delete billing --topic orders", text: "" },
      ],
    },
    act,
  );
}
