import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const root = mkdtempSync(join(tmpdir(), "holdfast-start-"));
const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(root, { recursive: true, force: true });
});

const main = fileURLToPath(new URL("../main.ts", import.meta.url));

interface Run {
  readonly child: ChildProcess;
  readonly output: { stdout: string; stderr: string };
  readonly ended: Promise<number | null>;
}

function run(...args: readonly string[]): Run {
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"], cwd: root });
  running.add(child);
  const output = { stdout: "", stderr: "" };
  child.stdout?.on("data", (text) => {
    output.stdout += String(text);
  });
  child.stderr?.on("data", (text) => {
    output.stderr += String(text);
  });
  const ended = once(child, "close").then(([code]) => {
    running.delete(child);
    return code as number | null;
  });
  return { child, output, ended };
}

/** A broker on free ports that serves. */
async function started(
  data: string,
  ...args: readonly string[]
): Promise<Run & { port: number; http: string }> {
  const made = run("start", "--listen", "127.0.0.1:0", "--data", join(root, data), ...args);
  while (!/^Ready/m.test(made.output.stdout)) {
    const over = await Promise.race([
      made.ended.then(() => true),
      once(made.child.stdout as NodeJS.ReadableStream, "data").then(() => false),
    ]);
    if (over) assert.fail(`${made.output.stdout}${made.output.stderr}`);
  }
  const port = Number(/^Ready in \d+ ms on 127\.0\.0\.1:(\d+)/m.exec(made.output.stdout)?.[1]);
  const http = /metrics and health on (http:\S+)\)/.exec(made.output.stdout)?.[1] ?? "";
  return { ...made, port, http };
}

describe("holdfast start", { concurrency: 2 }, () => {
  it("serves, tells what an ack means in JSON, answers metrics and health, and ends with 0 on SIGTERM", async () => {
    const broker = await started("serves");
    const socket = net.connect(broker.port, "127.0.0.1");
    await once(socket, "connect");
    const health = await fetch(`${broker.http}/health`);
    assert.deepEqual([health.status, await health.json()], [200, { canAcknowledge: true, reason: null }]);
    const text = await (await fetch(`${broker.http}/metrics`)).text();
    assert.match(text, /^holdfast_connections_open_count 1$/m);
    const again = run("start", "--listen", "127.0.0.1:0", "--data", join(root, "serves"));
    assert.equal(await again.ended, 1);
    assert.match(again.output.stderr, new RegExp(`is in use by process ${broker.child.pid}, started at `));
    assert.equal(again.output.stderr.trim().split("\n").length, 1);

    broker.child.kill("SIGTERM");
    assert.equal(await broker.ended, 0);
    const lines = broker.output.stdout.trim().split("\n");
    const events = lines
      .filter((line) => !line.startsWith("Ready"))
      .map((line) => JSON.parse(line) as { event: string; ack?: string });
    assert.deepEqual(
      events.map(({ event }) => event).filter((event) => event.startsWith("broker.")),
      ["broker.ready", "broker.stopping", "broker.stopped"],
    );
    assert.match(
      String(events.find(({ event }) => event === "broker.ready")?.ack),
      /on this machine|to disk/,
    );
    assert.equal(broker.output.stderr, "");
    socket.destroy();
  });

  it("starts again after kill -9", async () => {
    const first = await started("killed");
    first.child.kill("SIGKILL");
    await first.ended;
    const second = await started("killed");
    second.child.kill("SIGINT");
    assert.equal(await second.ended, 0);
  });

  it("refuses in one sentence, with an exit code that is not 0", async () => {
    const taken = net.createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as net.AddressInfo;
    const cases: readonly [readonly string[], number, RegExp][] = [
      [
        ["start", "--listen", `127.0.0.1:${port}`, "--data", join(root, "x1")],
        1,
        new RegExp(`Port ${port} on 127\\.0\\.0\\.1 is in use by process ${process.pid} `),
      ],
      [["start", "--data", join(main, "x")], 1, /is a file/],
      [["--set", "num.partitions=none"], 1, /The setting num\.partitions must be a whole number/],
      [["--nonsense"], 2, /Unknown option '--nonsense'/],
      [["nonsense"], 2, /There is no command nonsense/],
    ];
    for (const [args, code, sentence] of cases) {
      const refused = run(...args);
      assert.equal(await refused.ended, code);
      assert.match(refused.output.stderr, sentence);
      assert.equal(refused.output.stderr.trim().split("\n").length, 1, refused.output.stderr);
      assert.equal(refused.output.stdout, "");
    }
    taken.close();
  });

  it("tells its options and its version without starting", async () => {
    const [help, version] = [run("--help"), run("--version")];
    assert.deepEqual([await help.ended, await version.ended], [0, 0]);
    assert.match(help.output.stdout, /--listen HOST:PORT/);
    const { version: expected } = JSON.parse(
      readFileSync(new URL("../../../package.json", import.meta.url), "utf8"),
    ) as {
      version: string;
    };
    assert.equal(version.output.stdout, `holdfast ${expected}\n`);
  });
});
