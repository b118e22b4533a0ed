/**
 * `holdfast bench e2e`: how long from the moment a record is due to be sent until a consumer in the same
 * process has it. A record that was acknowledged and does not arrive is a failure, not a gap in the figures.
 */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { RefusedError } from "../../base/errors.ts";
import type { Client } from "../../client/client.ts";
import { BenchInterrupt } from "../bench-interrupt.ts";
import {
  checkFigureOptions,
  ensureTopic,
  rateOf,
  recordsOf,
  type SendingOptions,
  sizeOf,
  Values,
} from "../bench-load.ts";
import { connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { Delivery } from "../delivery.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { Measurement, tellFigures } from "../measurement.ts";
import { Pace } from "../pace.ts";
import type { Terminal } from "../terminal.ts";

const recordsDefault = 10_000;
const rateDefault = 1_000;
/** A value begins with the number of the run and the record's own. */
const markBytes = 8;
/** Number of a record that only shows that the consumer is there. */
const probe = 0xffff_ffff;
const probeMs = 20;
/** How long after the last acknowledgement the last record may come. */
const arrivalMs = 30_000;

export async function benchE2e({ terminal, options }: Invocation<SendingOptions>): Promise<ExitCode> {
  checkFigureOptions(options);
  const client = connect(options, terminal);
  const interrupt = new BenchInterrupt(terminal);
  try {
    await ensureTopic(client, options.topic, options.partitions);
    const run = new EndToEnd(client, terminal, options);
    interrupt.onHappen(() => run.stop());
    await run.measure();
    await tellFigures(terminal, options, run.measurement.figures("e2e", options.topic), "received after");
    return interrupt.happened ? exitCodes.interrupted.code : exitCodes.done.code;
  } finally {
    interrupt.release();
    await client.close();
  }
}

class EndToEnd {
  readonly #client: Client;
  readonly #options: SendingOptions;
  readonly #total: number;
  readonly #values: Values;
  readonly #size: number;
  readonly #runId = randomInt(2 ** 32);
  /** When each was due; NaN once it has arrived, so that nothing counts twice. */
  readonly #dueMs: Float64Array;
  readonly measurement: Measurement;
  #stopped = false;
  #isReading = false;
  #stopReading: () => void = () => {};

  constructor(client: Client, terminal: Terminal, options: SendingOptions) {
    this.#client = client;
    this.#options = options;
    this.#total = recordsOf(options, recordsDefault);
    this.#size = Math.max(markBytes, sizeOf(options));
    this.#values = new Values(this.#size);
    this.#dueMs = new Float64Array(this.#total).fill(Number.NaN);
    this.measurement = new Measurement(terminal, this.#total);
  }

  stop(): void {
    this.#stopped = true;
    this.#stopReading();
  }

  /** Throws `RefusedError` when acknowledged records do not arrive, and what sending and reading reject with. */
  async measure(): Promise<void> {
    const { topic, compression = "none" } = this.#options;
    const consumer = this.#client.consumer({ topic, from: "end" });
    this.#stopReading = () => void consumer.close();
    const producer = this.#client.producer({ compression });
    const send = (index: number, dueMs: number) => {
      if (index !== probe) this.#dueMs[index] = dueMs;
      return producer.send({ topic, value: this.#marked(index) });
    };
    const reading = this.#read(consumer.batches());
    const sending = this.#send(send);
    try {
      // Whichever fails first ends the other.
      await Promise.all([sending, reading]);
    } finally {
      this.stop();
      await Promise.allSettled([sending, reading]);
      this.measurement.end();
      await this.measurement.clearProgress();
    }
  }

  async #send(
    send: (index: number, dueMs: number) => ReturnType<ReturnType<Client["producer"]>["send"]>,
  ): Promise<void> {
    while (!this.#isReading && !this.#stopped) {
      await send(probe, 0);
      await sleep(probeMs);
    }
    const pace = new Pace(rateOf(this.#options, rateDefault));
    const delivery = new Delivery({ acknowledged: () => Promise.resolve(), failed: () => this.stop() });
    this.measurement.begin();
    pace.begin();
    for (let index = 0; index < this.#total && !this.#stopped; index++) {
      const dueMs = await pace.next();
      delivery.give(this.#size, send(index, dueMs), dueMs);
      if (delivery.isFull) await delivery.room();
    }
    await delivery.finished();
    if (delivery.failure !== null) throw delivery.failure.error;
    const endMs = performance.now() + arrivalMs;
    while (!this.#stopped && this.measurement.records < this.#total) {
      if (performance.now() > endMs) {
        throw new RefusedError(
          `${this.#total - this.measurement.records} of ${this.#total} acknowledged records did not arrive within ${arrivalMs / 1000} s of the last acknowledgement.`,
        );
      }
      await sleep(probeMs);
    }
  }

  async #read(
    batches: AsyncIterable<{ readonly records: Iterable<{ readonly value: Uint8Array | null }> }>,
  ): Promise<void> {
    for await (const { records } of batches) {
      const nowMs = performance.now();
      for (const { value } of records) this.#take(value, nowMs);
      await this.measurement.progress();
      if (this.#stopped || this.measurement.records >= this.#total) return;
    }
  }

  #take(value: Uint8Array | null, nowMs: number): void {
    if (value === null || value.length < markBytes) return;
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
    if (view.getUint32(0) !== this.#runId) return;
    const index = view.getUint32(4);
    if (index === probe) {
      this.#isReading = true;
      return;
    }
    const dueMs = this.#dueMs[index] ?? Number.NaN;
    if (Number.isNaN(dueMs)) return;
    this.#dueMs[index] = Number.NaN;
    this.measurement.add(value.length, nowMs - dueMs);
  }

  #marked(index: number): Buffer {
    const value = Buffer.from(this.#values.next());
    value.writeUInt32BE(this.#runId, 0);
    value.writeUInt32BE(index, 4);
    return value;
  }
}
