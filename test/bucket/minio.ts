/**
 * MinIO, built from its Go module into `.cache/`, as a process on loopback: somebody else's store that speaks the
 * protocol of S3. Its data is in a directory of the test's.
 */
import { mkdirSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, type Running, start } from "../../tools/processes.ts";
import { goCommand, loopback } from "../../tools/toolbox.ts";

export interface Minio {
  readonly endpoint: string;
  /** For the environment of whoever uses it: credentials and endpoint. */
  readonly env: Readonly<Record<string, string>>;
  readonly running: Running;
  stop(): Promise<void>;
}

const user = "holdfast-test";
const password = "holdfast-secret";
export const bucket = "log";
const startMsMax = 60_000;

/** A bucket of MinIO is a directory; one that was there before the start is a bucket from the start. */
export async function startMinio(directory: string, port?: number, secret = password): Promise<Minio> {
  const program = await goCommand(join(import.meta.dirname, "go"), "github.com/minio/minio");
  mkdirSync(join(directory, bucket), { recursive: true });
  const address = `${loopback}:${port ?? (await freePort())}`;
  const running = start(program, ["server", directory, "--quiet", "--address", address], {
    env: {
      MINIO_ROOT_USER: user,
      MINIO_ROOT_PASSWORD: secret,
      MINIO_BROWSER: "off",
      MINIO_UPDATE: "off",
      HOME: directory,
      CI: "true",
    },
  });
  const endpoint = `http://${address}`;
  const untilMs = Date.now() + startMsMax;
  while (!(await isReady(endpoint))) {
    if (!running.isRunning()) throw new Error(`MinIO did not start: ${(await running.ended).stderr}`);
    if (Date.now() > untilMs) throw new Error(`MinIO did not start within ${startMsMax} ms`);
    await sleep(100);
  }
  return {
    endpoint,
    env: {
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ACCESS_KEY_ID: user,
      AWS_SECRET_ACCESS_KEY: secret,
      AWS_REGION: "us-east-1",
    },
    running,
    async stop() {
      running.signal("SIGKILL");
      await running.ended;
    },
  };
}

function isReady(endpoint: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asking = request(`${endpoint}/minio/health/ready`, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    asking.on("error", () => resolve(false));
    asking.end();
  });
}
