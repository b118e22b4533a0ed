/**
 * Commits what is finished. One request at a time, and each attempt carries what is finished by then, so
 * that an older offset is never sent after a newer one, whatever answers are lost (C21). A commit that a
 * rebalance refuses is repeated in the next generation for what is still the member's, and is an error
 * for the rest (C20).
 */
import { leaderEpoch, type Offset } from "../../base/ids.ts";
import { sleep } from "../../base/ports.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import { isRetriable } from "../assignment.ts";
import { BrokerRefusedError } from "../errors.ts";
import type { RetryWatch } from "../retry-watch.ts";
import { backoffAfter, type ClientSettings } from "../settings.ts";
import { CommitError, NotOwnedError } from "./errors.ts";
import type { Coordinator } from "../coordinator.ts";
import type { Identity, Member } from "./member.ts";
import { commitOffsets } from "./offsets.ts";
import type { GroupSettings } from "./options.ts";
import type { Share } from "./share.ts";

export interface CommitsAccess {
  readonly coordinator: Coordinator;
  readonly settings: GroupSettings;
  readonly client: ClientSettings;
  readonly watch: RetryWatch;
  readonly member: () => Member;
  /** Whether the share is still the member's. */
  readonly isOwned: (share: Share) => boolean;
}

/** What is to be committed of a share: what is finished by the time it is sent, or what the caller says. */
export interface Wish {
  readonly share: Share;
  readonly place?: { readonly offset: Offset; readonly metadata: string | null; readonly order: number };
}

interface Target {
  readonly share: Share;
  readonly offset: Offset;
  readonly epoch: ReturnType<typeof leaderEpoch>;
  readonly metadata: string | null;
  readonly order: number;
}

interface Failure {
  readonly target: Target;
  readonly cause: Error;
  /** "moved": the group is in another generation than the commit. */
  readonly kind: "again" | "moved" | "refused";
}

/** The group is in another generation than the commit. */
export const movedCodes: ReadonlySet<number> = new Set([
  ErrorCode.ILLEGAL_GENERATION,
  ErrorCode.UNKNOWN_MEMBER_ID,
  ErrorCode.FENCED_INSTANCE_ID,
  ErrorCode.REBALANCE_IN_PROGRESS,
  ErrorCode.FENCED_MEMBER_EPOCH,
]);

export class Commits {
  readonly #access: CommitsAccess;
  #turn: Promise<unknown> = Promise.resolve();
  #isAsyncDue = false;
  #order = 0;

  constructor(access: CommitsAccess) {
    this.#access = access;
  }

  /** For an explicit wish: later ones overtake it. */
  nextOrder(): number {
    return ++this.#order;
  }

  /** One attempt, after the one under way. What fails now goes with the next commit; what fails for good is told. */
  async(wishes: () => readonly Wish[]): void {
    if (this.#isAsyncDue) return;
    this.#isAsyncDue = true;
    const { settings, watch } = this.#access;
    const operation = `commit offsets of group ${settings.group}`;
    void this.#inTurn(async () => {
      this.#isAsyncDue = false;
      const failures = await this.#attempt(wishes());
      const refused = failures.filter(({ kind }) => kind === "refused");
      const [again] = failures.filter(({ kind }) => kind === "again");
      if (again === undefined) watch.succeeded(operation);
      else watch.failed(operation, again.cause);
      if (refused.length > 0) settings.onCommitFailed(this.#error(refused));
    });
  }

