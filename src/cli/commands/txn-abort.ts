/**
 * `holdfast txn abort`: ends an open transaction. One that has a transactional id by taking the id over, which
 * its coordinator carries out in all partitions; one that hangs by a marker in its partition.
 */
import type { PartitionProducer } from "../../client/admin-transactions.ts";
import type { Admin } from "../../client/admin.ts";
import { HoldfastError } from "../../base/errors.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { parseChoice } from "../partition-choice.ts";
import { formatCount } from "../table.ts";
import { paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export interface TxnAbortOptions extends ConnectionOptions {
  readonly partition?: string;
  readonly producer?: number;
  readonly startOffset?: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** There is nothing to abort; nothing was changed. */
class NothingOpenError extends HoldfastError {
  readonly code = "NOTHING_OPEN";
  override readonly name = "NothingOpenError";
}

export async function txnAbort({ terminal, args, options }: Invocation<TxnAbortOptions>): Promise<ExitCode> {
  const paint = paintFor(terminal.stdout, terminal.env);
  const [id, ...more] = args;
  const place = placeOf(options);
  if (more.length > 0 || (id === undefined) === (place === undefined)) {
    throw new UsageError(
      "txn abort needs a transactional id, or --partition TOPIC:N with --producer or --start-offset.",
    );
  }
  await using client = connect(options, terminal);
  const admin = client.admin();
  const isDry = options.dryRun === true;
  const tick = isDry ? "would be done:" : paint("green", "✓");
  let text: string;
  let result: object;
  if (place === undefined) {
    const transactionalId = id as string;
    const partitions = await abortById(admin, transactionalId, isDry);
    const count = `${formatCount(partitions)} partition${partitions === 1 ? "" : "s"}`;
    text = `${tick} transaction of "${transactionalId}" aborted in ${count}, and its producer put out`;
    result = { transactionalId, partitions, aborted: !isDry };
  } else {
    const found = await abortInPartition(admin, place, isDry);
    const { topic, partition, producerId, openFrom } = found;
    text = `${tick} transaction of producer ${producerId} aborted in ${topic}/${partition}, from offset ${String(openFrom)} on`;
    result = { topic, partition, producerId, openFrom, aborted: !isDry };
  }
  await terminal.stdout.write(options.json === true ? `${JSON.stringify(result)}\n` : `${text}\n`);
  return exitCodes.done.code;
}

/** In how many partitions. */
async function abortById(admin: Admin, transactionalId: string, isDry: boolean): Promise<number> {
  const [found] = await admin.describeTransactions([transactionalId]);
  if (found?.state !== "Ongoing") {
    throw new NothingOpenError(
      `"${transactionalId}" has no open transaction to abort: its state is ${found?.state ?? "unknown"}.`,
    );
  }
  if (!isDry) await admin.fenceProducer(transactionalId);
  return found.partitions.length;
}

interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly of: (producer: PartitionProducer) => boolean;
  readonly whose: string;
}

function placeOf({ partition: text, producer, startOffset }: TxnAbortOptions): Place | undefined {
  if (text === undefined && producer === undefined && startOffset === undefined) return undefined;
  const isOne = (producer === undefined) !== (startOffset === undefined);
  const choice = text === undefined ? undefined : parseChoice([text]);
  const [topic] = choice?.topics ?? [];
  const partition = Number(/:(\d+)$/.exec(text ?? "")?.[1] ?? Number.NaN);
  if (!isOne || topic === undefined || !Number.isSafeInteger(partition)) {
    throw new UsageError(
      "A hanging transaction is named by --partition TOPIC:N and either --producer or --start-offset.",
    );
  }
  return producer === undefined
    ? {
        topic,
        partition,
        of: ({ openFrom }) => openFrom === startOffset,
        whose: `begins at offset ${startOffset}`,
      }
    : {
        topic,
        partition,
        of: ({ producerId }) => producerId === producer,
        whose: `is of producer ${producer}`,
      };
}

async function abortInPartition(
  admin: Admin,
  { topic, partition, of, whose }: Place,
  isDry: boolean,
): Promise<PartitionProducer> {
  const producers = await admin.describeProducers([{ topic, partition }]);
  const found = producers.find((each) => each.openFrom !== null && of(each));
  if (found === undefined) {
    throw new NothingOpenError(`No open transaction in ${topic}/${partition} ${whose}.`);
  }
  if (!isDry) await admin.abortTransaction(found);
  return found;
}
