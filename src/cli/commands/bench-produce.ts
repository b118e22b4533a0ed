/** `holdfast bench produce`: how many records a second are acknowledged, and how long an acknowledgement takes. */
import { BenchInterrupt } from "../bench-interrupt.ts";
import {
  type SendingOptions,
  checkFigureOptions,
  ensureTopic,
  rateOf,
  recordsOf,
  sizeOf,
  Values,
} from "../bench-load.ts";
import { connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { Delivery, inFlightRecordsMax } from "../delivery.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { Measurement, tellFigures } from "../measurement.ts";
import { Pace } from "../pace.ts";
import { formatCount } from "../table.ts";

const recordsDefault = 100_000;

export async function benchProduce({ terminal, options }: Invocation<SendingOptions>): Promise<ExitCode> {
  checkFigureOptions(options);
  const { topic } = options;
  const total = recordsOf(options, recordsDefault);
  const size = sizeOf(options);
  const values = new Values(size);
  const pace = new Pace(rateOf(options));
  const client = connect(options, terminal);
  const interrupt = new BenchInterrupt(terminal);
  try {
    await ensureTopic(client, topic, options.partitions);
    const producer = client.producer({ compression: options.compression ?? "none" });
    // The first record pays for connecting and for the producer's id; it is no part of what is measured.
    await producer.send({ topic, value: values.next() });
    const measurement = new Measurement(terminal, total);
    const delivery = new Delivery({
      acknowledged: ({ tookMs }) => {
        measurement.add(size, tookMs);
        return measurement.progress();
      },
      failed: () => {},
    });
    measurement.begin();
    pace.begin();
    for (let sent = 0; sent < total && !delivery.hasFailed && !interrupt.happened; sent++) {
      const dueMs = await pace.next();
      delivery.give(size, producer.send({ topic, value: values.next() }), dueMs);
      if (delivery.isFull) await delivery.room();
    }
    await delivery.finished();
    measurement.end();
    await measurement.clearProgress();
    if (delivery.failure !== null) throw delivery.failure.error;
    await tellFigures(terminal, options, measurement.figures("produce", topic), "acknowledged after");
    if (!Number.isFinite(rateOf(options)) && options.csv !== true && options.json !== true) {
      await terminal.stderr.write(
        `These times include waiting behind up to ${formatCount(inFlightRecordsMax)} records; with --rate N they do not.\n`,
      );
    }
    return interrupt.happened ? exitCodes.interrupted.code : exitCodes.done.code;
  } finally {
    interrupt.release();
    await client.close();
  }
}
