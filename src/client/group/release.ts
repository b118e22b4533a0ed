/**
 * How a member lets go of partitions: nothing more of them is handed out, what is being handled may finish
 * within a bound, what is finished is committed, and whoever asked to be told is told.
 */
import type { Clock, Timer } from "../../base/ports.ts";
import type { Commits } from "./commits.ts";
import { NotOwnedError } from "./errors.ts";
import type { Handlers } from "./handlers.ts";
import type { Holdings } from "./holdings.ts";
import type { GroupSettings, ReleaseReason } from "./options.ts";
import type { Share } from "./share.ts";

export interface ReleaseAccess {
  readonly clock: Clock;
  readonly settings: GroupSettings;
  readonly commits: Commits;
  readonly holdings: Holdings;
  readonly handlers: () => Handlers | undefined;
  /** Whether what is finished is committed without being asked to. */
  readonly commitsItself: () => boolean;
}

export class Release {
  readonly #access: ReleaseAccess;

  constructor(access: ReleaseAccess) {
    this.#access = access;
  }

  /** Resolves with what the last commit failed with. */
  async letGo(shares: readonly Share[], reason: ReleaseReason | "closed"): Promise<unknown> {
    const { settings, commits, holdings, handlers, commitsItself } = this.#access;
    const { onReleased, commitTimeoutMs, rebalanceTimeoutMs, releaseTimeoutMs } = settings;
    for (const share of shares) {
      share.isLeaving = true;
      if (reason === "lost") share.abort(new NotOwnedError("the group has given the partition to another"));
    }
    handlers()?.giveUpLeaving();
    await this.within(Promise.all(shares.map((share) => share.idle())));
    for (const share of shares) {
      if (share.isBusy) share.abort(new NotOwnedError("the partition is taken away"));
    }
    let failure: unknown;
    try {
      const told = shares.map(({ topic, partition }) => ({ topic, partition }));
      await this.within(Promise.resolve(onReleased(told, reason === "lost" ? "lost" : "revoked")));
      if (commitsItself() && reason !== "lost") {
        // The group waits for a member that lets go, and a member that is closed waits for the group.
        const mayWait = reason === "closed";
        const timeoutMs = mayWait
          ? commitTimeoutMs
          : Math.min(commitTimeoutMs, rebalanceTimeoutMs - releaseTimeoutMs);
        const wishes = shares.map((share) => ({ share }));
        await commits.sync(wishes, { mayWait, timeoutMs });
      }
    } catch (cause) {
      failure = cause;
    }
    for (const share of shares) holdings.drop(share);
    return failure;
  }

  /** At most `releaseTimeoutMs`. */
  async within(done: Promise<unknown>): Promise<void> {
    const { clock, settings } = this.#access;
    let timer: Timer | undefined;
    const late = new Promise<void>((resolve) => {
      timer = clock.schedule(settings.releaseTimeoutMs, resolve);
    });
    await Promise.race([done, late]).finally(() => timer?.cancel());
  }
}
