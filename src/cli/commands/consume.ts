/**
 * `holdfast consume`: prints records as they come. A pipe that is full holds the reading up, and one that
 * nobody reads any more ends it quietly. Without `--group` it leaves no trace at the broker; with it, what the
 * output has taken is committed, and nothing else.
 */
import { RefusedError } from "../../base/errors.ts";
import type { Consumer } from "../../client/consumer.ts";
import { LostPositionError } from "../../client/consumer-errors.ts";
import type { ConsumerOptions } from "../../client/consumer-options.ts";
import type { Client } from "../../client/client.ts";
import type { GroupConsumer } from "../../client/group/group-consumer.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { type Format, type PrintableRecord } from "../format.ts";
import { parsePosition, type Position } from "../position.ts";
import { openPrinter, type PrintOptions } from "../record-printer.ts";
import { type Output, paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export interface ConsumeOptions extends ConnectionOptions, PrintOptions {
  readonly from?: string;
  readonly fromBeginning?: boolean;
  readonly offset?: string;
  readonly partition?: readonly number[];
  readonly count?: number;
  readonly maxMessages?: number;
  readonly limit?: number;
  readonly num?: number;
  readonly until?: "end";
  readonly exitAtEnd?: boolean;
  readonly group?: string;
  readonly skip?: boolean;
  readonly uncommitted?: boolean;
  readonly isolationLevel?: "read_committed" | "read_uncommitted";
}

export async function consume({ terminal, args, options }: Invocation<ConsumeOptions>): Promise<ExitCode> {
  const [topic = "", ...more] = args;
  if (more.length > 0) throw new UsageError(`consume reads one topic, and ${more.length + 1} were named.`);
  const { group } = options;
  const countMax =
    options.count ?? options.maxMessages ?? options.limit ?? options.num ?? Number.POSITIVE_INFINITY;
  const until = options.until === "end" || options.exitAtEnd === true;
  const print = openPrinter(options, paintFor(terminal.stdout, terminal.env), Date.now);
  const client = connect(options, terminal);
  const isUncommitted = options.uncommitted === true || options.isolationLevel === "read_uncommitted";
  const consumer = open(client, topic, options, {
    isolation: isUncommitted ? "uncommitted" : "committed",
    ...(until ? { until: "end" } : {}),
    ...(options.skip === true ? { onDamage: "skip", onLostPosition: "start" } : {}),
    onSkipped: ({ partition, from: first, to, reason }) => {
      void terminal.stderr.write(
        reason === "damaged"
          ? `Skipped: offsets ${first} to ${to - 1} of ${topic}/${partition} cannot be read.\n`
          : `Skipped: offset ${first} of ${topic}/${partition} does not exist any more; reading goes on at ${to}.\n`,
      );
    },
    onRetry: ({ operation, failingMs, cause }) => {
      const seconds = Math.round(failingMs / 1000);
      void terminal.stderr.write(
        `Still trying: ${operation} has failed for ${seconds} s. ${cause.message}\n`,
      );
    },
  });
  let interrupted = false;
  const release = terminal.onInterrupt(() => {
    interrupted = true;
    // What it could not commit is told below.
    consumer.close().catch(() => undefined);
  });
  try {
    if (!until && terminal.stdout.isTTY && terminal.stderr.isTTY) {
      await terminal.stderr.write(
        `${paintFor(terminal.stderr, terminal.env)("dim", "… waiting for records. Ctrl-C ends it.")}\n`,
      );
    }
    const { stdout: output } = terminal;
    // A member ends its own loop, behind the commit of the last record that was printed.
    const printed =
      "commitSync" in consumer
        ? await printAll(counted(consumer, countMax), { print, output, countMax: Number.POSITIVE_INFINITY })
        : await printAll(consumer.batches(), { print, output, countMax });
    const wantedMore = until || Number.isFinite(countMax);
    return interrupted && wantedMore && printed < countMax ? exitCodes.interrupted.code : exitCodes.done.code;
  } catch (cause) {
    if (group === undefined || !(cause instanceof LostPositionError)) throw cause;
    const advice = `move the group with holdfast group seek ${group} --topic ${topic}:${cause.partition} --to OFFSET, or go on behind it with --skip`;
    throw new RefusedError(cause.message.replace(/; seek .*$/s, `; ${advice}.`), { cause });
  } finally {
    release();
    try {
      await consumer.close();
    } finally {
      await client.close();
    }
  }
}

type Rest = Omit<ConsumerOptions, "topic" | "partitions" | "assignment" | "from">;

function open(client: Client, topic: string, options: ConsumeOptions, rest: Rest): Consumer | GroupConsumer {
  const { group, partition } = options;
  if (group === undefined) {
    const partitions = partition === undefined ? {} : { partitions: partition };
    return client.consumer({ topic, from: positionOf(options, "end"), ...partitions, ...rest });
  }
  if (partition !== undefined) {
    throw new UsageError("--partition does not go with --group: the group gives out the partitions.");
  }
  const from = positionOf(options, "start");
  if (typeof from === "number") {
    throw new UsageError(
      `A group goes on where it left off; holdfast group seek ${group} --topic ${topic} --to ${from} moves it.`,
    );
  }
  return client.consumer({ topic, group, from, ...rest });
}

/** So that no more is taken, and committed, than is asked for. */
async function* counted(
  consumer: GroupConsumer,
  countMax: number,
): AsyncGenerator<{ readonly records: Iterable<PrintableRecord> }> {
  if (!Number.isFinite(countMax)) return yield* consumer.batches();
  let count = 0;
  for await (const record of consumer) {
    yield { records: [record] };
    // It is printed when the next is asked for.
    if (++count < countMax) continue;
    await consumer.commitSync();
    return;
  }
}

function positionOf({ from, fromBeginning, offset }: ConsumeOptions, standard: Position): Position {
  if (offset !== undefined) return parsePosition(offset, Date.now());
  if (fromBeginning === true) return "start";
  return from === undefined ? standard : parsePosition(from, Date.now());
}

/** Bytes that are gathered before they are written, so that small records do not cost a system call each. */
const chunkBytes = 64 * 1024;

/** Resolves with how many records were printed, all of them taken by the output. */
async function printAll(
  batches: AsyncIterable<{ readonly records: Iterable<PrintableRecord> }>,
  { print, output, countMax }: { readonly print: Format; readonly output: Output; readonly countMax: number },
): Promise<number> {
  let printed = 0;
  for await (const { records } of batches) {
    let pieces: Uint8Array[] = [];
    let bytes = 0;
    for (const record of records) {
      const begin = pieces.length;
      print(record, pieces);
      for (let at = begin; at < pieces.length; at++) bytes += (pieces[at] as Uint8Array).length;
      printed++;
      if (bytes >= chunkBytes) {
        await output.write(Buffer.concat(pieces, bytes));
        pieces = [];
        bytes = 0;
      }
      if (printed >= countMax) break;
    }
    if (bytes > 0) await output.write(Buffer.concat(pieces, bytes));
    if (printed >= countMax) break;
  }
  return printed;
}
