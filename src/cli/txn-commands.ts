/** The commands of `holdfast txn`. */
import type { Command } from "commander";
import { type Act, connection, declare, json, many, option, wholeNumber } from "./declare.ts";

export function addTxnCommands(root: Command, act: Act): void {
  const txn = root
    .command("txn")
    .alias("transaction")
    .alias("transactions")
    .description("look at transactions, and end those that hold up readers");
  declare(
    txn,
    {
      name: "list",
      text: "all transactional ids, with the state of their transactions",
      options: [
        ...connection,
        many("--state <state>", "only those in this state, such as Ongoing; may be repeated"),
        option("--older <duration>", "only transactions that have been open for longer, such as 10m"),
        json("one JSON object for each"),
      ],
      load: async () => (await import("./commands/txn-list.ts")).txnList,
      examples: [
        { line: "holdfast txn list", text: "" },
        { line: "holdfast txn list --state Ongoing --older 1m", text: "what has been open for a minute" },
      ],
    },
    act,
  );
  declare(
    txn,
    {
      name: "describe",
      args: "<id...>",
      text: "the transaction of a transactional id: producer, age, and the partitions that it holds up",
      options: [...connection, json("one JSON object for each")],
      load: async () => (await import("./commands/txn-describe.ts")).txnDescribe,
      examples: [{ line: "holdfast txn describe payments-1", text: "" }],
    },
    act,
  );
  declare(
    txn,
    {
      name: "abort",
      args: "[id]",
      text: "abort the open transaction of an id, whose producer is put out; or with --partition one that hangs",
      options: [
        ...connection,
        option("-p, --partition <topic:n>", "the partition that a hanging transaction holds up"),
        option("--producer <id>", "the producer whose transaction it is", wholeNumber("--producer")),
        option(
          "--start-offset <offset>",
          "instead of --producer: where the transaction begins",
          wholeNumber("--start-offset"),
        ),
        option("--dry-run", "say what would be done, and do nothing"),
        json("one JSON object"),
      ],
      load: async () => (await import("./commands/txn-abort.ts")).txnAbort,
      examples: [
        { line: "holdfast txn abort payments-1", text: "its producer cannot commit any more" },
        { line: "holdfast txn abort --partition orders:3 --producer 4711", text: "one that hangs" },
      ],
    },
    act,
  );
  declare(
    txn,
    {
      name: "hanging",
      text: "open transactions that nobody will end, and that hold up readers of committed records",
      options: [
        ...connection,
        many(
          "-t, --topic <topic>",
          "only this topic, or t:0,2,4-7 for some partitions of it; may be repeated",
        ),
        option("--idle <duration>", "whose producer has written nothing for so long (default 15m)"),
        json("one JSON object for each"),
      ],
      load: async () => (await import("./commands/txn-hanging.ts")).txnHanging,
      examples: [{ line: "holdfast txn hanging --topic orders", text: "" }],
    },
    act,
  );
}
