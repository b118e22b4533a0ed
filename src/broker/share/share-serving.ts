/**
 * One ShareFetch on its way to records: looks at the partitions of its session in their order, takes what is there
 * within its bounds, and waits when that is nothing: for new records, for records that came free, for a
 * share-partition to be read, for its time to be up. Nothing polls. Who waits longest is woken first. What it has
 * taken belongs to its member, whether the answer arrives or not: then the session ends, or the locks run out.
 */
import { within } from "../../base/ports.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { AnswerRoom } from "../answer-room.ts";
import type { ConnectionFacts, Services } from "../context.ts";
import { placeOf } from "../placement.ts";
import type { SharePartition, Taken } from "./share-partition.ts";
import { placeKey, type SharePlace, type ShareSession } from "./share-session.ts";

export interface ServingWish {
  readonly session: ShareSession;
  readonly recordsMax: number;
  readonly bytesMin: number;
  readonly bytesMax: number;
  readonly waitMs: number;
  readonly mode: "batch" | "strict";
  readonly batchSize: number;
}

export interface ServedShare {
  readonly place: SharePlace;
  /** Null: nothing is served there. */
  readonly share: SharePartition | null;
  readonly taken: Exclude<Taken, { readonly kind: "nothing" }>;
}

/** So long an answer waits for what its records rest on: then they go back, and whoever asks next is given them. */
const durableMsMax = 5_000;

/**
 * What of it the member may be told, once that rests on nothing that could still be lost (I1), and in a cluster with
 * a proof that is younger than all of that: without records that it lost meanwhile, or that were given back. Rejects
 * as the log and the barrier do.
 */
export async function whenTellable(
  memberId: string,
  served: readonly ServedShare[],
  { env, cluster }: Pick<Services, "env" | "cluster">,
): Promise<readonly ServedShare[]> {
  const open = new Set(served.filter(({ taken }) => taken.kind === "records" && taken.persisted !== null));
  if (open.size > 0) {
    const durable = Promise.all(
      Array.from(open, async (each) => {
        if (each.taken.kind === "records") await each.taken.persisted;
        open.delete(each);
      }),
    );
    await within(env.clock, durableMsMax, durable, () => []);
  }
  if (served.some((each) => each.taken.kind === "records" && !open.has(each))) await cluster.barrier.pass();
  return served.flatMap((each) => {
    const { share, taken } = each;
    if (taken.kind !== "records" || share === null) return [each];
    if (share.over !== null) return [{ ...each, taken: { kind: "refused", errorCode: share.over } }];
    const acquired = open.has(each) ? [] : share.held(memberId, taken.acquired);
    const untold = taken.acquired.filter((all) => !acquired.includes(all));
    if (untold.length > 0) share.giveBack(memberId, untold);
    return acquired.length === 0 ? [] : [{ ...each, taken: { ...taken, acquired } }];
  });
}

export class ShareServing {
  readonly #wish: ServingWish;
  readonly #services: Services;
  /** What the records take, until the answer is given to the connection. */
  readonly room: AnswerRoom;
  /** Those that it has looked at, and how to stop waiting for them. */
  readonly #known = new Map<string, { readonly share: SharePartition; readonly stop: () => void }>();
  readonly #served: ServedShare[] = [];
  #count = 0;
  #endings: (() => void)[] = [];
  #finish: (() => void) | null = null;

  constructor(wish: ServingWish, services: Services) {
    this.#wish = wish;
    this.#services = services;
    const bytesMax = Math.min(wish.bytesMax, services.config.get("fetch.max.bytes"));
    this.room = new AnswerRoom(services.answers, bytesMax);
  }

  /** Resolves when there is something to answer, or its time is up. The room is to be given back then. */
  async run(connection: Pick<ConnectionFacts, "onClose">): Promise<readonly ServedShare[]> {
    const { waitMs } = this.#wish;
    if (!this.#attempt(waitMs <= 0)) await this.#wait(waitMs, connection);
    for (const { stop } of this.#known.values()) stop();
    for (const end of this.#endings) end();
    return this.#served;
  }

  #wait(waitMs: number, connection: Pick<ConnectionFacts, "onClose">): Promise<void> {
    return new Promise((resolve) => {
      this.#finish = () => {
        this.#finish = null;
        resolve();
      };
      const timer = this.#services.env.clock.schedule(waitMs, () => {
        if (this.#finish === null) return;
        this.#attempt(true);
        this.#finish();
      });
      // Nobody is there to take anything: its session ends.
      this.#endings = [() => timer.cancel(), connection.onClose(() => this.#finish?.())];
    });
  }

  /** Somebody says that there may be something. */
  #onNews(): boolean {
    if (this.#finish === null) return true;
    const isDone = this.#attempt(false);
    if (isDone) this.#finish();
    return isDone;
  }

  /** Synchronous. `isLast`: there is no more time to wait for more. */
  #attempt(isLast: boolean): boolean {
    const { session, bytesMin, recordsMax } = this.#wish;
    if (session.isOver) return true;
    const shares = this.#look();
    const isEnough =
      isLast || bytesMin <= 1 || this.#served.length > 0 || this.#available(shares) >= bytesMin;
    if (isEnough) {
      for (const [place, share] of shares) {
        if (this.#count >= recordsMax) break;
        if (this.room.bytes > 0 && this.room.left === 0) break;
        this.#take(place, share);
      }
    }
    return this.#served.length > 0 || session.partitions.size === 0;
  }

  /** Share-partitions that are here; of the others it is noted why not. */
  #look(): readonly (readonly [SharePlace, SharePartition])[] {
    const { shares } = this.#services;
    const { session } = this.#wish;
    const found: [SharePlace, SharePartition][] = [];
    for (const place of session.partitions.values()) {
      const key = placeKey(place);
      const known = this.#known.get(key);
      if (known !== undefined && known.share.over === null) {
        found.push([place, known.share]);
        continue;
      }
      const partition = placeOf(place.topicId, place.partition, "owner", this.#services);
      if (typeof partition === "number") this.#refuse(place, partition);
      // It ended while we waited: whoever comes next finds it anew, and this one is told why.
      else if (known !== undefined) this.#refuse(place, known.share.over as ErrorCode);
      else {
        const share = shares.open(session.groupId, partition);
        if (typeof share === "number") {
          this.#refuse(place, share);
          continue;
        }
        this.#known.set(key, { share, stop: share.wait(() => this.#onNews()) });
        found.push([place, share]);
      }
    }
    return found;
  }

  #refuse(place: SharePlace, errorCode: ErrorCode): void {
    this.#served.push({ place, share: null, taken: { kind: "refused", errorCode } });
  }

  #available(shares: readonly (readonly [SharePlace, SharePartition])[]): number {
    let bytes = 0;
    for (const [, { availableBytes }] of shares) bytes += availableBytes;
    return bytes;
  }

  #take(place: SharePlace, share: SharePartition): void {
    const { session, recordsMax, mode, batchSize } = this.#wish;
    const taken = share.take({
      memberId: session.memberId,
      recordsMax: recordsMax - this.#count,
      bytesMax: this.room.left,
      orOneBatch: this.room.bytes === 0,
      mode,
      batchSize,
    });
    if (taken.kind === "nothing") return;
    this.#served.push({ place, share, taken });
    if (taken.kind === "refused") return;
    this.#count += taken.count;
    this.room.take(taken.bytes);
  }
}
