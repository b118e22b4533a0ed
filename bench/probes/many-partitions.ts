/** What a batch costs the broker when there are more partitions, with batches of the same size. */
import { finish, useOf } from "../../tools/processes.ts";
import type { Broker } from "../../tools/brokers.ts";
import { benchProgram, createTopic } from "../loads.ts";
import { spreadOf, verdictAtMost } from "../stats.ts";
import { type Probe, withHoldfast } from "./probe.ts";

const ratioMax = 1.25;
const [fewPartitions, manyPartitions] = [1000, 5000] as const;
const recordBytes = 1000;
const recordsPerBatch = 10;
/** Enough for several flushes, which visit every partition that was written to. */
const batchesPerRun = 20_000;
const runMs = 120_000;

export const manyPartitionsCost: Probe = {
  name: "many-partitions",
  run: async ({ quick }) => {
    const ratios: number[] = [];
    const microseconds: Record<"few" | "many", number[]> = { few: [], many: [] };
    await withHoldfast({}, (few) =>
      withHoldfast({}, async (many) => {
        await createTopic(few, "even", fewPartitions);
        await createTopic(many, "even", manyPartitions);
        // The first run of each warms up.
        for (let pair = 0; pair < (quick ? 2 : 8); pair += 1) {
          const sides = [
            { name: "few", broker: few, partitions: fewPartitions },
            { name: "many", broker: many, partitions: manyPartitions },
          ] as const;
          for (const { name, broker, partitions } of pair % 2 === 0 ? sides : sides.toReversed())
            microseconds[name].push(await microsecondsPerBatch(broker, partitions, quick));
          const [a, b] = [microseconds.few.at(-1), microseconds.many.at(-1)];
          if (pair > 0 && a !== undefined && b !== undefined) ratios.push(b / a);
        }
      }),
    );
    const spread = spreadOf(ratios);
    const [a, b] = [spreadOf(microseconds.few).median, spreadOf(microseconds.many).median];
    return {
      sentence: `CPU of a batch of ${recordsPerBatch} KB at ${manyPartitions} partitions ${b.toFixed(0)} µs, at ${fewPartitions} ${a.toFixed(0)} µs: ${spread.median.toFixed(2)}×, at most ${ratioMax}`,
      verdict: verdictAtMost(spread, ratioMax),
      values: ratios,
    };
  },
};

async function microsecondsPerBatch(broker: Broker, partitions: number, quick: boolean): Promise<number> {
  const batches = quick ? batchesPerRun / 4 : batchesPerRun;
  const numbers = [partitions, batches * recordsPerBatch, recordBytes, recordsPerBatch];
  const before = useOf(broker.pid()).cpuSeconds;
  await finish(await benchProgram(), ["even", broker.address, "even", ...numbers.map(String)], {
    timeoutMs: runMs,
  });
  return ((useOf(broker.pid()).cpuSeconds - before) / batches) * 1e6;
}
