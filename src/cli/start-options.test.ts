import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { RefusedError } from "../base/errors.ts";
import { parseProperties } from "./properties.ts";
import { readStartOptions, UsageError } from "./start-options.ts";

const directory = mkdtempSync(join(tmpdir(), "holdfast-options-"));
after(() => rmSync(directory, { recursive: true, force: true }));

describe("the options of start", () => {
  it("without any it is Kafka's port on this machine only", () => {
    const options = readStartOptions([]);
    assert.deepEqual(options.listen, { host: "127.0.0.1", port: 9092 });
    assert.deepEqual(options.http, { host: "127.0.0.1", port: 9093 });
    assert.equal(options.advertised, null);
    assert.deepEqual(options.storage, { kind: "data", directory: "./holdfast-data" });
  });

  it("--store, or HOLDFAST_STORE, names what brokers share, and nothing beside it says where records are", () => {
    const shared = (name: string, endpoint?: string, region?: string) => ({
      kind: "store",
      name,
      endpoint,
      region,
    });
    const bucket = "s3://bucket/orders";
    assert.deepEqual(readStartOptions(["--store", bucket]).storage, shared(bucket));
    assert.deepEqual(readStartOptions([], { HOLDFAST_STORE: "file:/srv/a" }).storage, shared("file:/srv/a"));
    assert.deepEqual(
      readStartOptions(["--store", bucket], { HOLDFAST_STORE: "file:/srv/a" }).storage,
      shared(bucket),
    );
    assert.deepEqual(
      readStartOptions(["--store", bucket, "--endpoint", "http://127.0.0.1:9000", "--region", "here"])
        .storage,
      shared(bucket, "http://127.0.0.1:9000", "here"),
    );
    assert.deepEqual(readStartOptions(["--data", "d"], { HOLDFAST_STORE: "" }).storage, {
      kind: "data",
      directory: "d",
    });
    assert.throws(
      () => readStartOptions(["--store", bucket, "--data", "d"]),
      /--data d and --store s3:.*give one/,
    );
    assert.throws(
      () => readStartOptions(["--data", "d"], { HOLDFAST_STORE: bucket }),
      /--data d and HOLDFAST_STORE s3:.*give one/,
    );
    assert.throws(() => readStartOptions(["--store", "/srv/a"]), /names no store: write s3:.*file:DIR/);
    assert.throws(() => readStartOptions(["--store", "file:"]), /names no store/);
    assert.throws(() => readStartOptions(["--endpoint", "http://x"]), /which --store names/);
  });

  it("over a shared store, a broker that listens everywhere says how it is reached", () => {
    const everywhere = ["--store", "s3://bucket", "--insecure", "--listen"];
    for (const address of ["0.0.0.0:9092", "[::]:9092"]) {
      assert.throws(() => readStartOptions([...everywhere, address]), /add --advertise HOST:PORT/);
      const told = readStartOptions([...everywhere, address, "--advertise", "b1.example.org:9092"]);
      assert.deepEqual(told.advertised, { host: "b1.example.org", port: 9092 });
    }
    assert.equal(readStartOptions([...everywhere, "10.1.2.3:9092"]).advertised, null);
    assert.equal(readStartOptions(["--store", "file:d", "--listen", "127.0.0.1:0"]).listen.port, 0);
  });

  it("a free port for clients means a free one for metrics, unless that is given", () => {
    assert.equal(readStartOptions(["--listen", "127.0.0.1:0"]).http.port, 0);
    assert.equal(readStartOptions(["--listen=[::1]:0", "--http", "127.0.0.1:9393"]).http.port, 9393);
    assert.deepEqual(readStartOptions(["--listen=[::1]:0"]).listen, { host: "::1", port: 0 });
  });

  it("an address that others can reach needs --insecure, and then a mistyped name makes no topic", () => {
    for (const args of [
      ["--listen", "0.0.0.0:9092"],
      ["--listen", "[::]:9092"],
      ["--http", "10.1.2.3:80"],
    ]) {
      assert.throws(() => readStartOptions(args), /there is no authentication: add --insecure/);
    }
    const open = readStartOptions(["--listen", "0.0.0.0:9092", "--insecure"]);
    assert.equal(open.settings.get("auto.create.topics.enable"), "false");
    const asked = readStartOptions([
      "--listen",
      "0.0.0.0:1",
      "--insecure",
      "--set",
      "auto.create.topics.enable=true",
    ]);
    assert.equal(asked.settings.get("auto.create.topics.enable"), "true");
  });

  it("--set counts more than the file, and the value may hold an equals sign", () => {
    const path = join(directory, "server.properties");
    writeFileSync(path, "num.partitions=3\nbroker.rack = a\n");
    const { settings } = readStartOptions(["--config", path, "--set", "num.partitions=4", "--set", "x=a=b"]);
    assert.deepEqual(Object.fromEntries(settings), { "num.partitions": "4", "broker.rack": "a", x: "a=b" });
  });

  it("what cannot be understood is refused in one sentence", () => {
    const refuses = (
      args: readonly string[],
      kind: typeof RefusedError | typeof UsageError,
      sentence: RegExp,
    ): void =>
      assert.throws(
        () => readStartOptions(args),
        (error) => {
          assert.ok(error instanceof kind, String(error));
          assert.match(error.message, sentence);
          assert.doesNotMatch(error.message, /\n/);
          return true;
        },
      );
    refuses(
      ["--lisen", "x"],
      UsageError,
      /^Unknown option '--lisen'.*; holdfast --help lists the options\.$/,
    );
    refuses(["--data"], UsageError, /^Option '--data <value>' argument missing; /);
    refuses(["extra"], UsageError, /^Unexpected argument 'extra'/);
    refuses(["--set", "a"], UsageError, /--set needs KEY=VALUE, not "a"\./);
    refuses(
      ["--listen", "9092"],
      RefusedError,
      /^--listen needs HOST:PORT, for example 127\.0\.0\.1:9092, not "9092"\.$/,
    );
    refuses(["--listen", "127.0.0.1:70000"], RefusedError, /^--listen needs HOST:PORT/);
    refuses(["--advertise", "b.example.org:0"], RefusedError, /not 0\.$/);
    refuses(["--config", join(directory, "none")], RefusedError, /none does not exist\.$/);
    refuses(["--config", directory], RefusedError, /cannot be read\.$/);
  });
});

describe("properties files", () => {
  it("have keys, values, comments, continued lines and escapes as Java reads them", () => {
    const text = [
      "# comment",
      "! comment",
      "",
      "a=1",
      "  b : two words  ",
      "c three",
      "d=x,\\",
      "   y",
      "e\\:f=g\\=h",
      "tab=a\\tb\\u00e9",
      "empty=",
      "bare",
      "path=C:\\\\dir\\\\",
      "next=1",
    ].join("\r\n");
    assert.deepEqual(Object.fromEntries(parseProperties(text)), {
      a: "1",
      b: "two words",
      c: "three",
      d: "x,y",
      "e:f": "g=h",
      tab: "a\tbé",
      empty: "",
      bare: "",
      path: "C:\\dir\\",
      next: "1",
    });
  });
});
