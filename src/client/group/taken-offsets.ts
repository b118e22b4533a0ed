/**
 * How far a member was handed out records when a transaction took its offsets, and what happens to them with
 * the transaction: committed, they are finished; aborted, they are handed out again; and when nobody knows,
 * the group is asked where it stands before anything more is handed out.
 */
import type { Coordinator } from "../coordinator.ts";
import type { Reader } from "../reader.ts";
import { TransactionUsageError } from "../transaction-errors.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { movedCodes } from "./commits.ts";
import { NotOwnedError } from "./errors.ts";
import type { Holdings } from "./holdings.ts";
import type { Identity, Member } from "./member.ts";
import type { OffsetToCommit } from "./offsets.ts";
import type { Share } from "./share.ts";
import type { Place } from "./unfinished.ts";

export interface TakenAccess {
  readonly group: string;
  readonly coordinator: Coordinator;
  readonly member: () => Member;
  readonly holdings: Holdings;
  readonly reader: Reader;
  /** The group could not be asked where it stands. */
  readonly onFailure: (cause: Error) => void;
}

export class TakenOffsets {
  readonly #access: TakenAccess;
  readonly #parts: readonly { readonly share: Share; readonly place: Place }[];
  readonly #lost: readonly Share[];
  #generation = -1;
  #isSettled = false;

  /** Of all that the member has, as of now. */
  constructor(access: TakenAccess) {
    this.#access = access;
    this.#lost = access.holdings.takeLost();
    this.#parts = access.holdings.all.flatMap((share) => {
      const place = share.handedOutTo;
      return place === undefined || place.offset === share.committed?.offset ? [] : [{ share, place }];
    });
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0 && this.#lost.length === 0;
  }

  get group(): string {
    return this.#access.group;
  }

  get coordinator(): Coordinator {
    return this.#access.coordinator;
  }

  /** What to commit, and as whom. Throws `NotOwnedError`: the group has moved on, and others may have the partitions. */
  claim(): { readonly member: Identity; readonly offsets: readonly OffsetToCommit[] } {
    const member = this.#access.member().identity;
    if (member === undefined) {
      throw new NotOwnedError(`this consumer is not a member of group ${this.group} at the moment`);
    }
    const { holdings } = this.#access;
    const gone = [...this.#lost, ...this.#parts.map(({ share }) => share)].find(
      (share) => !holdings.holds(share),
    );
    if (gone !== undefined) {
      throw new NotOwnedError(
        `${gone.topic}/${gone.partition} was taken from this member before its offsets were committed`,
      );
    }
    this.#generation = member.generation;
    const offsets = this.#parts.map(({ share, place }) => {
      const { topic, partition, topicId, metadata } = share;
      return { topic, partition, topicId, ...place, metadata };
    });
    return { member, offsets };
  }

  /** The coordinator refused them; the code may say something about the membership. */
  refused(code: number): void {
    const isAboutMember = movedCodes.has(code) || code === ErrorCode.STALE_MEMBER_EPOCH;
    if (isAboutMember) this.#access.member().suspect(code, this.#generation);
  }

  /** Once; the first counts. */
  settle(outcome: "committed" | "aborted" | "unknown"): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    const { holdings, reader, onFailure } = this.#access;
    const owned = this.#parts.filter(({ share }) => holdings.holds(share));
    switch (outcome) {
      case "committed":
        for (const { share, place } of this.#parts) {
          share.committed = place;
          share.finishBefore(place.offset);
          holdings.forgive(share);
        }
        return;
      case "aborted":
        for (const { share } of this.#parts) share.goBack();
        reader.moved();
        return;
      case "unknown":
        for (const { share } of this.#parts) share.forget();
        holdings
          .relocate(owned.map(({ share }) => share))
          .catch((cause: unknown) => onFailure(cause as Error));
        return;
      default:
        outcome satisfies never;
    }
  }
}

/** `isRunning`: handlers of `run` are at work; else the consumer commits by itself. */
export const cannotTake = (group: string, isRunning: boolean): TransactionUsageError =>
  new TransactionUsageError(
    isRunning
      ? `Handlers of run finish in any order, so no transaction can tell what of group ${group} is its own; use transform.`
      : `The consumer of group ${group} commits by itself, beside the transaction; use transform, or make it with autoCommit: false.`,
  );
