import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { NO_TOPIC_ID, partitionIndex, producerEpoch, producerId } from "../../base/ids.ts";
import { parseBootstrap } from "../../client/address.ts";
import { Connection } from "../../client/connection.ts";
import { clientSettings } from "../../client/settings.ts";
import { createClient } from "../../entry/client.ts";
import { startBroker, type TestBroker } from "../../entry/testing.ts";
import { systemClock } from "../../io/clock.ts";
import { systemRandom } from "../../io/random.ts";
import { tcp } from "../../io/tcp.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { buildBatch } from "../../record/builder.ts";
import { silentLogger } from "../../sim/silence.ts";
import { runProgram } from "../program.ts";
import { TestTerminal } from "../terminal-fixture.ts";

let broker: TestBroker;
before(async () => {
  broker = await startBroker({
    topics: [{ name: "orders", partitions: 2 }, "stuck"],
    // So that a transaction can be made to hang, as brokers before Apache Kafka 3.6 let it.
    settings: { "transaction.partition.verification.enable": "false" },
  });
});
after(() => broker.close());

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(line: string): Promise<Ran> {
  const on = new TestTerminal();
  on.env["HOLDFAST_BOOTSTRAP"] = broker.address;
  const code = await runProgram(line.split(" "), on);
  return { code, stdout: on.stdout.text, stderr: on.stderr.text };
}

const json = ({ stdout }: Ran): readonly { readonly [name: string]: unknown }[] =>
  stdout
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as { [name: string]: unknown });

/** A transactional record of a producer of which no coordinator knows. */
async function hang(topic: string): Promise<void> {
  const settings = clientSettings(
    { bootstrap: broker.address },
    {
      clock: systemClock,
      random: systemRandom(),
      dialer: tcp,
      log: silentLogger,
      software: { name: "test", version: "1" },
    },
  );
  const [address] = parseBootstrap(broker.address);
  assert(address !== undefined);
  const connection = await Connection.open(address, settings);
  const batch = buildBatch([{ key: null, value: Buffer.from("stuck"), timestamp: Date.now() }], {
    producerId: producerId(4711),
    producerEpoch: producerEpoch(3),
    baseSequence: 0,
    isTransactional: true,
  });
  const answer = await connection.call(
    Produce,
    {
      transactionalId: "forgotten",
      acks: -1,
      timeoutMs: 1_000,
      topicData: [
        {
          name: topic,
          topicId: NO_TOPIC_ID,
          partitionData: [{ index: partitionIndex(0), records: [batch] }],
        },
      ],
    },
    { versionMax: 11 },
  );
  connection.close();
  assert.equal(answer.responses[0]?.partitionResponses[0]?.errorCode, 0);
}

describe("holdfast txn", () => {
  it("list and describe tell of a transaction that is open, and abort ends it and puts its producer out", async () => {
    assert.match((await run("txn list")).stderr, /^There are no transactional ids\.\n$/);
    await using client = createClient({ bootstrap: broker.address });
    const producer = client.producer({ transactionalId: "payments", transactionTimeoutMs: 30_000 });
    const opened = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<void>();
    const transaction = producer.transaction(async (tx) => {
      await tx.send({ topic: "orders", partition: 1, value: "never" });
      opened.resolve();
      await aborted.promise;
    });
    const rejected = assert.rejects(transaction, /Another producer has come as "payments"/);
    await opened.promise;
    const listed = await run("txn list");
    assert.match(listed.stdout, /^ID +STATE +PRODUCER +COORDINATOR\npayments +Ongoing +\d+ +\d+\n$/);
    assert.deepEqual(json(await run("txn list --state Ongoing --older 1h --json")), []);
    const { stdout } = await run("txn describe payments");
    assert.match(
      stdout,
      /^payments {3}Ongoing {3}producer \d+, epoch \d+ {3}open for \S+ s of 30 s\n\nTOPIC +PARTITION\norders +1\n$/,
    );
    assert.equal((await run("txn abort payments --dry-run")).stdout.startsWith("would be done: "), true);
    const done = await run("txn abort payments");
    assert.deepEqual(done, {
      code: 0,
      stdout: '✓ transaction of "payments" aborted in 1 partition, and its producer put out\n',
      stderr: "",
    });
    aborted.resolve();
    await rejected;
    const reading = "consume orders --from start --until end --format %v";
    assert.equal((await run(reading)).stdout, "");
    assert.equal((await run(`${reading} --uncommitted`)).stdout, "never");
    const again = await run("txn abort payments");
    assert.equal(again.code, 1);
    assert.match(again.stderr, /"payments" has no open transaction to abort: its state is \w+\.\n$/);
    assert.match((await run("txn describe payments")).stdout, /aborted after .*\n\nNothing is open\.\n$/);
  });

  it("abort makes no id that is not there", async () => {
    const { code, stderr } = await run("txn abort nobody");
    assert.equal(code, 1);
    assert.match(stderr, /TRANSACTIONAL_ID_NOT_FOUND/);
    assert(!(await run("txn list")).stdout.includes("nobody"));
  });

  it("hanging finds what no coordinator will end, and abort ends it in its partition", async () => {
    await hang("stuck");
    assert.match((await run("txn hanging")).stderr, /^No transaction hangs\.\n$/);
    const found = await run("txn hanging --topic stuck --idle 0s");
    assert.match(found.stdout, /^TOPIC +PARTITION +PRODUCER .*\nstuck +0 +4711 +3 +0 +\S+ s +–\n$/);
    assert.equal(json(await run("txn hanging --idle 0s --json"))[0]?.["producerId"], 4711);
    await run("produce stuck behind");
    const reading = "consume stuck --from start --until end --format %v,";
    assert.equal((await run(reading)).stdout, "");
    assert.equal((await run("txn abort --partition stuck:0 --producer 1")).code, 1);
    const done = await run("txn abort --partition stuck:0 --start-offset 0 --json");
    assert.deepEqual(json(done), [
      { topic: "stuck", partition: 0, producerId: 4711, openFrom: 0, aborted: true },
    ]);
    assert.equal((await run(reading)).stdout, "behind,");
    assert.match((await run("txn hanging --idle 0s")).stderr, /^No transaction hangs\.\n$/);
  });

  it("says what is lacking on the command line, and which topic is not there", async () => {
    for (const line of [
      "txn abort",
      "txn abort a --partition t:0 --producer 1",
      "txn abort --partition t --producer 1",
      "txn abort --partition t:0",
      "txn list --older soon",
    ]) {
      const { code, stderr } = await run(line);
      assert.equal(code, 2, `${line}: ${stderr}`);
    }
    assert.match((await run("txn hanging --topic ordres")).stderr, /There is no topic "ordres"/);
  });
});
