/**
 * What the small programs for clients in JavaScript share (see ../clients.ts for their arguments and what
 * they print): reading the data set in lots, checking that offsets are dense, and the digests.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { type Codec, codecs, type DataRecord, Digests, recordsOf } from "../data-set.ts";
import { Copying, named } from "./copying.ts";
import { Membership } from "./membership.ts";
import { ShareWork } from "./share-work.ts";

const progressEvery = 500;
/** A lot becomes one batch of one partition, which brokers take up to 1 MiB. */
const lotBytesMax = 950_000;
const lotBytes = 256_000;

export interface WireProgram {
  produce(address: string, topic: string, path: string, acknowledged: Acknowledged): Promise<void>;
  consume?(address: string, topic: string, gathered: Gathered): Promise<void>;
  tour(address: string, topic: string): Promise<void>;
  /** Is in a group until it is asked to end, and leaves it then. */
  member(told: Membership): Promise<void>;
  /** Works in a share group until it is asked to end, and leaves it then. */
  share?(told: ShareWork): Promise<void>;
  /** Copies a topic in transactions until it is asked to end, and leaves the group then. */
  copy?(told: Copying): Promise<void>;
  /** Reads what is committed until the process is killed. */
  follow?(address: string, topic: string): Promise<void>;
}

/** The setting that a tour gives its topic. */
export const tourSetting = { name: "retention.ms", value: "3600000" } as const;

export async function runWireProgram(program: WireProgram): Promise<void> {
  const [action, address = "", topic = "", ...rest] = process.argv.slice(2);
  if (action === "produce") {
    const [path = "", partitionCount] = rest;
    const acknowledged = new Acknowledged(Number(partitionCount));
    await program.produce(address, topic, path, acknowledged);
    console.log(`acked ${acknowledged.count}`);
  } else if (action === "consume" && program.consume !== undefined) {
    const gathered = new Gathered(Number(rest[0]));
    await program.consume(address, topic, gathered);
    gathered.print();
  } else if (action === "tour") {
    await program.tour(address, topic);
  } else if (action === "member") {
    const told = new Membership(process.argv.slice(3));
    await program.member(told);
    told.left();
    process.exit();
  } else if (action === "share" && program.share !== undefined) {
    const told = new ShareWork(process.argv.slice(3));
    await program.share(told);
    told.left();
    process.exit();
  } else if (action === "copy" && program.copy !== undefined) {
    const told = new Copying(named(process.argv.slice(3)));
    await program.copy(told);
    told.left();
    process.exit();
  } else if (action === "follow" && program.follow !== undefined) {
    const words = named(process.argv.slice(3));
    await program.follow(words.get("address") ?? "", words.get("topic") ?? "");
  } else {
    throw new Error(`Cannot read the arguments ${process.argv.slice(2).join(" ")}`);
  }
}

/** A package that tools/toolbox.ts installed outside this repository's dependencies. */
export function packageNamed(name: string): unknown {
  const packages = process.env["HOLDFAST_NODE_PACKAGES"];
  if (packages === undefined) throw new Error("HOLDFAST_NODE_PACKAGES names no directory");
  return createRequire(join(packages, "package.json"))(name);
}

/** Counts acknowledgements; the topic was empty, so the offsets of each partition are dense from 0. */
export class Acknowledged {
  readonly #nextOffsets: number[];
  #count = 0;

  constructor(partitionCount: number) {
    this.#nextOffsets = Array.from({ length: partitionCount }, () => 0);
  }

  get count(): number {
    return this.#count;
  }

  add(partition: number, firstOffset: number, recordCount: number): void {
    const due = this.#nextOffsets[partition];
    if (firstOffset !== due) {
      throw new Error(`Partition ${partition}: acknowledged at ${firstOffset} where ${due} was due`);
    }
    this.#nextOffsets[partition] = firstOffset + recordCount;
    this.#took(recordCount);
  }

  /** Where acknowledgements may be told in another order than that of the records. */
  addInAnyOrder(partition: number, offset: number, due: number): void {
    if (offset !== due) {
      throw new Error(`Partition ${partition}: acknowledged at ${offset} what was sent as number ${due}`);
    }
    this.#took(1);
  }

  #took(recordCount: number): void {
    const before = this.#count;
    this.#count += recordCount;
    reportProgress(before, this.#count);
  }
}

export class Gathered {
  readonly partitionCount: number;
  readonly #digests: Digests;
  readonly #nextOffsets: number[];
  #count = 0;

  constructor(partitionCount: number) {
    this.partitionCount = partitionCount;
    this.#digests = new Digests(partitionCount, { withHeaders: true });
    this.#nextOffsets = Array.from({ length: partitionCount }, () => 0);
  }

