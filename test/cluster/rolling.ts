/**
 * An older build and this one over one store, under load: three brokers of the older build are replaced one by one,
 * taken back, and replaced again; in each mixture one of either build is killed, so that each takes over from the
 * other. Then, where the older build knows a lower format level, the level is raised: refused while an old broker is
 * there, made when none is, and no old one starts afterwards. Nothing acknowledged may be missing, doubled or moved.
 *
 *   node test/cluster/rolling.ts [--from COMMIT] [--to COMMIT] [--level 1|as-it-was] [--rounds 1] [--store s3://…]
 *
 * `--to`: default what stands in the working tree. `--level`: the one that the older build is changed to know.
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { decodeResponse, encodeRequest } from "../../src/protocol/frame.ts";
import { ErrorCode } from "../../src/protocol/errors.ts";
import {
  UpdateFeatures,
  type UpdateFeaturesResponse,
  UpgradeType,
} from "../../src/protocol/messages/update-features.ts";
import { type Broker, startBroker } from "../../tools/brokers.ts";
import { cacheDirectory, repositoryRoot } from "../../tools/toolbox.ts";
import { type Counts, isClean, type Load, startLoad } from "../crash/run.ts";
import { buildAt, firstOfClusters } from "./builds.ts";

export interface RollingOptions {
  /** Programs of the two builds. */
  readonly older: string;
  readonly newer: string;
  /** Of the newer build's format, when the older one knows less: raised at the end. */
  readonly raiseTo: number | null;
  /** How often all brokers are replaced and taken back before they are replaced for good. */
  readonly rounds: number;
  /** As `--store` takes it; default a directory. */
  readonly store?: string;
  readonly onEvent?: (line: string) => void;
}

export interface RollingReport extends Counts {
  readonly replaced: number;
  readonly killed: number;
  /** Brokers that the others had ended before they were asked to end: on a loaded machine an older build may suspect in vain. */
  readonly suspected: number;
  readonly passed: boolean;
}

const brokerCount = 3;
/** Records that are acknowledged between two events. */
const betweenRecords = 2_000;
/** For moves to even out what each owns. */
const settleMs = 3_000;
/** Small, so that each build reads segments of the other and not only its log. */
const settings = ["--set", "holdfast.flush.age.ms=2000"];
const saysReplaced = /was ended by|sealed this log|took over/;

export async function rolling(options: RollingOptions): Promise<RollingReport> {
  mkdirSync(join(cacheDirectory, "crash"), { recursive: true });
  const directory = realpathSync(mkdtempSync(join(cacheDirectory, "crash", "rolling-")));
  const cluster = new MixedCluster(options, options.store ?? `file:${join(directory, "store")}`, directory);
  await cluster.start();
  const load = await startLoad(cluster.address, "rolling");
  await load.acknowledges(betweenRecords);
  try {
    for (let round = 0; round < options.rounds; round++) {
      await replaceAll(cluster, load, options.newer);
      await replaceAll(cluster, load, options.older);
    }
    await replaceAll(cluster, load, options.newer, options.raiseTo);
    if (options.raiseTo !== null) await raise(cluster, load, options.raiseTo);
    const counts = await load.end();
    const passed = isClean(counts);
    await cluster.stop();
    if (passed) rmSync(directory, { recursive: true, force: true });
    const { replaced, killed, suspected } = cluster;
    return { replaced, killed, suspected, passed, ...counts };
  } finally {
    await load.abandon();
    await cluster.dismiss();
  }
}

/** One after the other; while both builds are there, one of each is killed. `refused`: a level that must not be raised meanwhile. */
async function replaceAll(
  cluster: MixedCluster,
  load: Load,
  program: string,
  refused: number | null = null,
): Promise<void> {
  for (let at = 0; at < brokerCount; at++) {
    await cluster.replace(at, program);
    await load.acknowledges(betweenRecords);
    await sleep(settleMs);
    if (at === brokerCount - 1) return;
    if (refused !== null) await expectRefused(cluster.brokers[at] as Broker, refused);
    // The one that came, and one that is still to be replaced.
    await cluster.kill(at === 0 ? 0 : brokerCount - 1);
    await load.acknowledges(betweenRecords);
  }
}

async function expectRefused(broker: Broker, level: number): Promise<void> {
  const { errorCode, errorMessage } = await updateFormat(broker.address, level);
  if (errorCode === ErrorCode.NONE) {
    throw new Error(`Level ${level} was set while a broker was there that does not know it: ${errorMessage}`);
  }
}

async function raise(cluster: MixedCluster, load: Load, level: number): Promise<void> {
  const { errorCode, errorMessage } = await updateFormat((cluster.brokers[0] as Broker).address, level);
  if (errorCode !== ErrorCode.NONE) {
    throw new Error(`Level ${level} was refused with ${errorCode}: ${errorMessage}`);
  }
  await cluster.expectNoOldOne();
  await load.acknowledges(betweenRecords);
  // With the new commands: each hands over what it has, and gets its share again.
  for (let at = 0; at < brokerCount; at++) {
    await cluster.replace(at);
    await load.acknowledges(betweenRecords);
    await sleep(settleMs);
  }
}

