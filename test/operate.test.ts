/** What docs/operate says to type and to deploy is what the program understands. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { readStartOptions } from "../src/cli/start-options.ts";

const read = (name: string): string => readFileSync(`docs/operate/${name}`, "utf8");

test("the Deployment starts a broker over a bucket that listens everywhere and tells others one address", () => {
  const text = read("kubernetes.yaml");
  const list = /\n +args:\n((?: +(?:- |#).*\n)+)/.exec(text)?.[1] ?? "";
  const args = [...list.matchAll(/^ +- (.*)$/gm)].map(([, arg = ""]) => arg.replace("$(POD_IP)", "10.1.2.3"));
  assert.equal(args[0], "start");
  const options = readStartOptions(args.slice(1));
  assert.equal(options.storage.kind, "store");
  assert.deepEqual(options.advertised, { host: "10.1.2.3", port: 9092 });
  assert.match(text, new RegExp(`containerPort: ${options.listen.port}\\b`));
  assert.match(text, new RegExp(`containerPort: ${options.http.port}\\b`));
  assert.doesNotMatch(text, /^ +(?:livenessProbe|volumes|volumeMounts):/m);
});

test("the unit starts a broker over what its environment names", () => {
  const text = read("holdfast.service");
  const line = /^ExecStart=\S+ start (.*)$/m.exec(text)?.[1] ?? "";
  const args = line.replace("${HOLDFAST_ADDRESS}", "10.0.0.7:9092").split(" ");
  const store = /^# +HOLDFAST_STORE=(\S+)$/m.exec(text)?.[1] ?? "";
  const options = readStartOptions(args, { HOLDFAST_STORE: store });
  assert.equal(options.storage.kind, "store");
  assert.deepEqual(options.listen, { host: "10.0.0.7", port: 9092 });
});

test("every command that the page about a cluster shows is understood", () => {
  const lines = [...read("cluster.md").matchAll(/^(?:\$ )?holdfast start (.*)$/gm)].map(
    ([, args = ""]) => args,
  );
  assert.ok(lines.length >= 3, "the page shows how to start");
  for (const line of lines) {
    const args = line
      .replace(/ +#.*$/, "")
      .replace(/ *&$/, "")
      .split(" ");
    assert.equal(readStartOptions(args).storage.kind, "store", line);
  }
});
