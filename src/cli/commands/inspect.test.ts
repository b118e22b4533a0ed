import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { RefusedError } from "../../base/errors.ts";
import { startBroker } from "../../testing/test-broker.ts";
import { startCluster } from "../../testing/test-cluster.ts";
import { connect, produce } from "../../testing/raw-client-fixture.ts";
import type { Terminal } from "../terminal.ts";
import { inspect, type InspectOptions } from "./inspect.ts";

const data = mkdtempSync(join(tmpdir(), "holdfast-inspect-"));
after(() => rmSync(data, { recursive: true, force: true }));

/** What it printed, and its exit code. */
async function run(path: string, options: InspectOptions = {}): Promise<{ out: string; code: number }> {
  let out = "";
  const stdout = {
    isTTY: false,
    columns: undefined,
    write: async (text: string | Uint8Array) => void (out += String(text)),
  };
  const terminal = { stdout, stderr: stdout, env: {} } as unknown as Terminal;
  const code = await inspect({ terminal, args: [path], options });
  return { out, code };
}

const filesIn = (directory: string): string[] =>
  readdirSync(join(data, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

/** Runs `look` with the byte at `at` of a file changed. */
async function withFlip<T>(path: string, at: number, look: () => Promise<T>): Promise<T> {
  const whole = readFileSync(path);
  const changed = Buffer.from(whole);
  changed[at] = (changed[at] as number) ^ 0xff;
  writeFileSync(path, changed);
  try {
    return await look();
  } finally {
    writeFileSync(path, whole);
  }
}

describe("inspect", () => {
  let walWhileOpen = "";
  let overviewWhileOpen = { out: "", code: -1 };

  before(async () => {
    // The first life leaves segments, the second one a log that ends in the middle.
    const broker = await startBroker({ data, topics: ["orders"] });
    for (const value of ["one", "two"]) {
      await produce(await connect(broker), "orders", { key: Buffer.from("k"), value: Buffer.from(value) });
    }
    await broker.restart();
    await produce(await connect(broker), "orders", { key: null, value: Buffer.from([0, 27, 1]) });
    overviewWhileOpen = await run(data);
    walWhileOpen = (await run(filesIn("wal").at(-1) as string, { records: true })).out;
    await broker.crash();
    await broker.close();
  });

  it("shows a data directory while a broker runs on it: journal, topics, logs and store", () => {
    const { out, code } = overviewWhileOpen;
    assert.equal(code, 0, out);
    assert.match(out, /^data directory .*: open in process \d+/m);
    assert.match(out, /^cluster \S+: format level \d+, \d+ slots decided, 1 topics$/m);
    assert.match(out, /^topic orders \(\S+\): 1 partitions$/m);
    assert.match(out, /^ {2}orders-0: in segments from offset 0 to 2, /m);
    assert.match(out, /^WAL file wal\/\d+\/\d+\.log: epoch \d+/m);
    assert.match(out, /^store: \d+ objects, /m);
    assert.doesNotMatch(out, /DAMAGE/);
  });

  it("shows the frames, entries, batches and records of a log, topics by name, and nothing that a terminal would obey", () => {
    assert.match(walWhileOpen, /^frame \d+ at byte 8,192: position 0, /m);
    assert.match(walWhileOpen, /^ {2}entry orders-0 offsets 2 to 2, appended 20/m);
    assert.match(walWhileOpen, /^ {4}batch orders-0 offsets 2 to 2, 1 records/m);
    assert.match(walWhileOpen, /^ {6}2 {2}2023-11-14T22:13:20\.000Z {2}0x001b01$/m);
    assert.match(walWhileOpen, /^end at byte .*after \d+ frames with \d+ entries; /m);
  });

  it("shows a segment with its sections, blocks and records", async () => {
    const [segment] = filesIn("store/seg");
    const { out, code } = await run(segment as string, { records: true });
    assert.equal(code, 0);
    assert.match(out, /^object seg\/\d+\/\d+: segment, /);
    assert.match(out, /^section orders-0 at byte \d+: offsets 0 to 1, 2 records/m);
    assert.match(out, /"k" = "one"$/m);
    assert.match(out, /"k" = "two"$/m);
  });

  it("shows each slot of the journal with its commands", async () => {
    const texts = [];
    for (const slot of filesIn("store/meta")) texts.push((await run(slot)).out);
    const all = texts.join("");
    assert.match(all, /^slot 0: 1 commands of no epoch yet/m);
    assert.match(all, /^ {2}init \{"clusterId":/m);
    assert.match(all, /^ {2}register node /m);
    assert.match(all, /^ {2}topic orders \(\S+\), 1 partitions/m);
    assert.match(all, /^ {2}flush: 1 segments, /m);
    assert.doesNotMatch(all, /DAMAGE/);
  });

  it("gives one JSON object for each line, with bytes as hex", async () => {
    const [segment] = filesIn("store/seg");
    const { out } = await run(segment as string, { records: true, json: true });
    const facts = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { kind: string; [name: string]: unknown });
    assert.deepEqual(
      [...new Set(facts.map(({ kind }) => kind))],
      ["object", "section", "block", "batch", "record"],
    );
    const records = facts.filter(({ kind }) => kind === "record");
    assert.deepEqual(
      records.map(({ topic, offset, key, value }) => [topic, offset, key, value]),
      [
        ["orders", 0, "6b", Buffer.from("one").toString("hex")],
        ["orders", 1, "6b", Buffer.from("two").toString("hex")],
      ],
    );
  });

  it("names damage and goes on: a flipped byte in each kind of file", async () => {
    const [segment] = filesIn("store/seg") as [string];
    const size = readFileSync(segment).byteLength;
    const inSegment = await withFlip(segment, Math.floor(size / 2), () => run(segment));
    assert.equal(inSegment.code, 1);
    assert.match(inSegment.out, /^DAMAGE {2}seg\/\S+: .*orders|^DAMAGE {2}seg\/\S+: .*checksum/m);
    assert.match(inSegment.out, /^section orders-0/m);

    const slots = filesIn("store/meta");
    const slot = slots.at(-1) as string;
    const inSlot = await withFlip(slot, 130, () => run(slot));
    assert.equal(inSlot.code, 1);
    assert.match(inSlot.out, /^DAMAGE {2}meta\/\d+: its body fails the SHA-256$/m);
    // Without a sound journal the rest of the directory is shown all the same.
    const around = await withFlip(slot, 130, () => run(data));
    assert.equal(around.code, 1);
    assert.match(around.out, /^DAMAGE {2}journal: Slot \d+ of the metadata journal/m);
    assert.match(around.out, /^WAL file /m);

    const log = filesIn("wal").at(-1) as string;
    const inHeader = await withFlip(log, 20, () => run(log));
    assert.match(inHeader.out, /^DAMAGE .*copy 1 of 2 of the file header is damaged$/m);
    assert.match(inHeader.out, /^frame \d+ at byte 8,192/m);
    const inFrame = await withFlip(log, 8192 + 88 + 71 + 30, () => run(log));
    assert.equal(inFrame.code, 1);
    assert.match(
      inFrame.out,
      /^DAMAGE .*frame at byte 8192: entry 0, which claims to be orders-0 offsets 2 to 2: it fails its checksum$/m,
    );
  });

  it("ends with findings and never with an error, whatever bytes a file of each kind has become", async () => {
    const files = [filesIn("store/seg")[0], filesIn("store/meta").at(-1), filesIn("wal").at(-1)] as string[];
    const wholes = files.map((path) => readFileSync(path).subarray(0, 16 * 4096));
    const change = fc.record({
      at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: files.length - 1 }),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
        async (kind, changes, end) => {
          const bytes = Buffer.from(wholes[kind] as Buffer);
          for (const { at, bytes: put } of changes)
            bytes.set(
              put.subarray(0, bytes.length - Math.floor(at * bytes.length)),
              Math.floor(at * bytes.length),
            );
          const named = join(data, "copy", (files[kind] as string).slice(data.length + 1));
          mkdirSync(dirname(named), { recursive: true });
          writeFileSync(named, end === null ? bytes : bytes.subarray(0, Math.floor(end * bytes.length)));
          const { out } = await run(named, { records: true });
          assert.notEqual(out, "");
        },
      ),
      { numRuns: 60 },
    );
    rmSync(join(data, "copy"), { recursive: true });
  });

  it("finds with --check what an overview does not read", async () => {
    const [segment] = filesIn("store/seg") as [string];
    const at = Math.floor(readFileSync(segment).byteLength / 2);
    assert.doesNotMatch((await withFlip(segment, at, () => run(data))).out, /DAMAGE {2}seg/);
    const checked = await withFlip(segment, at, () => run(data, { check: true }));
    assert.equal(checked.code, 1);
    assert.match(checked.out, /^DAMAGE {2}seg\//m);
    assert.match((await run(data, { check: true })).out, /^checked: every byte of \d+ objects was read$/m);
  });

  it("names an object that the journal refers to and that is not there", async () => {
    const [segment] = filesIn("store/seg") as [string];
    const whole = readFileSync(segment);
    rmSync(segment);
    const { out, code } = await run(data);
    writeFileSync(segment, whole);
    assert.equal(code, 1);
    assert.match(out, /^DAMAGE {2}seg\/\S+: the journal names it and it is not there$/m);
  });

  it("refuses what is not of Holdfast, or not there, in one sentence", async () => {
    const stray = join(data, "stray");
    writeFileSync(stray, "hello");
    await assert.rejects(run(stray), RefusedError);
    await assert.rejects(run(join(data, "absent")), /absent does not exist\.$/);
    await assert.rejects(run(tmpdir()), /is not a data directory of Holdfast/);
    rmSync(stray);
  });
});

describe("inspect, over a store that brokers share", () => {
  it("shows slots of a log with their records, the seal at which it ends, and what is damaged", async () => {
    const store = mkdtempSync(join(tmpdir(), "holdfast-inspect-"));
    /** Of the only broker that wrote. */
    const slots = (): string[] => {
      const logs = join(store, "store/wal");
      const [epoch = ""] = readdirSync(logs);
      return readdirSync(join(logs, epoch))
        .sort()
        .map((name) => join(logs, epoch, name));
    };
    try {
      await using cluster = await startCluster({ store, brokers: 2, topics: ["orders"] });
      const owner = cluster.ownerOf("orders") as number;
      const client = await connect(cluster.broker(owner));
      await produce(client, "orders", { key: null, value: Buffer.from("one") });
      await cluster.kill(owner);
      await cluster.whenServing();
      const [first = "", second = ""] = slots();
      const { out } = await run(first, { records: true });
      assert.match(out, /^slot 0 of epoch \d+ wal\/\d+\/0+: 1 entries, \d+ B, cluster /m);
      assert.match(out, /^ {2}entry orders-0 offsets 0 to 0, /m);
      assert.match(out, /^ {6}0 {2}2023-11-14T22:13:20\.000Z {2}"one"$/m);
      assert.match(
        (await run(second)).out,
        /^seal wal\/\d+\/0+1: the log of epoch \d+ has no slot from 1 on/m,
      );
      const altered = readFileSync(first);
      altered.writeUInt8(altered.readUInt8(200) ^ 1, 200);
      writeFileSync(first, altered);
      const damaged = await run(first);
      assert.equal(damaged.code, 1);
      assert.match(damaged.out, /^DAMAGE {2}wal\/\d+\/0+: lost are offsets 0 to 0 of orders-0$/m);
    } finally {
      rmSync(store, { recursive: true, force: true });
    }
  });
});
