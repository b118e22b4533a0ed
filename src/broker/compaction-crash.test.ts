/**
 * A compacted topic in a whole broker whose power fails at any moment, again and again, while it flushes,
 * compacts and collects garbage: after each start a table that is made from the topic is the table that was
 * acknowledged. `COMPACTION_SEEDS` asks for more than the sample.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readBack } from "../../test/read-back.ts";
import { SimulatedBroker } from "../../test/simulated-broker.ts";
import { NO_TOPIC_ID, partitionIndex } from "../base/ids.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { Codec } from "../record/batch.ts";
import { buildBatch } from "../record/builder.ts";
import { SimRandom } from "../sim/random.ts";

const seeds = Number(process.env["COMPACTION_SEEDS"] ?? 2);

const hasty = {
  "holdfast.flush.age.ms": "100",
  "log.cleaner.backoff.ms": "40",
  "log.cleaner.min.cleanable.ratio": "0",
  "log.cleaner.delete.retention.ms": "300",
  "log.retention.check.interval.ms": "100",
  "log.segment.delete.delay.ms": "50",
};

type Table = Map<string, string>;

async function write(broker: SimulatedBroker, random: SimRandom, table: Table, step: number): Promise<void> {
  const timestamp = broker.broker.services.env.clock.wallMs();
  const entries = Array.from({ length: random.between(1, 6) }, (_, i) => ({
    key: `k${random.below(12)}`,
    value: random.chance(0.25) ? null : `${step}-${i}-${"x".repeat(random.below(3_000))}`,
    timestamp,
  }));
  const batch = buildBatch(entries, { codec: random.pick([Codec.none, Codec.gzip, Codec.zstd]) });
  const partitionData = [{ index: partitionIndex(0), records: [batch] }];
  const topicData = [{ name: "table", topicId: NO_TOPIC_ID, partitionData }];
  const request = { transactionalId: null, acks: -1, timeoutMs: 1000, topicData };
  const { responses } = await broker.ask(Produce, request, 12);
  assert.equal(responses[0]?.partitionResponses[0]?.errorCode, 0);
  for (const { key, value } of entries) {
    if (value === null) table.delete(key);
    else table.set(key, value);
  }
}

async function tableOf(broker: SimulatedBroker): Promise<Table> {
  const table: Table = new Map();
  let last = -1;
  for (const { offset, key, value } of await readBack(broker, "table")) {
    assert.ok(offset > last, "offsets rise");
    last = offset;
    const name = Buffer.from(key ?? []).toString();
    if (value === null) table.delete(name);
    else table.set(name, Buffer.from(value).toString());
  }
  return table;
}

/** The beginnings of values tell them apart. */
const sorted = (table: Table) =>
  [...table].map(([key, value]) => `${key}=${value.slice(0, 12)}…${value.length}`).toSorted();

test(`a table outlives ${seeds} × 25 power cuts of a broker that compacts it`, async () => {
  let replacements = 0;
  let records = 0;
  let left = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const random = new SimRandom(seed);
    const broker = await SimulatedBroker.start(hasty, seed);
    const table: Table = new Map();
    await broker.createTopic("table", 1, { "cleanup.policy": "compact" });
    for (let life = 0; life < 25; life++) {
      broker.broker.services.journal.onApplied((event) => {
        if (event.kind !== "slot") return;
        for (const { command, outcome } of event.commands) {
          if (command.kind === "replace" && outcome.kind === "applied") replacements++;
        }
      });
      for (let step = random.between(1, 8); step > 0; step--) {
        await write(broker, random, table, step);
        await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + random.below(120) });
      }
      broker.crash();
      await broker.boot();
      // Until the connection of before has heard that it was cut.
      await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 50 });
      assert.deepEqual(sorted(await tableOf(broker)), sorted(table), `seed ${seed}, life ${life}`);
    }
    const state = broker.broker.services.topics.byName("table")?.partitions[0];
    records += state?.flushed ?? 0;
    for (const { recordCount } of state?.recent ?? []) left += recordCount;
    await broker.stop();
  }
  assert.ok(replacements > seeds * 3, `${replacements} exchanges`);
  assert.ok(left < records / 3, `${left} of ${records} records are left`);
});
