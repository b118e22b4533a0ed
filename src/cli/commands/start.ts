/**
 * `holdfast start`: joins the real ports with a broker, says what an acknowledgement means here, and ends
 * as it is told to. Everything that was acknowledged is safe however the process ends; SIGTERM only makes
 * the next start quicker.
 */
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HoldfastError, RefusedError } from "../../base/errors.ts";
import { Broker } from "../../broker/broker.ts";
import { BrokerConfig } from "../../broker/config.ts";
import { health } from "../../http/health.ts";
import { metrics } from "../../http/metrics.ts";
import { watchGarbage } from "../../io/garbage-watch.ts";
import { systemClock } from "../../io/clock.ts";
import { loadNativeCrc32c } from "../../io/crc32c-native.ts";
import { type HttpServer, serveHttp } from "../../io/http-server.ts";
import { BucketError } from "../../io/s3/bucket-error.ts";
import { openLogger, type OpenLogger } from "../../io/logger.ts";
import { openMeter } from "../../io/meter.ts";
import { systemRandom } from "../../io/random.ts";
import { sha256 } from "../../io/sha256.ts";
import { tcp } from "../../io/tcp.ts";
import { software } from "../software.ts";
import { announce } from "../start/announce.ts";
import { openStorage } from "../start/storage.ts";
import { readStartOptions, type StartOptions, UsageError } from "../start-options.ts";

/** So long a start waits for every partition to have an owner before it says that it is ready. */
const servingMsMax = 15_000;
/** The journal gives a number, the same one to the same address. */
const anyNodeId = -1;
/** Exit code after a signal that came while the first one was being obeyed, as shells know it. */
const signalExitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

export async function start(args: readonly string[]): Promise<void> {
  const terminal = process.stdout.isTTY;
  // Whoever read our output may leave; that is no reason to stop.
  process.stdout.on("error", () => {});
  try {
    await serve(readStartOptions(args, process.env), terminal);
  } catch (error) {
    const { code, sentence } = refusal(error);
    process.stderr.write(`${sentence}\n`);
    process.exit(code);
  }
}

function refusal(error: unknown): { readonly code: number; readonly sentence: string } {
  if (error instanceof UsageError) return { code: 2, sentence: error.message };
  if (error instanceof RefusedError || error instanceof BucketError)
    return { code: 1, sentence: error.message };
  if (error instanceof HoldfastError)
    return { code: 1, sentence: `The broker cannot start: ${error.message}` };
  return { code: 1, sentence: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

async function serve(options: StartOptions, terminal: boolean): Promise<void> {
  watchGarbage();
  const config = new BrokerConfig(settingsOf(options));
  const log = openLogger({ level: config.get("holdfast.log.level"), terminal });
  config.onChange(() => log.setLevel(config.get("holdfast.log.level")));
  const fatal = (event: string, cause: unknown): never => {
    log.error(event, { cause });
    log.flush();
    process.exit(1);
  };
  process.on("uncaughtException", (error) => fatal("process.uncaught-exception", error));
  process.on("unhandledRejection", (error) => fatal("process.unhandled-rejection", error));

  loadNativeCrc32c();
  const meter = openMeter();
  const env = { clock: systemClock, random: systemRandom(), log, meter };
  const opened = await openStorage(options.storage, env, {
    direct: config.get("holdfast.disk.direct"),
    environment: process.env,
  });
  let stopping = false;
  const broker = await Broker.start({
    env,
    storage: opened.storage,
    network: tcp,
    sha256,
    config,
    listen: options.listen,
    advertised: options.advertised,
    software: `${software.name} ${software.version}`,
    onFailure: (cause) => {
      if (!stopping) fatal("broker.failed: nothing more can be acknowledged by this process", cause);
    },
  });
  const http = await openHttp(options, log, {
    "/metrics": () => metrics(meter),
    "/health": () => health(broker, opened.trouble(broker.services.wal.pendingBytes)),
  });

  const stop = async (signal: keyof typeof signalExitCodes): Promise<void> => {
    if (stopping) process.exit(signalExitCodes[signal]);
    stopping = true;
    log.info("broker.stopping", { signal });
    await broker.stop();
    await http.close();
    opened.close();
    log.info("broker.stopped");
    log.flush();
    process.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      stop(signal).catch((error: unknown) => fatal("broker.stop-failed", error));
    });
  }
  opened.watch((cause) => fatal("store.unsound", cause));
  await servedOrLate(broker);
  // Last, so that whoever waits for it may at once ask us to stop.
  const node = opened.storage.kind === "objects" ? broker.services.nodeId : null;
  if (!stopping) announce({ options, opened, kafka: broker.address, http, node, log, terminal });
}

/** Under Kafka's name, for those who ask where the broker keeps its logs. */
function settingsOf({ storage, settings }: StartOptions): Map<string, string> {
  if (storage.kind === "data") return new Map([...settings, ["log.dirs", resolve(storage.directory)]]);
  return new Map([["node.id", String(anyNodeId)], ...settings, ["log.dirs", storage.name]]);
}

/** Brokers of a cluster come one after another: the first one does not wait for those that are to come. */
async function servedOrLate(broker: Broker): Promise<void> {
  const timers = new AbortController();
  const late = sleep(servingMsMax, undefined, { signal: timers.signal }).catch(() => undefined);
  await Promise.race([broker.whenServing(), late]);
  timers.abort();
}

/** A second broker on one machine, started with another `--listen` only, is not refused for its metrics. */
async function openHttp(
  options: StartOptions,
  log: OpenLogger,
  routes: Parameters<typeof serveHttp>[1],
): Promise<HttpServer> {
  try {
    return await serveHttp(options.http, routes);
  } catch (error) {
    if (!(error instanceof RefusedError) || !options.httpIsDefault) throw error;
    log.warn("http.port-taken: a free one is used", { wanted: options.http.port });
    return serveHttp({ host: options.http.host, port: 0 }, routes);
  }
}