  /** The offset that is read next. */
  nextOffset(partition: number): number {
    return this.#nextOffsets[partition] ?? 0;
  }

  add(partition: number, offset: number, record: Pick<DataRecord, "key" | "value" | "headers">): void {
    const due = this.nextOffset(partition);
    if (offset !== due) throw new Error(`Partition ${partition}: offset ${offset} where ${due} was due`);
    this.#nextOffsets[partition] = offset + 1;
    this.#digests.add(partition, record);
    this.#count += 1;
    reportProgress(this.#count - 1, this.#count);
  }

  print(): void {
    for (const [partition, { count, sha256 }] of this.#digests.end().entries()) {
      console.log(`partition ${partition} ${count} ${sha256}`);
    }
  }
}

function reportProgress(before: number, after: number): void {
  if (Math.floor(before / progressEvery) < Math.floor(after / progressEvery))
    console.log(`progress ${after}`);
}

/** Hands one record to the client; resolves with its offset when it is acknowledged. */
export type SendRecord = (record: DataRecord) => Promise<number>;

/** So many records are given to a client before the first is acknowledged. */
const underWayMax = 10_000;

/**
 * For clients that gather batches themselves. The codec of a partition changes only when everything is
 * acknowledged, since each codec has a producer of its own.
 */
export async function writeRecords(
  path: string,
  acknowledged: Acknowledged,
  send: SendRecord,
): Promise<void> {
  const codecOf = new Map<number, number>();
  const sentTo = new Map<number, number>();
  let underWay = 0;
  let failure: Error | undefined;
  let wake = (): void => undefined;
  const fallenTo = async (count: number): Promise<void> => {
    while (underWay > count && failure === undefined) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (failure !== undefined) throw failure;
  };
  for await (const record of recordsOf({ path })) {
    const { partition, codec } = record;
    if ((codecOf.get(partition) ?? codec) !== codec) {
      await fallenTo(0);
      codecOf.clear();
    }
    codecOf.set(partition, codec);
    await fallenTo(underWayMax);
    underWay += 1;
    const due = sentTo.get(partition) ?? 0;
    sentTo.set(partition, due + 1);
    send(record)
      .then((offset) => acknowledged.addInAnyOrder(partition, offset, due))
      .catch((error: unknown) => {
        failure ??= error instanceof Error ? error : new Error(String(error));
      })
      .finally(() => {
        underWay -= 1;
        if (underWay === 0 || underWay === underWayMax - 1 || failure !== undefined) wake();
      });
  }
  await fallenTo(0);
}

/** Sends records of one partition and one codec, and answers the offset of the first. */
export type SendLot = (partition: number, codec: Codec, records: readonly DataRecord[]) => Promise<number>;

/**
 * For clients that are given batches rather than records: per partition one lot is under way while the next
 * one is gathered, so that a retry cannot change the order.
 */
export async function writeInLots(path: string, acknowledged: Acknowledged, send: SendLot): Promise<void> {
  const lanes = new Map<number, Lane>();
  for await (const record of recordsOf({ path })) {
    let lane = lanes.get(record.partition);
    if (lane === undefined) {
      lane = { codec: record.codec, records: [], bytes: 0, underWay: Promise.resolve() };
      lanes.set(record.partition, lane);
    }
    const bytes = bytesOf(record);
    if (lane.codec !== record.codec || (lane.bytes > 0 && lane.bytes + bytes > lotBytesMax)) {
      await hand(record.partition, lane);
    }
    lane.codec = record.codec;
    lane.records.push(record);
    lane.bytes += bytes;
    if (lane.bytes >= lotBytes) await hand(record.partition, lane);
  }
  for (const [partition, lane] of lanes) await hand(partition, lane);
  for (const lane of lanes.values()) await lane.underWay;

  async function hand(partition: number, lane: Lane): Promise<void> {
    const { records, codec } = lane;
    lane.records = [];
    lane.bytes = 0;
    await lane.underWay;
    if (records.length === 0) return;
    lane.underWay = send(partition, codecs[codec] ?? "none", records).then((firstOffset) =>
      acknowledged.add(partition, firstOffset, records.length),
    );
    // Awaited before the next lot; a failure before that is not an unhandled one.
    lane.underWay.catch(() => undefined);
  }
}

interface Lane {
  codec: number;
  records: DataRecord[];
  bytes: number;
  underWay: Promise<void>;
}

function bytesOf({ key, value, headers }: DataRecord): number {
  const headerBytes = headers.reduce(
    (sum, each) => sum + each.name.length + (each.value?.length ?? 0) + 10,
    0,
  );
  return (key?.length ?? 0) + (value?.length ?? 0) + headerBytes + 30;
}
