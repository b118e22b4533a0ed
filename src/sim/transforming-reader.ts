/**
 * A member of a group that transforms what it reads (KIP-447): the records that it makes and the offsets of what
 * it made them of are committed in one transaction, as a member of its generation. After any doubt it gives up
 * all that it has, and begins where the group is.
 */
import { ErrorCode } from "../protocol/errors.ts";
import type { Actor } from "./actor.ts";
import { Disconnected, type Caller } from "./client.ts";
import {
  GroupReader,
  type MemberOptions,
  type Membership,
  type Progress,
  type Seen,
  type Transform,
} from "./group-reader.ts";
import { Died, Refused, TransactionalProducer } from "./transactional-producer.ts";
import { outputBatches } from "./transactor.ts";

export class TransformingReader extends GroupReader {
  readonly #transform: Transform;
  readonly #producer: TransactionalProducer;
  #isBegun = false;
  #isDead = false;
  /** Read since the last commit, by partition. */
  readonly #seen = new Map<number, Seen[]>();

  /** `life`: counts the lives of the member. */
  constructor(actor: Actor, options: MemberOptions & { readonly transform: Transform }, life: string) {
    super(actor, options, life);
    this.#transform = options.transform;
    const { id, protocol } = options.transform;
    this.#producer = new TransactionalProducer(actor, {
      id,
      protocol,
      timeoutMs: actor.pace.transactionMs,
      name: life,
    });
  }

  override get isDead(): boolean {
    return this.#isDead;
  }

  override close(): Promise<void> {
    return this.#producer.close();
  }

  override drop(partitions: readonly number[] = this.partitions): void {
    super.drop(partitions);
    for (const partition of partitions) this.#seen.delete(partition);
  }

  protected override handled(partition: number, records: readonly Seen[]): void {
    this.#seen.set(partition, [...(this.#seen.get(partition) ?? []), ...records]);
  }

  protected override async send(
    _client: Caller,
    progress: Progress,
    as: Membership,
  ): Promise<readonly (readonly [partition: number, errorCode: ErrorCode])[]> {
    const { group, topic } = this.options;
    const records = new Map(progress.map(([partition]) => [partition, this.#seen.get(partition) ?? []]));
    const count = Array.from(records.values(), ({ length }) => length).reduce((sum, each) => sum + each, 0);
    const isCommitted = this.actor.random.chance(0.85);
    try {
      if (!this.#isBegun) await this.#producer.init();
      this.#isBegun = true;
      await this.#producer.perform({
        batches: outputBatches(this.actor, count, this.#transform),
        offsets: {
          group,
          topic,
          progress,
          memberId: as.memberId,
          epoch: as.epoch,
          tell: (transaction) => this.account.within(transaction, as, progress, records),
        },
        isCommitted,
      });
    } catch (cause) {
      if (!(cause instanceof Died) && !(cause instanceof Refused)) throw cause;
      this.#isDead = true;
      this.drop();
      throw new Disconnected(`its transaction came to nothing: ${cause.message}`);
    }
    if (!isCommitted) {
      this.drop();
      throw new Disconnected("its transaction was aborted");
    }
    for (const [partition] of progress) this.#seen.delete(partition);
    return progress.map(([partition]) => [partition, ErrorCode.NONE] as const);
  }
}
