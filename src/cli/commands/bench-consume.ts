/** `holdfast bench consume`: how many records a second are read, from the start of a topic to where it ends now. */
import { BenchInterrupt } from "../bench-interrupt.ts";
import { type BenchOptions, checkFigureOptions, recordsOf } from "../bench-load.ts";
import { connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { Measurement, tellFigures } from "../measurement.ts";

export async function benchConsume({ terminal, options }: Invocation<BenchOptions>): Promise<ExitCode> {
  checkFigureOptions(options);
  const { topic } = options;
  const total = recordsOf(options, Number.POSITIVE_INFINITY);
  const client = connect(options, terminal);
  const interrupt = new BenchInterrupt(terminal);
  const consumer = client.consumer({ topic, from: "start", until: "end" });
  interrupt.onHappen(() => void consumer.close());
  try {
    // Reaching the broker is no part of what is measured.
    await client.connect();
    const measurement = new Measurement(terminal, total);
    measurement.begin();
    for await (const { records } of consumer.batches()) {
      for (const record of records) {
        measurement.add(record.value?.length ?? 0, null);
        if (measurement.records >= total) break;
      }
      await measurement.progress();
      if (measurement.records >= total) break;
    }
    measurement.end();
    await measurement.clearProgress();
    await tellFigures(terminal, options, measurement.figures("consume", topic), null);
    return interrupt.happened ? exitCodes.interrupted.code : exitCodes.done.code;
  } finally {
    interrupt.release();
    await consumer.close();
    await client.close();
  }
}
