/**
 * Share sessions (KIP-932): which partitions a member of a share group reads from this broker, so that each of its
 * requests names only what changed, and the number of the request that must come next, so that none counts twice.
 * A session ends when its member says so or its connection does; what the member had acquired is then released by
 * whoever listens. Bounded in number and in partitions. Pure: the handlers read and acknowledge, this remembers.
 */
import type { PartitionIndex, TopicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";

/** What a request says of its session. */
export const ShareEpoch = { open: 0, close: -1 } as const;
const sessionEpochMax = 0x7fff_ffff;

/** A session looks at all its partitions with each fetch, however small the request. */
const sessionPartitionsMax = 50_000;
/** What all sessions remember together: some 200 bytes a partition. */
const allPartitionsMax = 200_000;

export interface SharePlace {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
}

export interface SessionPartition extends SharePlace {
  /** Whether the member has heard of it since it asked for it, or since it heard of an error: silence means no news. */
  isTold: boolean;
}

export interface Refused {
  readonly kind: "refused";
  readonly errorCode: ErrorCode;
  readonly errorMessage: string;
}

export interface ShareSessionsOptions {
  /** Most sessions at a time; `group.share.max.share.sessions`. */
  readonly sessionsMax: () => number;
  /** Synchronous: the session is over, and what its member has acquired is free. `isLast`: of its group here. */
  readonly onEnd: (session: ShareSession, isLast: boolean) => void;
  readonly partitionsMax?: number;
}

/** The connection over which a session lives. */
export interface SessionConnection {
  onClose(listener: () => void): () => void;
}

export class ShareSession {
  readonly groupId: string;
  readonly memberId: string;
  /** The next request must carry this epoch. */
  epoch = 1;
  isOver = false;
  /** Its member said that it is the end. */
  isClosing = false;
  /** In the order in which they are served next: what was served moves to the end, so that none starves. */
  readonly partitions = new Map<string, SessionPartition>();
  connection: SessionConnection | null = null;
  unfollow: () => void = () => undefined;

  constructor(groupId: string, memberId: string) {
    this.groupId = groupId;
    this.memberId = memberId;
  }

  /** Records of it were given to the member: the others come first next time. */
  served(place: SharePlace): void {
    const key = placeKey(place);
    const partition = this.partitions.get(key);
    if (partition === undefined) return;
    this.partitions.delete(key);
    this.partitions.set(key, partition);
  }

  /** Whether the answer has to name the partition although there is nothing to tell; remembers that it was named. */
  tells(place: SharePlace, isError: boolean): boolean {
    const partition = this.partitions.get(placeKey(place));
    if (partition === undefined) return false;
    const isNew = !partition.isTold;
    partition.isTold = !isError;
    return isNew;
  }
}

export interface FetchClaim {
  readonly groupId: string;
  readonly memberId: string;
  readonly epoch: number;
  readonly wanted: readonly SharePlace[];
  readonly forgotten: readonly SharePlace[];
  readonly acknowledges: boolean;
}

export class ShareSessions {
  readonly #options: ShareSessionsOptions;
  readonly #partitionsMax: number;
  /** By group, then by member. */
  readonly #groups = new Map<string, Map<string, ShareSession>>();
  #count = 0;
  #partitionCount = 0;

  constructor(options: ShareSessionsOptions) {
    this.#options = options;
    this.#partitionsMax = options.partitionsMax ?? allPartitionsMax;
  }

  get count(): number {
    return this.#count;
  }
  get partitionCount(): number {
    return this.#partitionCount;
  }
  /** Whether a member of the group reads from this broker. */
  hasGroup(groupId: string): boolean {
    return this.#groups.has(groupId);
  }

  /** Takes a ShareFetch; a session that it closes is still there for its acknowledgements: `end` it then. */
  fetch(claim: FetchClaim, connection: SessionConnection): ShareSession | Refused {
    const { groupId, memberId, epoch } = claim;
    if (epoch === ShareEpoch.open) return this.#open(claim, connection);
    const session = this.#next(groupId, memberId, epoch, connection);
    if ("kind" in session || epoch === ShareEpoch.close) return session;
    for (const place of claim.forgotten) this.#forget(session, place);
    for (const place of claim.wanted) this.#want(session, place);
    return this.#isWithinBounds(session) ? session : this.#tooMany(session);
  }

  /** Takes a ShareAcknowledge; as `fetch` for a session that it closes. */
  acknowledge(
    groupId: string,
    memberId: string,
    epoch: number,
    connection: SessionConnection,
  ): ShareSession | Refused {
    if (epoch === ShareEpoch.open) {
      return refused(ErrorCode.INVALID_SHARE_SESSION_EPOCH, "A share session is opened by ShareFetch.");
    }
    return this.#next(groupId, memberId, epoch, connection);
  }

  end(session: ShareSession): void {
    if (session.isOver) return;
    this.#remove(session);
    this.#options.onEnd(session, !this.hasGroup(session.groupId));
  }

  #open(claim: FetchClaim, connection: SessionConnection): ShareSession | Refused {
    const { groupId, memberId } = claim;
    if (claim.acknowledges) {
      return refused(
        ErrorCode.INVALID_REQUEST,
        "What was acquired in another session cannot be acknowledged by the request that opens one.",
      );
    }
    // What the member acquired before stays its own: it may have lost an answer, and not its records.
    const before = this.#groups.get(groupId)?.get(memberId);
    if (before !== undefined) this.#remove(before);
    if (this.#count >= this.#options.sessionsMax()) {
      if (before !== undefined) this.#options.onEnd(before, !this.hasGroup(groupId));
      return refused(
        ErrorCode.SHARE_SESSION_LIMIT_REACHED,
        "This broker has as many share sessions as group.share.max.share.sessions allows.",
      );
    }
    const session = new ShareSession(groupId, memberId);
    let members = this.#groups.get(groupId);
    if (members === undefined) this.#groups.set(groupId, (members = new Map()));
    members.set(memberId, session);
    this.#count++;
    this.#follow(session, connection);
    if (session.isOver) return notFound();
    for (const place of claim.wanted) this.#want(session, place);
    return this.#isWithinBounds(session) ? session : this.#tooMany(session);
  }

  #next(
    groupId: string,
    memberId: string,
    epoch: number,
    connection: SessionConnection,
  ): ShareSession | Refused {
    const session = this.#groups.get(groupId)?.get(memberId);
    if (session === undefined) return notFound();
    if (epoch === ShareEpoch.close) {
      session.isClosing = true;
      return session;
    }
    if (session.epoch !== epoch) {
      return refused(
        ErrorCode.INVALID_SHARE_SESSION_EPOCH,
        `The share session is at epoch ${session.epoch}, not at ${epoch}.`,
      );
    }
    session.epoch = epoch === sessionEpochMax ? 1 : epoch + 1;
    if (session.connection !== connection) this.#follow(session, connection);
    return session.isOver ? notFound() : session;
  }

  #follow(session: ShareSession, connection: SessionConnection): void {
    session.unfollow();
    session.connection = connection;
    session.unfollow = connection.onClose(() => this.end(session));
  }

  #want(session: ShareSession, { topicId, partition }: SharePlace): void {
    const key = placeKey({ topicId, partition });
    if (session.partitions.has(key)) return;
    session.partitions.set(key, { topicId, partition, isTold: false });
    this.#partitionCount++;
  }

  #forget(session: ShareSession, place: SharePlace): void {
    if (session.partitions.delete(placeKey(place))) this.#partitionCount--;
  }

  #isWithinBounds(session: ShareSession): boolean {
    return this.#partitionCount <= this.#partitionsMax && session.partitions.size <= sessionPartitionsMax;
  }

  #tooMany(session: ShareSession): Refused {
    this.end(session);
    return refused(
      ErrorCode.SHARE_SESSION_LIMIT_REACHED,
      "The share sessions of this broker have too many partitions; read them with more brokers, or fewer each.",
    );
  }

  #remove(session: ShareSession): void {
    session.isOver = true;
    session.unfollow();
    this.#count--;
    this.#partitionCount -= session.partitions.size;
    const members = this.#groups.get(session.groupId);
    members?.delete(session.memberId);
    if (members?.size === 0) this.#groups.delete(session.groupId);
  }
}

export const placeKey = ({ topicId, partition }: SharePlace): string => `${topicId}/${partition}`;

export const refused = (errorCode: ErrorCode, errorMessage: string): Refused => ({
  kind: "refused",
  errorCode,
  errorMessage,
});

const notFound = (): Refused =>
  refused(ErrorCode.SHARE_SESSION_NOT_FOUND, "There is no such share session here; open one with epoch 0.");