  /**
   * Resolves when it is committed. Rejects with `CommitError`. `mayWait`: for the group to come to rest when
   * it rebalances; who is a part of that cannot.
   */
  async sync(
    wishes: readonly Wish[],
    { mayWait, timeoutMs }: { readonly mayWait: boolean; readonly timeoutMs: number },
  ): Promise<void> {
    const { client, member, isOwned } = this.#access;
    const endMs = client.clock.monotonicMs() + timeoutMs;
    let left = wishes;
    for (let attempt = 1; ; attempt++) {
      const failures = await this.#inTurn(() => this.#attempt(left));
      if (failures.length === 0) return;
      const isOver = client.clock.monotonicMs() >= endMs;
      const isHopeless = failures.some(({ kind }) => kind === "refused" || (kind === "moved" && !mayWait));
      if (isOver || isHopeless) throw this.#error(failures);
      await sleep(client.clock, backoffAfter(attempt, client));
      const findGone = (): readonly Failure[] => failures.filter(({ target }) => !isOwned(target.share));
      let gone = findGone();
      // What is gone does not come back, and the group of a member that was closed never comes to rest.
      while (mayWait && gone.length === 0 && !member().isStable && client.clock.monotonicMs() < endMs) {
        await sleep(client.clock, client.backoffMs);
        gone = findGone();
      }
      if (gone.length > 0) {
        const cause = new NotOwnedError("the partition belongs to another member by now");
        throw this.#error(gone.map((each) => ({ ...each, cause })));
      }
      const failed = new Set(failures.map(({ target }) => target.share));
      left = left.filter(({ share }) => failed.has(share));
    }
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(run);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #attempt(wishes: readonly Wish[]): Promise<readonly Failure[]> {
    const targets = wishes.flatMap((wish) => this.#targetOf(wish));
    if (targets.length === 0) return [];
    const { coordinator, settings, member } = this.#access;
    const { identity } = member();
    if (identity === undefined) {
      const cause = new NotOwnedError("this consumer is not a member of the group at the moment");
      return targets.map((target) => ({ target, cause, kind: "moved" }));
    }
    for (const { share, order } of targets) share.commitOrder = order;
    const what = `Committing for group ${settings.group}`;
    const again = (): undefined => undefined;
    try {
      const offsets = targets.map(({ share, offset, epoch, metadata }) => {
        const { topic, partition, topicId } = share;
        return { topic, partition, topicId, offset, epoch, metadata };
      });
      const results = await commitOffsets(coordinator, settings.group, identity, offsets, { what, again });
      return results.flatMap(({ errorCode }, index) =>
        this.#judge(targets[index] as Target, errorCode, identity, what),
      );
    } catch (cause) {
      const kind = isRetriable(cause) ? "again" : "refused";
      return targets.map((target) => ({ target, cause: cause as Error, kind }));
    }
  }

  /** Nothing when it is committed already, or something newer was sent since. */
  #targetOf({ share, place }: Wish): readonly Target[] {
    if (place !== undefined) {
      if (share.commitOrder > place.order) return [];
      const known = share.finishedTo;
      const epoch = known?.offset === place.offset ? known.epoch : leaderEpoch(-1);
      return [{ share, ...place, epoch }];
    }
    const { finishedTo, committed, metadata } = share;
    if (finishedTo === undefined || finishedTo.offset === committed?.offset) return [];
    return [{ share, ...finishedTo, metadata, order: this.nextOrder() }];
  }

  #judge(target: Target, code: number, identity: Identity, what: string): readonly Failure[] {
    if (code === ErrorCode.NONE) {
      target.share.committed = { offset: target.offset, epoch: target.epoch };
      return [];
    }
    const cause = new BrokerRefusedError(what, code);
    if (code === ErrorCode.STALE_MEMBER_EPOCH) {
      // It is a member, of an epoch that the answer to its last heartbeat told or the next will tell.
      this.#access.member().suspect(code, identity.generation);
      return [{ target, cause, kind: "again" }];
    }
    if (movedCodes.has(code)) {
      this.#access.member().suspect(code, identity.generation);
      return [{ target, cause, kind: "moved" }];
    }
    return [{ target, cause, kind: errorFacts(code).retriable ? "again" : "refused" }];
  }

  #error(failures: readonly Failure[]): CommitError {
    const partitions = failures.map(({ target: { share, offset } }) => {
      return { topic: share.topic, partition: share.partition, offset };
    });
    return new CommitError(this.#access.settings.group, partitions, (failures[0] as Failure).cause);
  }
}
