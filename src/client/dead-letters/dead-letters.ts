/**
 * The dead letters of one topic: looked at, sent again, dropped. It promises that a letter is sent again once, whatever dies in
 * the middle and however often it is asked for: its copy and the note that it was made are one transaction, and
 * whoever begins to redrive puts an earlier redrive of the same topic out first. Letters are never deleted here; one that
 * was dropped is only passed over from then on, and retention takes it.
 */
import type { Admin } from "../admin.ts";
import { Consumer } from "../consumer.ts";
import type { Cluster } from "../cluster.ts";
import { BrokerRefusedError, OptionError, UnknownTopicError } from "../errors.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import type { OutgoingRecord } from "../records.ts";
import { TransactionAbortedError, TransactionUnknownError } from "../transaction-errors.ts";
import { TransactionalProducer } from "../transactional-producer.ts";
import { Ledger, ledgerTopicOf, type Settled } from "./ledger.ts";
import { type DeadLetter, deadLetterOf, plainHeaders, redrivenFrom, redriveHeaders } from "./letter.ts";
import { type Selection, selects } from "./selection.ts";

/** A letter, and whether something was done with it already. */
export interface FoundLetter extends DeadLetter {
  readonly settled: Settled | null;
}

export interface ReadOptions extends Selection {
  /** Also letters that were redriven or dropped; default false. */
  readonly settled?: boolean | undefined;
}

/** What is changed before it is sent; what is left out stays as it is. Null: the letter is left where it is. */
export type Edit = (
  letter: DeadLetter,
) => Partial<Pick<OutgoingRecord, "topic" | "key" | "value" | "headers" | "partition">> | null;

export interface RedriveOptions extends Selection {
  /** Instead of where each came from. */
  readonly to?: string | undefined;
  readonly edit?: Edit | undefined;
  /** Only counts. */
  readonly dryRun?: boolean | undefined;
  /** Told after each transaction. */
  readonly onProgress?: ((report: RedriveReport) => void) | undefined;
}

export interface RedriveReport {
  /** By topic that they were sent to. */
  readonly redriven: { readonly [topic: string]: number };
  readonly dropped: number;
  /** Selected, and left where they are: the edit said so. */
  readonly left: number;
  /** Selected, and redriven or dropped before. */
  readonly settledBefore: number;
}

/** Letters of one transaction. */
const transactionRecords = 500;
/** Of one transaction, when something goes wrong that another attempt may mend. */
const attemptsMax = 10;

interface Outgoing {
  readonly record: IncomingRecord;
  /** Null: it is dropped. */
  readonly copy: OutgoingRecord | null;
}

export class DeadLetters {
  readonly topic: string;
  readonly #cluster: Cluster;
  readonly #admin: () => Admin;

  constructor(cluster: Cluster, topic: string, admin: () => Admin) {
    this.topic = topic;
    this.#cluster = cluster;
    this.#admin = admin;
  }

  /** Those that were there when it was called, partition by partition as they come. Rejects with `UnknownTopicError`. */
  async *read(options: ReadOptions = {}): AsyncGenerator<FoundLetter> {
    const fits = selects(options);
    const ledger = await this.#ledger();
    let left = options.count ?? Number.POSITIVE_INFINITY;
    await using consumer = this.#consumer(this.topic);
    for await (const record of consumer) {
      const letter = deadLetterOf(record);
      const settled = ledger.of(record) ?? null;
      if ((settled !== null && options.settled !== true) || !fits(letter)) continue;
      yield { ...letter, settled };
      if (--left === 0) return;
    }
  }

  /** How many letters lie there, and how many of them nothing was done with. Reads none of them. */
  async count(): Promise<{ readonly letters: number; readonly left: number }> {
    await using admin = this.#admin();
    const { partitions } = await admin.describeTopic(this.topic);
    const ledger = await this.#ledger();
    let letters = 0;
    let settled = 0;
    for (const { partition, start = 0, end = 0 } of partitions) {
      letters += end - start;
      settled += ledger.countFrom(partition, start);
    }
    return { letters, left: letters - settled };
  }

  /**
   * Sends the letters that are meant to where they came from, each once, and notes that. Begun again after a crash it
   * sends the rest. Another redrive or drop of the topic that is under way ends with `ProducerFencedError`. Rejects with
   * `OptionError` for a letter that says nowhere to, and as transactions do.
   */
  redrive(options: RedriveOptions = {}): Promise<RedriveReport> {
    return this.#settle("redriven", options);
  }

  /** Those that are meant are not shown and not redriven any more. */
  drop(options: Omit<RedriveOptions, "to" | "edit"> = {}): Promise<RedriveReport> {
    return this.#settle("dropped", options);
  }

