import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { RefusedError } from "../../base/errors.ts";
import type { Verdict } from "../doctor/verdict.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import { doctor, type DoctorOptions } from "./doctor.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-doctor-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

async function run(options: DoctorOptions): Promise<{ out: string; code: number }> {
  let out = "";
  const stdout = {
    isTTY: false,
    columns: undefined,
    write: async (text: string | Uint8Array) => void (out += String(text)),
  };
  const terminal = { stdout, stderr: stdout, env: {} } as unknown as Terminal;
  return { code: await doctor({ terminal, args: [], options }), out };
}

function file(name: string, text: string): string {
  const path = join(scratch, name);
  writeFileSync(path, text);
  return path;
}

async function verdicts(options: DoctorOptions): Promise<ReadonlyMap<string, Verdict>> {
  const { out } = await run({ ...options, json: true });
  const all = out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Verdict);
  return new Map(all.map((verdict) => [verdict.about, verdict]));
}

/** Status by what it is about, of a client file with these lines. */
async function judged(...lines: string[]): Promise<{ readonly [about: string]: string }> {
  const found = await verdicts({ clientConfig: file("client.properties", lines.join("\n")) });
  return Object.fromEntries(
    [...found.values()]
      .filter(({ about }) => about !== "client file")
      .map(({ about, status }) => [about, status]),
  );
}

const freePort = (): Promise<number> =>
  new Promise((done) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => done(port));
    });
  });

