import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aFlush, aFlushRow, aSegment, aTopic, aTopicId, at } from "../../test/proof/journal-world.ts";
import { Reader, Writer } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import { brokerEpoch, leaderEpoch, nodeId, partitionIndex, walPosition } from "../base/ids.ts";
import { type Command, commandSchemas, readCommand, writeCommand } from "./commands.ts";
import { UnknownCommandError } from "./errors.ts";

const assignment = {
  owner: brokerEpoch(4),
  exceptions: [{ topicId: aTopicId(1), partition: partitionIndex(2), owner: brokerEpoch(5) }],
};
const place = { topicId: aTopicId(1), partition: partitionIndex(3), leaderEpoch: leaderEpoch(2) };
const pointer = {
  object: "seg/1/9",
  bytes: 10,
  checksum: 0xffff_fffe,
  first: at(0),
  end: at(2 ** 45),
  segmentBytes: 10,
  segmentCount: 1,
};
const edits = [
  { name: "a", value: null },
  { name: "b", value: "ü" },
];

const examples: { readonly [K in Command["kind"]]: Extract<Command, { kind: K }> } = {
  init: { kind: "init", clusterId: "c", level: 1, walKind: 1, chapterSlots: 1024 },
  level: { kind: "level", level: 2 },
  register: {
    kind: "register",
    nonce: "ab",
    nodeId: nodeId(7),
    rack: null,
    listeners: [{ name: "L", host: "::1", port: 65_535 }],
    window: 8,
    levelMax: 1,
    software: "s",
    name: "host:1",
  },
  fence: { kind: "fence", epoch: brokerEpoch(2 ** 50) },
  recover: {
    kind: "recover",
    epoch: brokerEpoch(3),
    end: walPosition(2 ** 44),
    assignment,
    holes: [{ topicId: aTopicId(1), partition: partitionIndex(0), from: at(5), to: at(9) }],
    jumped: true,
    hash: new Uint8Array([1, 2]),
  },
  flush: aFlush(
    [aFlushRow({ from: 0, to: 9 }), aFlushRow({ from: 3, to: 3, segment: null })],
    12,
    13,
  ) as Extract<Command, { kind: "flush" }>,
  replace: {
    kind: "replace",
    rows: [
      {
        ...place,
        previous: pointer,
        next: null,
        old: [{ object: "seg/1/2", sectionStart: 128 }],
        segments: [aSegment(0, 9)],
        compacted: { to: at(2 ** 45), horizonMs: -1 },
      },
      { ...place, previous: null, next: pointer, old: [], segments: [], compacted: null },
    ],
    below: 2 ** 40,
  },
  topic: aTopic(1, brokerEpoch(1)),
  move: { kind: "move", ...place, to: brokerEpoch(2 ** 50), end: walPosition(2 ** 44) },
  partitions: { kind: "partitions", id: aTopicId(1), partitionCount: 9, assignment },
  drop: { kind: "drop", id: aTopicId(1) },
  trim: { kind: "trim", ...place, start: at(5), footer: aSegment(9, 9) },
  fold: { kind: "fold", ...place, previous: null, next: pointer },
  producers: { kind: "producers", count: 1000 },
  topicConfig: { kind: "topicConfig", id: aTopicId(1), replace: true, edits },
  brokerConfig: { kind: "brokerConfig", resource: "", replace: false, edits },
  prefer: { kind: "prefer", topicId: aTopicId(1), partition: partitionIndex(3), nodeId: nodeId(-1) },
  drain: { kind: "drain", epoch: brokerEpoch(2 ** 50) },
};

function bytesOf(command: Command, level = 2): Uint8Array {
  const to = new Writer();
  writeCommand(to, command, level);
  return new Uint8Array(to.finishFlat());
}

describe("commands as bytes", () => {
  for (const command of Object.values(examples)) {
    it(`${command.kind} is read as it was written`, () => {
      const from = new Reader(bytesOf(command));
      const read = readCommand(from);
      assert.equal(from.remaining, 0);
      assert.deepEqual(
        JSON.parse(JSON.stringify(read, replaceBytes)),
        JSON.parse(JSON.stringify(command, replaceBytes)),
      );
    });

    it(`${command.kind} cut anywhere is malformed`, () => {
      const whole = bytesOf(command);
      for (let length = 0; length < whole.byteLength; length++) {
        assert.throws(() => readCommand(new Reader(whole.slice(0, length))), MalformedError);
      }
    });
  }

  it("have numbers of their own, which never change", () => {
    const numbers = Object.fromEntries(
      Object.entries(commandSchemas).map(([kind, { type }]) => [kind, type]),
    );
    assert.deepEqual(numbers, {
      init: 0,
      level: 1,
      register: 2,
      fence: 3,
      recover: 4,
      flush: 5,
      topic: 6,
      move: 7,
      replace: 8,
      partitions: 9,
      drop: 10,
      trim: 11,
      fold: 12,
      producers: 13,
      topicConfig: 14,
      brokerConfig: 15,
      prefer: 16,
      drain: 17,
    });
  });

  it("are written in the version that older brokers of the format level read, or not at all", () => {
    const versionAt = (command: Command, level: number) => {
      const from = new Reader(bytesOf(command, level));
      from.int16();
      return from.int16();
    };
    assert.deepEqual([versionAt(examples.register, 1), versionAt(examples.register, 2)], [0, 1]);
    const old = readCommand(new Reader(bytesOf(examples.register, 1)));
    assert.equal(old.kind === "register" && old.name, null);
    for (const command of [examples.move, examples.prefer, examples.drain]) {
      assert.throws(() => bytesOf(command, 1), /not written below its format level/);
      assert.equal(versionAt(command, 2), 0);
    }
  });

  it("of another number or version are unknown, and not taken for something else", () => {
    const whole = bytesOf(examples.producers);
    for (const [position, value] of [
      [1, 18],
      [0, 1],
      [3, 1],
      [2, 255],
    ] as const) {
      const changed = whole.slice();
      changed[position] = value;
      assert.throws(() => readCommand(new Reader(changed)), UnknownCommandError);
    }
  });
});

function replaceBytes(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array || isBufferText(value)
    ? Buffer.from(bytesIn(value)).toString("hex")
    : value;
}

/** `Buffer` turns itself into such an object before a replacer sees it. */
function isBufferText(value: unknown): value is { readonly data: readonly number[] } {
  return typeof value === "object" && value !== null && "type" in value && value.type === "Buffer";
}

function bytesIn(value: Uint8Array | { readonly data: readonly number[] }): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array(value.data);
}