class MixedCluster {
  readonly #options: RollingOptions;
  readonly #store: string;
  readonly #directory: string;
  readonly #programs: string[];
  readonly brokers: Broker[] = [];
  replaced = 0;
  killed = 0;
  suspected = 0;

  constructor(options: RollingOptions, store: string, directory: string) {
    this.#options = options;
    this.#store = store;
    this.#directory = directory;
    this.#programs = Array.from({ length: brokerCount }, () => options.older);
  }

  get address(): string {
    return this.brokers.map(({ address }) => address).join();
  }

  async start(): Promise<void> {
    for (let at = 0; at < brokerCount; at++) this.brokers.push(await this.#begin(at));
  }

  #begin(at: number): Promise<Broker> {
    return startBroker("holdfast", {
      directory: join(this.#directory, `broker-${at}`),
      store: this.#store,
      settings,
      program: () => this.#programs[at] as string,
    });
  }

  /** Asks a broker to end, which must end well, and starts it again with another program or the same. */
  async replace(at: number, program = this.#programs[at] as string): Promise<void> {
    const broker = this.brokers[at] as Broker;
    const { code, stdout, stderr } = await broker.stop();
    if (code === 1 && saysReplaced.test(`${stdout}\n${stderr}`)) this.suspected++;
    else if (code !== 0) {
      throw new Error(
        `Broker ${at} was asked to end, and ended with ${code}: ${stdout.slice(-4000)}\n${stderr}`,
      );
    }
    this.#programs[at] = program;
    const readyMs = await broker.start();
    this.replaced++;
    const build = program === this.#options.newer ? "newer" : "older";
    this.#options.onEvent?.(
      `broker ${at} is of the ${build} build now, ready after ${Math.round(readyMs)} ms`,
    );
  }

  async kill(at: number): Promise<void> {
    const broker = this.brokers[at] as Broker;
    await broker.kill();
    this.killed++;
    // Longer than the others are patient: they take over.
    await sleep(settleMs * 2);
    await broker.start();
    const build = this.#programs[at] === this.#options.newer ? "newer" : "older";
    this.#options.onEvent?.(`broker ${at}, of the ${build} build, was killed and is back`);
  }

  /** An old program that is started now does not come up, and says why. */
  async expectNoOldOne(): Promise<void> {
    this.#programs.push(this.#options.older);
    const said = await this.#begin(brokerCount).then(
      async (broker) => {
        await broker.kill();
        return "Ready";
      },
      (cause: unknown) => String(cause),
    );
    if (!said.includes("this version of Holdfast knows")) {
      throw new Error(`A build that does not know the format level was to be refused, and said: ${said}`);
    }
    this.#options.onEvent?.("a broker of the older build is refused from now on");
  }

  async stop(): Promise<void> {
    for (const broker of this.brokers) await broker.stop();
  }

  async dismiss(): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker.kill().catch(() => undefined)));
  }
}

async function updateFormat(address: string, level: number): Promise<UpdateFeaturesResponse> {
  const apiVersion = 2;
  const request = {
    timeoutMs: 10_000,
    featureUpdates: [
      {
        feature: "holdfast.format",
        maxVersionLevel: level,
        allowDowngrade: false,
        upgradeType: UpgradeType.upgrade,
      },
    ],
    validateOnly: false,
  };
  const header = { apiVersion, correlationId: 1, clientId: "rolling" };
  const [host, port] = address.split(":") as [string, string];
  const socket = createConnection(Number(port), host);
  try {
    for (const chunk of encodeRequest(UpdateFeatures, header, request)) socket.write(chunk);
    let answer = Buffer.alloc(0);
    for await (const bytes of socket) {
      answer = Buffer.concat([answer, bytes as Buffer]);
      if (answer.byteLength >= 4 && answer.byteLength >= 4 + answer.readInt32BE(0)) {
        return decodeResponse(UpdateFeatures, apiVersion, answer.subarray(4));
      }
    }
    throw new Error(`${address} ended the connection instead of answering UpdateFeatures`);
  } finally {
    socket.destroy();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      from: { type: "string" },
      to: { type: "string" },
      level: { type: "string", default: "1" },
      rounds: { type: "string", default: "1" },
      store: { type: "string" },
    },
  });
  const isChanged = values.level !== "as-it-was";
  const report = await rolling({
    // The first builds of clusters do not end cleanly at level 1.
    older: buildAt(
      values.from ?? (isChanged ? "HEAD" : firstOfClusters),
      isChanged ? Number(values.level) : null,
    ),
    newer: values.to === undefined ? join(repositoryRoot, "src/cli/main.ts") : buildAt(values.to),
    raiseTo: isChanged ? Number(values.level) + 1 : null,
    rounds: Number(values.rounds),
    ...(values.store === undefined ? {} : { store: values.store }),
    onEvent: console.log,
  });
  const { failures, ...counts } = report;
  console.log(JSON.stringify(counts));
  for (const failure of failures.slice(0, 20)) console.log(`failure: ${failure}`);
  console.log(report.passed ? "passed" : "FAILED");
  process.exit(report.passed ? 0 : 1);
}
