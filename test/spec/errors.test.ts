/** Our table of errors is Kafka's: the same codes, names and answers to "is it worth another try?". Needs Java and Maven. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { errorTable } from "../../src/protocol/errors.ts";
import { kafkaClientsClasspath } from "../../tools/toolbox.ts";

test("the error table is that of Kafka 4.4.0", async () => {
  const classpath = await kafkaClientsClasspath("4.4.0");
  const source = join(import.meta.dirname, "ErrorTable.java");
  const printed = execFileSync("java", ["-cp", classpath, source], { encoding: "utf8", stdio: "pipe" });
  assert.deepEqual(
    errorTable.map(({ code, name, retriable }) => `${code} ${name} ${retriable}`),
    printed.trim().split("\n"),
  );
});