  async #settle(what: Settled, options: RedriveOptions): Promise<RedriveReport> {
    const fits = selects(options);
    const report = { redriven: {} as { [topic: string]: number }, dropped: 0, left: 0, settledBefore: 0 };
    const isDry = options.dryRun === true;
    // A name that is mistyped gets no ledger.
    await this.#cluster.topic(this.topic);
    if (!isDry) await this.#makeLedger();
    await using producer = isDry ? null : this.#producer();
    // First: what a predecessor left open is decided by that, and only then can be read.
    await producer?.connect();
    let ledger = await this.#ledger();
    const obsolete = producer === null ? [] : await this.#obsolete(ledger);
    let left = options.count ?? Number.POSITIVE_INFINITY;
    await using consumer = this.#consumer(this.topic);
    for await (const batch of consumer.batches({ recordsMax: transactionRecords })) {
      const chosen: Outgoing[] = [];
      for (const record of batch.records) {
        const letter = deadLetterOf(record);
        if (left === 0 || !fits(letter)) continue;
        if (ledger.of(record) !== undefined) {
          report.settledBefore++;
          continue;
        }
        const copy = what === "dropped" ? null : copyOf(letter, options);
        if (copy === undefined) report.left++;
        else chosen.push({ record, copy });
        left--;
      }
      for (let at = 0; at < chosen.length; at += transactionRecords) {
        const part = chosen.slice(at, at + transactionRecords);
        let sent = part;
        if (producer !== null)
          [ledger, sent] = await this.#carryOut(producer, what, batch.partition, part, ledger, obsolete);
        report.settledBefore += part.length - sent.length;
        for (const { copy } of sent) {
          if (copy === null) report.dropped++;
          else report.redriven[copy.topic] = (report.redriven[copy.topic] ?? 0) + 1;
        }
        options.onProgress?.(report);
      }
      if (left === 0) break;
    }
    return report;
  }

  /** One transaction. Resolves with the ledger from then on, and with what was done here. */
  async #carryOut(
    producer: TransactionalProducer,
    what: Settled,
    partition: number,
    part: readonly Outgoing[],
    ledger: Ledger,
    obsolete: OutgoingRecord[],
  ): Promise<[Ledger, Outgoing[]]> {
    let known = ledger;
    for (let attempt = 1; ; attempt++) {
      const rest = part.filter(({ record }) => known.of(record) === undefined);
      if (rest.length === 0) return [known, attempt === 1 ? [] : [...part]];
      const offsets = rest.map(({ record }) => record.offset);
      try {
        const entry = known.entryFor(what, partition, offsets);
        const copies = rest.flatMap(({ copy }) => (copy === null ? [] : [copy]));
        // In a transaction as well: who was put out takes nothing back.
        const takenBack = obsolete.slice(0, transactionRecords);
        await producer.transaction((tx) => tx.sendMany([...copies, entry, ...takenBack]));
        obsolete.splice(0, takenBack.length);
        known.settled(what, partition, offsets);
        return [known, rest];
      } catch (cause) {
        const mayAgain =
          cause instanceof TransactionUnknownError ||
          (cause instanceof TransactionAbortedError && cause.retriable);
        if (!mayAgain || attempt === attemptsMax) throw cause;
        // Whether it was committed, the ledger says, once nothing is open any more.
        await producer.connect();
        known = await this.#ledger();
      }
    }
  }

  async #ledger(): Promise<Ledger> {
    const topic = ledgerTopicOf(this.topic);
    // Asked for anew: a topic that was deleted and made again has another id.
    const ledger = new Ledger(topic, (await this.#cluster.askTopic(this.topic)).id);
    try {
      await using consumer = this.#consumer(topic);
      for await (const record of consumer) ledger.learn(record);
    } catch (cause) {
      // Nothing was ever redriven or dropped.
      if (!(cause instanceof UnknownTopicError)) throw cause;
    }
    return ledger;
  }

  /** One partition, so that an entry and what takes it back keep their order. */
  async #makeLedger(): Promise<void> {
    const topic = ledgerTopicOf(this.topic);
    try {
      await this.#cluster.askTopic(topic);
      return;
    } catch (cause) {
      if (!(cause instanceof UnknownTopicError)) throw cause;
    }
    await using admin = this.#admin();
    try {
      await admin.createTopic({ topic, partitions: 1, configs: { "cleanup.policy": "compact" } });
    } catch (cause) {
      if (!(cause instanceof BrokerRefusedError) || cause.code !== "TOPIC_ALREADY_EXISTS") throw cause;
    }
    await this.#cluster.askTopic(topic, { searchMs: 10_000 });
  }

  async #obsolete(ledger: Ledger): Promise<OutgoingRecord[]> {
    await using admin = this.#admin();
    const { partitions } = await admin.describeTopic(this.topic);
    return [...ledger.obsolete(new Map(partitions.map(({ partition, start }) => [partition, start ?? 0])))];
  }

  #consumer(topic: string): Consumer {
    return new Consumer(this.#cluster, { topic, from: "start", until: "end" });
  }

  #producer(): TransactionalProducer {
    return new TransactionalProducer(this.#cluster, { transactionalId: `holdfast-redrive.${this.topic}` });
  }
}

/** `undefined`: the edit leaves it where it is. */
function copyOf(letter: DeadLetter, { to, edit }: RedriveOptions): OutgoingRecord | undefined {
  const target = to ?? letter.origin?.topic;
  const edited = edit === undefined ? {} : edit(letter);
  if (edited === null) return undefined;
  const topic = edited.topic ?? target;
  if (topic === undefined) {
    const { topic: from, partition, offset } = letter.record;
    throw new OptionError(
      `The record at offset ${offset} of ${from}/${partition} does not say where it came from; name a topic with "to".`,
    );
  }
  const copy = redrivenFrom(letter, topic);
  const { headers, ...rest } = edited;
  if (headers === undefined) return { ...copy, ...rest };
  const list = Array.isArray(headers)
    ? (headers as readonly { readonly key: string; readonly value: string | Uint8Array | null }[])
    : Object.entries(headers).map(([key, value]) => ({ key, value: value as string | Uint8Array | null }));
  // Where it came from is not the edit's to change, and of its death nothing goes along.
  return {
    ...copy,
    ...rest,
    headers: [...plainHeaders(list), ...redriveHeaders(letter, letter.redriven + 1)],
  };
}
