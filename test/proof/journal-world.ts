/**
 * What tests of the journal stand on: a quiet environment on virtual time, and commands with meaningful
 * defaults.
 */
import {
  type BrokerEpoch,
  leaderEpoch,
  nodeId,
  type Offset,
  offset,
  partitionIndex,
  type TopicId,
  topicIdFromBytes,
  walPosition,
} from "../../src/base/ids.ts";
import type { Env, Facts } from "../../src/base/ports.ts";
import type { FlushRow, SegmentRef } from "../../src/log/segment-ref.ts";
import type { Command, Register } from "../../src/metadata/commands.ts";
import { SimClock } from "../../src/sim/clock.ts";
import { SimRandom } from "../../src/sim/random.ts";
import { Scheduler } from "../../src/sim/scheduler.ts";

export interface LoggedEvent {
  readonly level: string;
  readonly event: string;
  readonly facts: Facts;
}

export interface World {
  readonly random: SimRandom;
  readonly scheduler: Scheduler;
  readonly env: Env;
  readonly logged: LoggedEvent[];
}

export function aWorld(seed = 1): World {
  const random = new SimRandom(seed);
  const scheduler = new Scheduler(random);
  const logged: LoggedEvent[] = [];
  const note =
    (level: string) =>
    (event: string, facts: Facts = {}) => {
      logged.push({ level, event, facts });
    };
  const env: Env = {
    clock: new SimClock(scheduler),
    random,
    log: { debug: note("debug"), info: note("info"), warn: note("warn"), error: note("error") },
    meter: {
      counter: () => ({ add: () => undefined }),
      gauge: () => undefined,
      histogram: () => ({ observe: () => undefined }),
    },
  };
  return { random, scheduler, env, logged };
}

export const aBroker: Omit<Register, "nonce" | "levelMax" | "name"> = {
  nodeId: nodeId(1),
  rack: null,
  listeners: [{ name: "PLAINTEXT", host: "127.0.0.1", port: 9092 }],
  window: 0,
  software: "holdfast test",
};

export function aTopicId(number: number): TopicId {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(12, number);
  bytes[0] = 7;
  return topicIdFromBytes(bytes);
}

export function aTopic(
  number: number,
  owner: BrokerEpoch,
  partitionCount = 2,
): Extract<Command, { kind: "topic" }> {
  return {
    kind: "topic",
    id: aTopicId(number),
    name: `topic-${number}`,
    partitionCount,
    assignment: { owner, exceptions: [] },
    configs: [{ name: "retention.ms", value: String(number) }],
  };
}

export function aSegment(base: number, end: number, name = "seg/000000000001/000000000001"): SegmentRef {
  return {
    object: name,
    sectionStart: 128,
    sectionBytes: 1000,
    footerBytes: 100,
    footerChecksum: 7,
    base: offset(base),
    end: offset(end),
    recordCount: end - base,
    maxTimestamp: 5,
    maxTimestampOffset: offset(base),
    appendedFirstMs: 1,
    appendedLastMs: 2,
    format: 1,
  };
}

export function aFlushRow(row: {
  readonly topic?: TopicId;
  readonly partition?: number;
  readonly leaderEpoch?: number;
  readonly from: number;
  readonly to: number;
  readonly start?: number;
  readonly segment?: SegmentRef | null;
}): FlushRow {
  const { from, to } = row;
  return {
    topicId: row.topic ?? aTopicId(1),
    partition: partitionIndex(row.partition ?? 0),
    leaderEpoch: leaderEpoch(row.leaderEpoch ?? 0),
    from: offset(from),
    to: offset(to),
    start: offset(row.start ?? -1),
    segment: row.segment === undefined ? (from === to ? null : aSegment(from, to)) : row.segment,
  };
}

export function aFlush(rows: readonly FlushRow[], release = 0, below = 0): Command {
  return { kind: "flush", rows, release: walPosition(release), below };
}

export const at = (value: number): Offset => offset(value);
