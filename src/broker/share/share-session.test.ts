import assert from "node:assert/strict";
import { test } from "node:test";
import { partitionIndex, topicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { type FetchClaim, ShareSession, ShareSessions, type SharePlace } from "./share-session.ts";

const topic = topicId("AAAAAAAAAAAAAAAAAAAAAQ");
const place = (partition: number): SharePlace => ({ topicId: topic, partition: partitionIndex(partition) });

class Wire {
  readonly listeners = new Set<() => void>();
  onClose(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  close(): void {
    for (const listener of this.listeners) listener();
  }
}

function room(sessionsMax = 2, partitionsMax = 10) {
  const limit = { sessionsMax };
  const ended: { member: string; isLast: boolean }[] = [];
  const sessions = new ShareSessions({
    sessionsMax: () => limit.sessionsMax,
    partitionsMax,
    onEnd: ({ memberId }, isLast) => ended.push({ member: memberId, isLast }),
  });
  const wire = new Wire();
  const fetch = (memberId: string, epoch: number, more: Partial<FetchClaim> = {}, over = wire) =>
    sessions.fetch(
      { groupId: "g", memberId, epoch, wanted: [], forgotten: [], acknowledges: false, ...more },
      over,
    );
  return { sessions, wire, ended, fetch, limit };
}

function opened(session: ReturnType<ShareSessions["fetch"]>): ShareSession {
  assert.ok(session instanceof ShareSession, JSON.stringify(session));
  return session;
}

function code(session: ReturnType<ShareSessions["fetch"]>): number {
  return session instanceof ShareSession ? ErrorCode.NONE : session.errorCode;
}

test("each request of a session carries the next epoch, and another is refused", () => {
  const { fetch, sessions, wire } = room();
  opened(fetch("a", 0));
  assert.equal(code(fetch("a", 2)), ErrorCode.INVALID_SHARE_SESSION_EPOCH);
  assert.equal(code(fetch("a", 1)), ErrorCode.NONE);
  assert.equal(code(fetch("a", 1)), ErrorCode.INVALID_SHARE_SESSION_EPOCH);
  assert.equal(code(sessions.acknowledge("g", "a", 2, wire)), ErrorCode.NONE);
  assert.equal(code(fetch("a", 3)), ErrorCode.NONE);
});

test("a member without a session, and an acknowledgement that would open one, are refused", () => {
  const { fetch, sessions, wire } = room();
  assert.equal(code(fetch("a", 1)), ErrorCode.SHARE_SESSION_NOT_FOUND);
  assert.equal(code(fetch("a", -1)), ErrorCode.SHARE_SESSION_NOT_FOUND);
  assert.equal(code(sessions.acknowledge("g", "a", 0, wire)), ErrorCode.INVALID_SHARE_SESSION_EPOCH);
  assert.equal(code(fetch("a", 0, { acknowledges: true })), ErrorCode.INVALID_REQUEST);
});

test("a session remembers its partitions, and names a new one once", () => {
  const { fetch } = room();
  const session = opened(fetch("a", 0, { wanted: [place(0), place(1)] }));
  assert.deepEqual([session.tells(place(0), false), session.tells(place(0), false)], [true, false]);
  opened(fetch("a", 1, { wanted: [place(2)], forgotten: [place(0)] }));
  const partitions = () => Array.from(session.partitions.values(), ({ partition }) => Number(partition));
  assert.deepEqual(partitions(), [1, 2]);
  session.served(place(1));
  assert.deepEqual(partitions(), [2, 1]);
});

test("after an error the member hears of the partition once more", () => {
  const session = opened(room().fetch("a", 0, { wanted: [place(0)] }));
  session.tells(place(0), true);
  assert.deepEqual([session.tells(place(0), false), session.tells(place(0), false)], [true, false]);
});

test("a session ends with its connection, the last of its group is told apart", () => {
  const { fetch, wire, ended, sessions } = room();
  const other = new Wire();
  opened(fetch("a", 0));
  opened(fetch("b", 0, {}, other));
  wire.close();
  other.close();
  assert.deepEqual(ended, [
    { member: "a", isLast: false },
    { member: "b", isLast: true },
  ]);
  assert.deepEqual([sessions.count, sessions.partitionCount, sessions.hasGroup("g")], [0, 0, false]);
  assert.equal(code(fetch("a", 1)), ErrorCode.SHARE_SESSION_NOT_FOUND);
});

test("a session that goes on over another connection lives as long as that", () => {
  const { fetch, wire, ended } = room();
  const other = new Wire();
  opened(fetch("a", 0));
  opened(fetch("a", 1, {}, other));
  wire.close();
  assert.deepEqual(ended, []);
  other.close();
  assert.equal(ended.length, 1);
});

test("a member that opens a session anew keeps what it has acquired", () => {
  const { fetch, ended, sessions } = room();
  const before = opened(fetch("a", 0, { wanted: [place(0)] }));
  const after = opened(fetch("a", 0, { wanted: [place(1)] }));
  assert.deepEqual(ended, []);
  assert.deepEqual(
    [before.isOver, after.isOver, sessions.count, sessions.partitionCount],
    [true, false, 1, 1],
  );
});

test("there are no more sessions, and no more partitions in them, than the bounds say", () => {
  const { fetch, ended, sessions } = room(2, 3);
  opened(fetch("a", 0, { wanted: [place(0), place(1)] }));
  opened(fetch("b", 0, { wanted: [place(0)] }));
  assert.equal(code(fetch("c", 0)), ErrorCode.SHARE_SESSION_LIMIT_REACHED);
  assert.equal(code(fetch("b", 1, { wanted: [place(1)] })), ErrorCode.SHARE_SESSION_LIMIT_REACHED);
  assert.deepEqual(ended, [{ member: "b", isLast: false }]);
  assert.deepEqual([sessions.count, sessions.partitionCount], [1, 2]);
});

test("a member that may not open its session anew since fewer are allowed by now has lost the one before", () => {
  const { fetch, ended, sessions, limit } = room(2);
  opened(fetch("a", 0, { wanted: [place(0)] }));
  opened(fetch("b", 0));
  limit.sessionsMax = 0;
  for (const member of ["a", "b"])
    assert.equal(code(fetch(member, 0)), ErrorCode.SHARE_SESSION_LIMIT_REACHED);
  assert.deepEqual(ended, [
    { member: "a", isLast: false },
    { member: "b", isLast: true },
  ]);
  assert.deepEqual([sessions.count, sessions.partitionCount], [0, 0]);
});