describe("doctor", () => {
  it("measures synced writes, never says that a power cut is survived, and leaves nothing behind", async () => {
    const data = join(scratch, "data");
    mkdirSync(data);
    const found = await verdicts({ data, listen: `127.0.0.1:${await freePort()}` });
    const { medianMs, p99Ms, perSecond } = (found.get("sync") as Verdict).facts as {
      medianMs: number;
      p99Ms: number;
      perSecond: number;
    };
    assert(medianMs > 0 && p99Ms >= medianMs && perSecond > 0);
    assert.equal(found.get("power loss")?.status, "unknown");
    assert.equal(found.get("hard links")?.status, "ok");
    assert.equal(found.get("listen")?.status, "ok");
    assert.equal(found.get("data directory")?.status, "ok");
    assert.deepEqual(readdirSync(data), []);
  });

  it("looks at the directory above one that does not exist, and does not make it", async () => {
    const data = join(scratch, "absent", "deep");
    const found = await verdicts({ data, listen: `127.0.0.1:${await freePort()}` });
    assert.match(found.get("data directory")?.text ?? "", /does not exist yet/);
    assert(found.has("sync"));
    assert(!readdirSync(scratch).includes("absent"));
  });

  it("says of a memory file system that a power cut takes everything", {
    skip: process.platform !== "linux",
  }, async () => {
    const found = await verdicts({
      data: "/dev/shm/holdfast-doctor-absent",
      listen: `127.0.0.1:${await freePort()}`,
    });
    assert.equal(found.get("file system")?.status, "risk");
    assert.match(found.get("file system")?.text ?? "", /tmpfs, in memory/);
  });

  it("refuses a directory with other things in it", async () => {
    const data = join(scratch, "home");
    mkdirSync(data);
    writeFileSync(join(data, "letter.txt"), "");
    const found = await verdicts({ data, listen: `127.0.0.1:${await freePort()}` });
    assert.equal(found.get("data directory")?.status, "wrong");
    assert.match(found.get("data directory")?.text ?? "", /letter\.txt/);
  });

  it("names who has taken the port, and ends with 1", async () => {
    const server = createServer();
    const port = await new Promise<number>((done) => {
      server.listen(0, "127.0.0.1", () => done((server.address() as { port: number }).port));
    });
    const { out, code } = await run({ data: join(scratch, "p"), listen: `127.0.0.1:${port}` });
    server.close();
    assert.equal(code, 1);
    assert.match(
      out,
      new RegExp(
        `^WRONG +listen: 127\\.0\\.0\\.1:${port} is taken by ${process.platform === "linux" ? `process ${process.pid} ` : ""}`,
        "m",
      ),
    );
  });

  it("says that an address beyond loopback is open to everybody", async () => {
    const found = await verdicts({ data: join(scratch, "q"), listen: `0.0.0.0:${await freePort()}` });
    assert.equal(found.get("listen")?.status, "risk");
  });

  it("checks a broker's settings: what is meant by a typo, a value out of range, what has no effect", async () => {
    const config = file(
      "server.properties",
      "log.retention.mss=1\nmessage.max.bytes=many\nzookeeper.connect=x\nnum.partitions=3\nsocket.send.buffer.bytes=1",
    );
    const found = await verdicts({
      config,
      listen: `127.0.0.1:${await freePort()}`,
      data: join(scratch, "r"),
    });
    assert.match(found.get("log.retention.mss")?.text ?? "", /Was log\.retention\.ms meant\?$/);
    assert.equal(found.get("log.retention.mss")?.status, "wrong");
    assert.equal(found.get("message.max.bytes")?.status, "wrong");
    assert.equal(found.get("zookeeper.connect")?.status, "note");
    assert.equal(found.get("socket.send.buffer.bytes")?.status, "note");
    assert(!found.has("num.partitions"));
  });

  it("says what a producer's settings can lose, in Java's names and in librdkafka's", async () => {
    assert.deepEqual(
      await judged(
        "acks=1",
        "enable.idempotence=false",
        "retries=0",
        "delivery.timeout.ms=5000",
        "linger.ms=5",
      ),
      {
        "acks=1": "risk",
        "enable.idempotence=false": "risk",
        "retries=0": "risk",
        "delivery.timeout.ms=5000": "risk",
      },
    );
    assert.deepEqual(
      await judged("request.required.acks=0", "message.send.max.retries=2", "message.timeout.ms=1000"),
      {
        "request.required.acks=0": "risk",
        "message.send.max.retries=2": "risk",
        "message.timeout.ms=1000": "risk",
      },
    );
    assert.deepEqual(
      await judged(
        "bootstrap.servers=localhost:9092",
        "acks=all",
        "enable.idempotence=true",
        "compression.type=zstd",
      ),
      {
        "acks=all": "ok",
        "enable.idempotence=true": "ok",
      },
    );
  });

  it("says what a consumer's settings can skip, also where only a default does", async () => {
    assert.deepEqual(await judged("group.id=g", "enable.auto.commit=true", "auto.offset.reset=latest"), {
      "group.id=g": "wrong",
      "enable.auto.commit=true": "risk",
      "auto.offset.reset=latest": "risk",
    });
    assert.deepEqual(await judged("group.id=g"), {
      "group.id=g": "wrong",
      "enable.auto.commit": "risk",
      "auto.offset.reset": "risk",
    });
    assert.deepEqual(await judged("enable.auto.commit=false", "auto.offset.reset=none"), {
      "enable.auto.commit=false": "ok",
      "auto.offset.reset=none": "ok",
    });
  });

  it("names what does not work here, what is mistyped, and no password", async () => {
    assert.deepEqual(
      await judged(
        "security.protocol=SASL_SSL",
        "sasl.jaas.config=secret",
        "ackss=all",
        "bootstrap.servers=localhost",
        "linger.ms=soon",
        "schema.registry.url=x",
      ),
      {
        "security.protocol=SASL_SSL": "wrong",
        ackss: "wrong",
        "bootstrap.servers=localhost": "wrong",
        "linger.ms=soon": "wrong",
      },
    );
    const { out } = await run({ clientConfig: file("c", "ssl.keystore.passwort=hunter2\nackss=all") });
    assert.doesNotMatch(out, /hunter2/);
    assert.match(out, /^WRONG +ackss: is no key of a client and has no effect\. Was acks meant\?$/m);
    assert.match(out, /\n\n2 wrong, nothing seen that loses records\.\n$/);
  });

  it("refuses a file that is not there, and a setting without a value, in one sentence", async () => {
    await assert.rejects(run({ clientConfig: join(scratch, "nowhere") }), RefusedError);
    await assert.rejects(
      run({ set: ["x"], data: join(scratch, "s"), listen: `127.0.0.1:${await freePort()}` }),
      UsageError,
    );
  });
});
