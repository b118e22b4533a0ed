/**
 * What an operator does with `kafka-transactions` and what else of Kafka's tools shows transactions: scenes as
 * those of tool-scenes.ts. Ids of producers are each broker's own, and not compared.
 */
import type { Scene, Stage } from "./tool-scenes.ts";

/** Numbers in these columns are ids or times; what says that there is none is compared. */
const without =
  (...columns: readonly number[]) =>
  (row: string): string =>
    row
      .split(" ")
      .map((cell, index) => (columns.includes(index) && /^\d+$/.test(cell) ? "N" : sorted(cell)))
      .join(" ");

/** Partitions come from a set. */
const sorted = (cell: string): string =>
  cell
    .split(",")
    .toSorted((a, b) => a.localeCompare(b))
    .join(",");

/** TransactionalId Coordinator ProducerId TransactionState */
const ofList = without(2);
/** CoordinatorId TransactionalId ProducerId ProducerEpoch State TimeoutMs StartTimeMs DurationMs Partitions */
const ofDescription = without(2, 6, 7);
/** ProducerId ProducerEpoch LatestCoordinatorEpoch LastSequence LastTimestamp StartOffset */
const ofProducers = without(0, 4);

const minuteMs = 60_000;

/** A transaction over two partitions that stays open. */
async function openTransaction(stage: Stage, id: string, topic: string): Promise<void> {
  await stage.shell.transactional(id, 10 * minuteMs);
  await stage.shell.begin(id);
  await stage.shell.send(id, topic, 0, 3);
  await stage.shell.send(id, topic, 1, 2);
}

/** Kafka answers when it knows how the transaction ends, and then writes the markers; Holdfast waits for them. */
async function end(stage: Stage, id: string, how: "commit" | "abort"): Promise<string> {
  const ended = await stage.shell.end(id, how);
  for (let tries = 0; tries < 100; tries++) {
    const { out } = await stage.shell.tool("TransactionsCommand", "list");
    if (!out.includes("Prepare")) break;
  }
  return ended;
}

async function lookAt(stage: Stage, id: string, topic: string): Promise<void> {
  await stage.ask("transactions list", ofList);
  await stage.ask(`transactions describe --transactional-id ${id}`, ofDescription);
  for (const partition of [0, 1]) {
    await stage.ask(`transactions describe-producers --topic ${topic} --partition ${partition}`, ofProducers);
    for (const isolation of ["read_committed", "read_uncommitted"]) {
      const from = `--topic ${topic} --partition ${partition} --offset earliest --timeout-ms 1500`;
      await stage.ask(`console-consumer ${from} --isolation-level ${isolation}`);
    }
  }
  await stage.readTransactionsTopic(id);
}

async function followsTransactions(stage: Stage): Promise<void> {
  const [id, topic] = ["life-txn", "life-txn-topic"];
  await stage.topic(topic, 2);
  await stage.shell.produce(topic, 0, stage.nowMs, 2);
  await stage.shell.transactional(id, 10 * minuteMs);
  await lookAt(stage, id, topic);
  for (const how of ["commit", "abort"] as const) {
    await openTransaction(stage, id, topic);
    await stage.shell.commitWithin(id, "life-txn-group", topic, 0, 1);
    await lookAt(stage, id, topic);
    await stage.ask("consumer-groups --describe --group life-txn-group");
    await end(stage, id, how);
    await lookAt(stage, id, topic);
    await stage.ask("consumer-groups --describe --group life-txn-group");
  }
  // A new process under the same id ends what the old one left open.
  await openTransaction(stage, id, topic);
  await stage.shell.transactional(id, minuteMs);
  await lookAt(stage, id, topic);
}

async function filters(stage: Stage): Promise<void> {
  const topic = "filter-txn-topic";
  await stage.topic(topic, 2);
  await openTransaction(stage, "filter-a", topic);
  await openTransaction(stage, "filter-b", topic);
  await end(stage, "filter-b", "commit");
  for (const filter of [
    "--duration-filter 0",
    "--duration-filter 3600000",
    "--duration-filter -5",
    "--transactional-id-pattern filter-.*",
    "--transactional-id-pattern filter-a",
    "--transactional-id-pattern filter",
    "--transactional-id-pattern .*-a --duration-filter 0",
    "--transactional-id-pattern [",
  ]) {
    await stage.ask(`transactions list ${filter}`, ofList);
  }
  await stage.ask("transactions describe --transactional-id nobody", ofDescription);
  await stage.ask(
    `transactions describe-producers --topic ${topic} --partition 0 --broker-id 1`,
    ofProducers,
  );
  await stage.ask(`transactions find-hanging --topic ${topic} --max-transaction-timeout 0`);
  await stage.ask(`transactions find-hanging --topic ${topic} --partition 0`);
  await stage.ask("transactions find-hanging --topic no-such-topic");
  await stage.ask("transactions find-hanging --partition 0");
  await stage.ask("transactions find-hanging --broker-id 1 --max-transaction-timeout 0");
  await stage.ask("transactions find-hanging");
  await end(stage, "filter-a", "abort");
}

async function abortsByHand(stage: Stage): Promise<void> {
  const topic = "hand-txn-topic";
  await stage.topic(topic, 2);
  await openTransaction(stage, "hand", topic);
  const abort = `transactions abort --topic ${topic} --partition 0`;
  await stage.ask(`${abort} --start-offset 1`);
  await stage.ask(`${abort} --producer-id 1`);
  await stage.ask(`${abort} --start-offset 0`);
  await lookAt(stage, "hand", topic);
  await stage.ask(`${abort} --start-offset 0`);
  // The coordinator knows nothing of what was done by hand: the rest of the transaction can be ended.
  const ended = await end(stage, "hand", "commit");
  stage.lines.push({ asked: "to commit the rest", code: 0, said: [ended] });
  await lookAt(stage, "hand", topic);
}

async function terminates(stage: Stage): Promise<void> {
  const topic = "force-txn-topic";
  await stage.topic(topic, 2);
  await openTransaction(stage, "force", topic);
  const terminate = "transactions forceTerminateTransaction --transactionalId";
  await stage.ask(`${terminate} force`);
  await lookAt(stage, "force", topic);
  const ended = await end(stage, "force", "commit");
  stage.lines.push({ asked: "to commit what was terminated", code: 0, said: [ended] });
  await lookAt(stage, "force", topic);
  await stage.ask(`${terminate} force`);
  await stage.ask(`${terminate} nobody`);
  await stage.ask("transactions list", ofList);
}

export const transactionScenes: readonly Scene[] = [
  {
    tool: "transactions, console-consumer, consumer-groups",
    name: "follows a transactional id through commit, abort and a new process",
    sample: true,
    play: followsTransactions,
  },
  {
    tool: "transactions",
    name: "lists by duration and name, and finds no hanging transaction where none is",
    sample: false,
    play: filters,
  },
  {
    tool: "transactions, console-consumer",
    name: "aborts a transaction on one partition by hand, and the coordinator ends the rest",
    sample: false,
    play: abortsByHand,
  },
  {
    tool: "transactions, console-consumer",
    name: "terminates a transaction, whose producer hears of it",
    sample: false,
    play: terminates,
  },
];
