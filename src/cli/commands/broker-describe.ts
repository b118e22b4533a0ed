/** `holdfast broker describe`: one broker or several, with what each owns and where its log stands. */
import { brokerEpoch } from "../../base/ids.ts";
import { RefusedError } from "../../base/errors.ts";
import {
  type BrokerFacts,
  type BrokerLife,
  brokersByJournal,
  brokersByProtocol,
  partitionsOf,
  slotsOf,
} from "../broker-facts.ts";
import { connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { openNamedStore } from "../named-store.ts";
import { formatBytes, formatCount } from "../table.ts";
import { type Paint, paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import { type BrokerListOptions, jsonOf } from "./broker-list.ts";

type Slots = Awaited<ReturnType<typeof slotsOf>>;

interface Described {
  readonly broker: BrokerFacts;
  /** Of an object log; null: none is in the store, or nobody looked. */
  readonly slots: Slots;
}

export async function brokerDescribe({
  terminal,
  args,
  options,
}: Invocation<BrokerListOptions>): Promise<ExitCode> {
  const nodes = args.map((arg) => {
    if (!/^\d+$/.test(arg)) throw new UsageError(`"${arg}" is no node id: holdfast broker list shows them.`);
    return Number(arg);
  });
  const paint = paintFor(terminal.stdout, terminal.env);
  const described = await describedOf(nodes, options, terminal);
  for (const [index, { broker, slots }] of described.entries()) {
    await terminal.stdout.write(
      options.json === true
        ? `${JSON.stringify({ ...jsonOf(broker), slots })}\n`
        : `${index === 0 ? "" : "\n"}${textOf(broker, slots, paint)}`,
    );
  }
  return exitCodes.done.code;
}

async function describedOf(
  nodes: readonly number[],
  options: BrokerListOptions,
  terminal: Invocation<BrokerListOptions>["terminal"],
): Promise<readonly Described[]> {
  if (options.store === undefined) {
    await using client = connect(options, terminal);
    const brokers = chosen(nodes, await brokersByProtocol(client.admin()));
    return brokers.map((broker) => ({ broker, slots: null }));
  }
  const opened = await openNamedStore(options.store, options, terminal.env);
  try {
    const brokers = chosen(nodes, await brokersByJournal(opened.ports, options.all === true));
    const described: Described[] = [];
    for (const broker of brokers) {
      const { life } = broker;
      const slots = life?.wal === "object" ? await slotsOf(opened.ports, brokerEpoch(life.epoch)) : null;
      described.push({ broker, slots });
    }
    return described;
  } finally {
    opened.close();
  }
}

function chosen(nodes: readonly number[], all: readonly BrokerFacts[]): readonly BrokerFacts[] {
  for (const node of nodes) {
    if (all.some((each) => each.node === node)) continue;
    const known = [...new Set(all.map((each) => each.node))].join(", ");
    throw new RefusedError(
      `No broker has the node id ${node}; the cluster has ${known === "" ? "none" : known}.`,
    );
  }
  return nodes.length === 0 ? all : all.filter(({ node }) => nodes.includes(node));
}

function textOf(broker: BrokerFacts, slots: Slots, paint: Paint): string {
  const { node, address, name, rack, state, topics, bytes, life } = broker;
  const head = [
    paint("bold", `broker ${node}`),
    address,
    ...(name === null || name === address ? [] : [`known as ${name}`]),
    ...(rack === null ? [] : [`rack ${rack}`]),
    state,
  ];
  const owned = [...topics].map(([topic, count]) => `${topic} ${formatCount(count)}`).sort();
  const rows: [string, string][] = [
    [
      "partitions",
      `${formatCount(partitionsOf(broker))}${owned.length === 0 ? "" : `: ${owned.join(", ")}`}`,
    ],
    ["size", bytes === null ? "unknown, it does not answer" : formatBytes(bytes)],
    ...(life === null ? [] : rowsOf(life, slots)),
  ];
  const lines = rows.map(([what, text]) => `  ${what.padEnd(10)}  ${text}`);
  if (life === null) {
    lines.push(paint("dim", "  With --store the journal tells epochs, software and where logs stand."));
  }
  return `${head.join("   ")}\n${lines.join("\n")}\n`;
}

function rowsOf(life: BrokerLife, slots: Slots): [string, string][] {
  const { epoch, software, levelMax, wal, released, lost } = life;
  const unit = wal === "object" ? "slot" : "position";
  const log = [
    slots === null
      ? wal === "object"
        ? "no slot in the store"
        : "in files of its data directory"
      : `${formatCount(slots.count)} slot${slots.count === 1 ? "" : "s"} in the store, ${slots.first} to ${slots.last}`,
    `released below ${unit} ${released}`,
    ...needOf(life, unit),
  ];
  return [
    ["epoch", `${epoch}, ${software}, format level up to ${levelMax}`],
    ["log", log.join("; ")],
    ...lost.map((text): [string, string] => ["lost", text]),
  ];
}

/** Of a log that goes on only what others need below its release; of one that ended, whether it is needed. */
function needOf({ end, neededFrom, released }: BrokerLife, unit: string): readonly string[] {
  if (end !== null) {
    const need = neededFrom === null ? "nothing of it is needed" : `needed from ${unit} ${neededFrom}`;
    return [`ended at ${unit} ${end}`, need];
  }
  const isNeededBelow = neededFrom !== null && neededFrom < released;
  return isNeededBelow ? [`partitions that moved away need it from ${unit} ${neededFrom}`] : [];
}
