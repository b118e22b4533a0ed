/**
 * `holdfast start`: joins the real ports with a broker, says what an acknowledgement means here, and ends
 * as it is told to. Everything that was acknowledged is safe however the process ends; SIGTERM only makes
 * the next start quicker.
 */
import { resolve } from "node:path";
import { HoldfastError, RefusedError } from "../../base/errors.ts";
import { Broker } from "../../broker/broker.ts";
import { BrokerConfig, isBrokerSetting } from "../../broker/config.ts";
import { health } from "../../http/health.ts";
import { metrics } from "../../http/metrics.ts";
import { watchGarbage } from "../../io/garbage-watch.ts";
import { systemClock } from "../../io/clock.ts";
import { loadNativeCrc32c } from "../../io/crc32c-native.ts";
import { type DirectoryLock, lockDirectory } from "../../io/directory-lock.ts";
import { openDisk } from "../../io/disk.ts";
import { type HttpServer, serveHttp } from "../../io/http-server.ts";
import { openLogger, type OpenLogger } from "../../io/logger.ts";
import { openMeter } from "../../io/meter.ts";
import { systemRandom } from "../../io/random.ts";
import { sha256 } from "../../io/sha256.ts";
import { tcp } from "../../io/tcp.ts";
import { formatAddress } from "../address.ts";
import { software } from "../software.ts";
import { readStartOptions, type StartOptions, UsageError } from "../start-options.ts";

/** Exit code after a signal that came while the first one was being obeyed, as shells know it. */
const signalExitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

export async function start(args: readonly string[]): Promise<void> {
  const terminal = process.stdout.isTTY;
  // Whoever read our output may leave; that is no reason to stop.
  process.stdout.on("error", () => {});
  try {
    await serve(readStartOptions(args), terminal);
  } catch (error) {
    const { code, sentence } = refusal(error);
    process.stderr.write(`${sentence}\n`);
    process.exit(code);
  }
}

function refusal(error: unknown): { readonly code: number; readonly sentence: string } {
  if (error instanceof UsageError) return { code: 2, sentence: error.message };
  if (error instanceof RefusedError) return { code: 1, sentence: error.message };
  if (error instanceof HoldfastError)
    return { code: 1, sentence: `The broker cannot start: ${error.message}` };
  return { code: 1, sentence: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

async function serve(options: StartOptions, terminal: boolean): Promise<void> {
  watchGarbage();
  const data = resolve(options.data);
  // Under Kafka's name, for those who ask where the broker keeps its logs.
  const config = new BrokerConfig(new Map([...options.settings, ["log.dirs", data]]));
  const log = openLogger({ level: config.get("holdfast.log.level"), terminal });
  config.onChange(() => log.setLevel(config.get("holdfast.log.level")));
  const fatal = (event: string, cause: unknown): never => {
    log.error(event, { cause });
    log.flush();
    process.exit(1);
  };
  process.on("uncaughtException", (error) => fatal("process.uncaught-exception", error));
  process.on("unhandledRejection", (error) => fatal("process.unhandled-rejection", error));

  const lock = await lockDirectory(data);
  loadNativeCrc32c();
  const meter = openMeter();
  let stopping = false;
  const broker = await Broker.start({
    env: { clock: systemClock, random: systemRandom(), log, meter },
    storage: { kind: "files", disk: openDisk(data, { direct: config.get("holdfast.disk.direct") }) },
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
    "/health": () => health(broker),
  });

  const stop = async (signal: keyof typeof signalExitCodes): Promise<void> => {
    if (stopping) process.exit(signalExitCodes[signal]);
    stopping = true;
    log.info("broker.stopping", { signal });
    await broker.stop();
    await http.close();
    lock.release();
    log.info("broker.stopped");
    log.flush();
    process.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      stop(signal).catch((error: unknown) => fatal("broker.stop-failed", error));
    });
  }
  // Last, so that whoever waits for it may at once ask us to stop.
  announce({ options, data, lock, broker, http, log, terminal });
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

function announce(facts: {
  readonly options: StartOptions;
  readonly data: string;
  readonly lock: DirectoryLock;
  readonly broker: Broker;
  readonly http: HttpServer;
  readonly log: OpenLogger;
  readonly terminal: boolean;
}): void {
  const { options, data, lock, broker, http, log, terminal } = facts;
  const kafka = formatAddress(broker.address);
  const web = `http://${formatAddress(http)}`;
  const tookMs = Math.round(performance.now());
  const survives = lock.volatile
    ? "process crash, kill -9. Does not survive: power loss (the data directory is in memory)."
    : "process crash, kill -9, power loss. Does not survive: loss of this disk.";
  const without = [...options.settings.keys()].filter((name) => !isBrokerSetting(name));
  if (without.length > 0) log.warn("settings.without-effect", { names: without });
  if (terminal) {
    const lines = [
      `  ${software.name} ${software.version}   node ${process.versions.node}   data ${data}${lock.isNew ? " (new)" : ""}`,
      "",
      `  Kafka     ${kafka}`,
      `  Metrics   ${web}/metrics`,
      `  Health    ${web}/health`,
      "",
      lock.volatile
        ? "  Ack means: written to the data directory on this machine (1 copy)."
        : "  Ack means: written and synced to disk on this machine (1 copy).",
      `  Survives:  ${survives}`,
      "",
    ];
    process.stdout.write(`${lines.join("\n")}\n`);
  } else {
    log.info("broker.ready", {
      version: software.version,
      node: process.versions.node,
      data,
      newDirectory: lock.isNew,
      kafka,
      http: web,
      ack: lock.volatile
        ? "written on this machine (1 copy)"
        : "written and synced to disk on this machine (1 copy)",
      survives,
      tookMs,
    });
  }
  process.stdout.write(
    `Ready in ${tookMs} ms on ${kafka} (metrics and health on ${web}).${terminal ? " Ctrl-C to stop." : ""}\n`,
  );
}
