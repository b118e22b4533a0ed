import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../base/ids.ts";
import type { Clock } from "../base/ports.ts";
import { type FetchNews, FetchSessions, type FetchWish } from "./fetch-session.ts";

let nowMs = 0;
const clock: Clock = {
  wallMs: () => nowMs,
  monotonicMs: () => nowMs,
  schedule: () => ({ cancel: () => undefined }),
};

function sessionsWith(slots: number): FetchSessions {
  let id = 100;
  return new FetchSessions({ clock, slots, nextId: () => ++id });
}

const wish = (partition: number, fetchOffset = 0): FetchWish => ({
  topic: "orders",
  topicId: NO_TOPIC_ID,
  partition: partitionIndex(partition),
  currentLeaderEpoch: leaderEpoch(-1),
  fetchOffset: offset(fetchOffset),
  lastFetchedEpoch: leaderEpoch(-1),
  bytesMax: 1024,
});

const news = (change: Partial<FetchNews> = {}): FetchNews => ({
  errorCode: 0,
  recordBytes: 0,
  highWatermark: offset(7),
  logStart: offset(0),
  diverging: false,
  ...change,
});

function served(plan: ReturnType<FetchSessions["plan"]>) {
  assert.equal(plan.kind, "serve");
  return plan as Extract<typeof plan, { kind: "serve" }>;
}

const request = (
  sessionId: number,
  sessionEpoch: number,
  wishes: FetchWish[] = [],
  forgotten: FetchWish[] = [],
) => ({
  sessionId,
  sessionEpoch,
  byId: false,
  wishes,
  forgotten,
});

describe("fetch sessions (KIP-227)", () => {
  it("knows what the client was told of a partition, so that nothing is made of what it knows", () => {
    const sessions = sessionsWith(2);
    const first = served(sessions.plan(request(0, 0, [wish(0), wish(1)])));
    assert.equal(first.knows(0, offset(0), offset(7)), false, "a full fetch is answered in full");
    first.omits(wish(0), news());
    first.omits(wish(1), news({ errorCode: 1 }));
    const next = served(sessions.plan(request(first.sessionId, 1)));
    assert.equal(next.knows(0, offset(0), offset(7)), true);
    assert.equal(next.knows(0, offset(0), offset(8)), false, "there is more");
    assert.equal(next.knows(0, offset(1), offset(7)), false, "there is less");
    assert.equal(next.knows(1, offset(0), offset(7)), false, "after an error it has to hear that it is over");
    const sessionless = served(sessions.plan(request(0, -1, [wish(0)])));
    assert.equal(sessionless.knows(0, offset(0), offset(7)), false);
  });

  it("a request with epoch −1 gets no session", () => {
    const plan = served(sessionsWith(2).plan(request(0, -1, [wish(0)])));
    assert.equal(plan.sessionId, 0);
    assert.equal(plan.omits(wish(0), news()), false);
  });

  it("an incremental request is served everything that the session knows, and told only what is new", () => {
    const sessions = sessionsWith(2);
    const first = served(sessions.plan(request(0, 0, [wish(0), wish(1)])));
    assert.notEqual(first.sessionId, 0);
    assert.equal(first.omits(wish(0), news()), false, "a full answer holds every partition");
    first.omits(wish(1), news());

    const second = served(sessions.plan(request(first.sessionId, 1, [wish(1, 5)])));
    assert.deepEqual(
      second.wishes.map((each) => [each.partition, each.fetchOffset]),
      [
        [0, 0],
        [1, 5],
      ],
    );
    assert.equal(second.omits(wish(0), news()), true, "nothing new");
    assert.equal(second.omits(wish(1, 5), news({ recordBytes: 10 })), false);
    assert.equal(second.omits(wish(0), news({ highWatermark: offset(8) })), false);
    assert.equal(second.omits(wish(0), news({ highWatermark: offset(8), errorCode: 3 })), false);
  });

  it("a partition that was served moves behind the others", () => {
    const sessions = sessionsWith(2);
    const first = served(sessions.plan(request(0, 0, [wish(0), wish(1)])));
    first.omits(wish(0), news({ recordBytes: 10 }));
    const next = served(sessions.plan(request(first.sessionId, 1)));
    assert.deepEqual(
      next.wishes.map((each) => each.partition),
      [1, 0],
    );
  });

  it("a forgotten partition is not served any more", () => {
    const sessions = sessionsWith(2);
    const { sessionId } = served(sessions.plan(request(0, 0, [wish(0), wish(1)])));
    const next = served(sessions.plan(request(sessionId, 1, [], [wish(0)])));
    assert.deepEqual(
      next.wishes.map((each) => each.partition),
      [1],
    );
  });

  it("a stale epoch, an unknown session and a change from names to ids are refused", () => {
    const sessions = sessionsWith(2);
    const { sessionId } = served(sessions.plan(request(0, 0, [wish(0)])));
    assert.equal(sessions.plan(request(sessionId, 2)).kind, "wrong-epoch");
    assert.equal(sessions.plan(request(9, 1)).kind, "unknown-session");
    assert.equal(sessions.plan({ ...request(sessionId, 1), byId: true }).kind, "wrong-topic-naming");
  });

  it("a full cache gives no session until the oldest was idle for two minutes", () => {
    nowMs = 0;
    const sessions = sessionsWith(1);
    const { sessionId } = served(sessions.plan(request(0, 0, [wish(0)])));
    assert.equal(served(sessions.plan(request(0, 0, [wish(0)]))).sessionId, 0);
    nowMs = 120_000;
    assert.notEqual(served(sessions.plan(request(0, 0, [wish(0)]))).sessionId, 0);
    assert.equal(sessions.plan(request(sessionId, 1)).kind, "unknown-session");
    assert.equal(sessions.count, 1);
  });

  it("no more partitions than the bound are remembered in all", () => {
    const sessions = new FetchSessions({ clock, slots: 10, nextId: () => 5, partitionsMax: 2 });
    assert.equal(served(sessions.plan(request(0, 0, [wish(0), wish(1), wish(2)]))).sessionId, 0);
    const { sessionId } = served(sessions.plan(request(0, 0, [wish(0), wish(1)])));
    assert.equal(sessions.plan(request(sessionId, 1, [wish(2)])).kind, "unknown-session");
    assert.equal(sessions.count, 0);
  });

  it("no session has more partitions than it may, nor names that no topic has", () => {
    const sessions = new FetchSessions({ clock, slots: 10, nextId: () => 5, sessionPartitionsMax: 2 });
    assert.equal(served(sessions.plan(request(0, 0, [wish(0), wish(1), wish(2)]))).sessionId, 0);
    const { sessionId } = served(sessions.plan(request(0, 0, [wish(0), wish(1)])));
    assert.equal(sessions.plan(request(sessionId, 1, [wish(2)])).kind, "unknown-session");
    const long = { ...wish(0), topic: "x".repeat(250) };
    const plan = served(sessions.plan(request(0, 0, [long])));
    assert.equal(plan.sessionId, 0);
    assert.deepEqual(plan.wishes, [long]);
    const other = served(sessions.plan(request(0, 0, [wish(0)])));
    assert.equal(sessions.plan(request(other.sessionId, 1, [long])).kind, "unknown-session");
    assert.equal(sessions.count, 0);
  });

  it("a partition that is named twice is served once", () => {
    const other = { ...wish(0), topic: "payments" };
    for (const epoch of [-1, 0]) {
      const plan = served(sessionsWith(2).plan(request(0, epoch, [wish(0), other, wish(0, 5), wish(1)])));
      assert.deepEqual(plan.wishes, [wish(0), other, wish(1)]);
    }
  });
});
