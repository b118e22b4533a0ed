/** `holdfast broker list`: the brokers of a cluster, by one of them or by the journal in their store. */
import { type BrokerFacts, brokersByJournal, brokersByProtocol, partitionsOf } from "../broker-facts.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { openNamedStore, type StoreOptions } from "../named-store.ts";
import { formatBytes, formatTable } from "../table.ts";

export interface BrokerListOptions extends ConnectionOptions, StoreOptions {
  readonly store?: string;
  readonly all?: boolean;
  readonly json?: boolean;
}

export async function brokerList({ terminal, options }: Invocation<BrokerListOptions>): Promise<ExitCode> {
  const brokers = await brokersOf(options, terminal);
  await terminal.stdout.write(
    options.json === true
      ? brokers.map((each) => `${JSON.stringify(jsonOf(each))}\n`).join("")
      : tableOf(brokers),
  );
  return exitCodes.done.code;
}

async function brokersOf(
  options: BrokerListOptions,
  terminal: Invocation<BrokerListOptions>["terminal"],
): Promise<readonly BrokerFacts[]> {
  if (options.store !== undefined) {
    const opened = await openNamedStore(options.store, options, terminal.env);
    try {
      return await brokersByJournal(opened.ports, options.all === true);
    } finally {
      opened.close();
    }
  }
  await using client = connect(options, terminal);
  return await brokersByProtocol(client.admin());
}

/** The same names with and without a store; what is not known is null. */
export function jsonOf(broker: BrokerFacts): object {
  const { node, address, name, rack, state, topics, bytes, life } = broker;
  return {
    node,
    address,
    name,
    rack,
    state,
    partitions: partitionsOf(broker),
    topics: Object.fromEntries(topics),
    bytes,
    epoch: life?.epoch ?? null,
    software: life?.software ?? null,
    formatLevel: life?.levelMax ?? null,
    released: life?.released ?? null,
    end: life?.end ?? null,
    neededFrom: life?.neededFrom ?? null,
    lost: life?.lost ?? null,
  };
}

function tableOf(brokers: readonly BrokerFacts[]): string {
  const hasLives = brokers.some(({ life }) => life !== null);
  return formatTable(
    ["NODE", "ADDRESS", "RACK", "STATE", "PARTITIONS", "SIZE", ...(hasLives ? ["EPOCH", "SOFTWARE"] : [])],
    brokers.map((broker) => [
      String(broker.node),
      broker.address,
      broker.rack ?? "–",
      broker.state,
      partitionsOf(broker),
      broker.bytes === null ? "–" : formatBytes(broker.bytes),
      ...(hasLives ? [String(broker.life?.epoch ?? "–"), broker.life?.software ?? "–"] : []),
    ]),
  );
}
