/**
 * `holdfast consume`: prints records as they come. A pipe that is full holds the reading up, and one that
 * nobody reads any more ends it quietly. It belongs to no group and leaves no trace at the broker.
 */
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { type Format, type PrintableRecord } from "../format.ts";
import { parsePosition, type Position } from "../position.ts";
import { openPrinter, type PrintOptions } from "../record-printer.ts";
import { type Output, paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export interface ConsumeOptions extends ConnectionOptions, PrintOptions {
  readonly from: string;
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
}

export async function consume({ terminal, args, options }: Invocation<ConsumeOptions>): Promise<ExitCode> {
  const [topic = "", ...more] = args;
  if (more.length > 0) throw new UsageError(`consume reads one topic, and ${more.length + 1} were named.`);
  if (options.group !== undefined) {
    throw new UsageError(
      "Consumer groups are not there yet; without --group, consume reads all partitions by itself.",
    );
  }
  const from = positionOf(options);
  const countMax =
    options.count ?? options.maxMessages ?? options.limit ?? options.num ?? Number.POSITIVE_INFINITY;
  const until = options.until === "end" || options.exitAtEnd === true;
  const print = openPrinter(options, paintFor(terminal.stdout, terminal.env), Date.now);
  const client = connect(options, terminal);
  const consumer = client.consumer({
    topic,
    from,
    ...(options.partition === undefined ? {} : { partitions: options.partition }),
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
    void consumer.close();
  });
  try {
    if (!until && terminal.stdout.isTTY && terminal.stderr.isTTY) {
      await terminal.stderr.write(
        `${paintFor(terminal.stderr, terminal.env)("dim", "… waiting for records. Ctrl-C ends it.")}\n`,
      );
    }
    const printed = await printAll(consumer.batches(), { print, output: terminal.stdout, countMax });
    const wantedMore = until || Number.isFinite(countMax);
    return interrupted && wantedMore && printed < countMax ? exitCodes.interrupted.code : exitCodes.done.code;
  } finally {
    release();
    await consumer.close();
    await client.close();
  }
}

function positionOf({ from, fromBeginning, offset }: ConsumeOptions): Position {
  if (offset !== undefined) return parsePosition(offset, Date.now());
  if (fromBeginning === true) return "start";
  return parsePosition(from, Date.now());
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
