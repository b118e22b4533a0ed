/** The commands of `holdfast broker`. */
import type { Command } from "commander";
import { bucketOptions } from "./bucket-commands.ts";
import { type Act, connection, declare, json, option } from "./declare.ts";

export function addBrokerCommands(root: Command, act: Act): void {
  const broker = root.command("broker").alias("brokers").description("look at the brokers of a cluster");
  const where = [
    ...connection,
    option("--store <store>", "read the journal in s3://BUCKET/PREFIX or file:DIR, and ask no broker"),
    option("--all", "with --store, also brokers that ended and of which nothing is needed"),
    ...bucketOptions(),
  ];
  declare(
    broker,
    {
      name: "list",
      text: "all brokers: node ids, addresses, racks, who is active, and what each owns",
      options: [...where, json("one JSON object for each broker")],
      load: async () => (await import("./commands/broker-list.ts")).brokerList,
      examples: [
        { line: "holdfast broker list", text: "asks the cluster" },
        { line: "holdfast broker list --store s3://acme-log/prod", text: "also when no broker runs" },
      ],
    },
    act,
  );
  declare(
    broker,
    {
      name: "describe",
      args: "[node...]",
      text: "brokers one by one, by node id or all: what each owns, its software, where its log stands",
      options: [...where, json("one JSON object for each broker")],
      load: async () => (await import("./commands/broker-describe.ts")).brokerDescribe,
      examples: [{ line: "holdfast broker describe 2 --store file:/mnt/shared/log", text: "" }],
    },
    act,
  );
}
