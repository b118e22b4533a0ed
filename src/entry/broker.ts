/**
 * `holdfast/broker`: a broker inside of a program, on a real directory, as `holdfast start` runs it. For
 * tests there is `holdfast/testing`. See docs/embedding.md.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { RefusedError } from "../base/errors.ts";
import type { Logger } from "../base/ports.ts";
import { Broker, type Health } from "../broker/broker.ts";
import { BrokerConfig } from "../broker/config.ts";
import { isLoopback } from "../broker/loopback.ts";
import { metrics } from "../http/metrics.ts";
import { systemClock } from "../io/clock.ts";
import { loadNativeCrc32c } from "../io/crc32c-native.ts";
import { lockDirectory } from "../io/directory-lock.ts";
import { openDisk } from "../io/disk.ts";
import { openMeter } from "../io/meter.ts";
import { systemRandom } from "../io/random.ts";
import { sha256 } from "../io/sha256.ts";
import { tcp } from "../io/tcp.ts";

export interface EmbeddedBrokerOptions {
  /** The data directory; made when it is absent. No other process may use it meanwhile. */
  readonly data: string;
  /** Default 127.0.0.1. Another address lets other machines in, and needs `insecure`. */
  readonly host?: string;
  /** Default 9092; 0 takes a free one. */
  readonly port?: number;
  /** Says that everybody who can reach the address may read and write. */
  readonly insecure?: boolean;
  /** What clients are told to connect to; default: the address that they connected to. */
  readonly advertised?: { readonly host: string; readonly port: number };
  /** As `holdfast start --set` takes them. */
  readonly settings?: { readonly [key: string]: string };
  /** Default: nothing is logged. */
  readonly logger?: Logger;
  /**
   * Told once when the broker cannot acknowledge any more, because its log or its memory cannot be trusted.
   * The process must end then, and a start recovers; without this function the error is thrown, which ends it.
   */
  readonly onFailure?: (cause: Error) => void;
}

export interface EmbeddedBroker extends AsyncDisposable {
  /** `HOST:PORT` for clients. */
  readonly address: string;
  readonly port: number;
  /** Whether a record that came now would be acknowledged, and one sentence when it would not. */
  health(): Health;
  /** What the room measures, in the text format of Prometheus. */
  metrics(): Promise<string>;
  /** Answers what was asked, and closes. What was acknowledged is safe without it; the next start is quicker with it. */
  stop(): Promise<void>;
}

/** Resolves when clients are served. Rejects with `RefusedError`: one sentence that says what is in the way. */
export async function startBroker(options: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
  const { host = "127.0.0.1", port = 9092, logger = silent } = options;
  const isLocal = isLoopback(host);
  if (!isLocal && options.insecure !== true) {
    throw new RefusedError(
      `The host ${host} lets other machines connect, and there is no authentication: set insecure if everybody who can reach it may read and write, or use 127.0.0.1.`,
    );
  }
  const data = resolve(options.data);
  // As on the command line: where others can connect, a mistyped name must not make a topic.
  const defaults: [string, string][] = isLocal ? [] : [["auto.create.topics.enable", "false"]];
  const given = Object.entries(options.settings ?? {});
  const config = new BrokerConfig(new Map([...defaults, ...given, ["log.dirs", data]]));
  const lock = await lockDirectory(data);
  let stopping: Promise<void> | null = null;
  try {
    loadNativeCrc32c();
    const meter = openMeter();
    const broker = await Broker.start({
      env: { clock: systemClock, random: systemRandom(), log: logger, meter },
      storage: { kind: "files", disk: openDisk(data, { direct: config.get("holdfast.disk.direct") }) },
      network: tcp,
      sha256,
      config,
      listen: { host, port },
      advertised: options.advertised ?? null,
      software: `holdfast ${version()}`,
      onFailure: options.onFailure ?? throwUncaught,
    });
    const stop = async (): Promise<void> => {
      try {
        await broker.stop();
      } finally {
        lock.release();
      }
    };
    return {
      address: `${host.includes(":") ? `[${host}]` : host}:${broker.address.port}`,
      port: broker.address.port,
      health: () => broker.health(),
      metrics: async () => (await metrics(meter)).text,
      stop: () => (stopping ??= stop()),
      [Symbol.asyncDispose]: () => (stopping ??= stop()),
    };
  } catch (cause) {
    lock.release();
    throw cause;
  }
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

function throwUncaught(cause: Error): void {
  queueMicrotask(() => {
    throw cause;
  });
}

function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version;
}
