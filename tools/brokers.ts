/**
 * Real brokers as real processes on loopback: Apache Kafka 4.3.0 (one KRaft node, from its published jars)
 * and Holdfast. Both have one shape, so that every test and bench takes its target as a parameter; a broker
 * that is killed can be started again on the same port and directory.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Ended, finish, freePort, type Running, start, waitForPort } from "./processes.ts";
import { startCluster, startClusterOverMinio } from "./clusters.ts";
import { kafkaClasspath, loopback, repositoryRoot } from "./toolbox.ts";

/** `cluster`: three Holdfast brokers over one directory, `cluster-minio`: over MinIO; see clusters.ts. */
export type BrokerKind = "kafka" | "kafka-durable" | "holdfast" | "cluster" | "cluster-minio";

/** Whether settings are Holdfast's, and a clean end is one with code 0. */
export const isHoldfast = (kind: BrokerKind): boolean => !kind.startsWith("kafka");

export interface Broker {
  readonly kind: BrokerKind;
  /** Where clients connect: `127.0.0.1:port`, of a cluster several with commas. It stays the same over restarts. */
  readonly address: string;
  readonly directory: string;
  /** Of the running process; another one after `start`. */
  pid(): number;
  /** Where `/metrics` and `/health` answer, if the broker has them; of a cluster several with commas. */
  readonly http: string | undefined;
  /** Ends the process with SIGKILL and waits until it is gone. */
  kill(): Promise<void>;
  /** Ends whatever still runs, for good. */
  dismiss(): Promise<void>;
  /** How it ended by itself; killed when it has not after `timeoutMs`. */
  whenEnded(timeoutMs: number): Promise<Ended>;
  /** Asks the process to end (SIGTERM) and waits; answers how it ended. */
  stop(): Promise<Ended>;
  /**
   * Starts the process again after `kill` or `stop`; answers the milliseconds until it was ready. It may be
   * killed before that, and this promise rejects then.
   */
  start(): Promise<number>;
}

export interface BrokerOptions {
  /** Start Holdfast as it is published, if it was built; else the sources run as they are. */
  readonly built?: boolean;
  /** The Holdfast program to start, asked at each start: another build's than this one's. */
  readonly program?: () => string;
  /** An empty directory for the broker's data; made when missing. */
  readonly directory: string;
  /** Where a Holdfast broker that is one of several keeps everything, as `--store` takes it. Default: a data directory of its own. */
  readonly store?: string;
  /** Additional environment of the process, for example LD_PRELOAD. */
  readonly env?: Readonly<Record<string, string>>;
  /** Additional arguments (Holdfast) or lines of `server.properties` (Kafka). */
  readonly settings?: readonly string[];
}

const kafkaReadyMs = 60_000;
const holdfastReadyMs = 30_000;
const stopMs = 30_000;

/** The JVM options of Kafka's own start script, so that it is measured as people run it. */
const kafkaJvm = [
  "-server",
  "-Xms1G",
  "-XX:+UseG1GC",
  "-XX:MaxGCPauseMillis=20",
  "-XX:InitiatingHeapOccupancyPercent=35",
  "-XX:+ExplicitGCInvokesConcurrent",
  "-Djava.awt.headless=true",
];

/** Starts a broker and answers when clients can use it. */
export async function startBroker(kind: BrokerKind, options: BrokerOptions): Promise<Broker> {
  mkdirSync(options.directory, { recursive: true });
  if (kind === "cluster") return startCluster(options);
  if (kind === "cluster-minio") return startClusterOverMinio(options);
  const plan = kind === "holdfast" ? await holdfastPlan(options) : await kafkaPlan(kind, options);
  let running: Running | undefined;
  const ended = async (): Promise<Ended> => {
    if (running === undefined) throw new Error(`${kind} is not running`);
    return running.ended;
  };
  const broker: Broker = {
    kind,
    address: `${loopback}:${plan.port}`,
    directory: options.directory,
    http: plan.http,
    pid: () => running?.pid ?? -1,
    kill: async () => {
      running?.signal("SIGKILL");
      await ended();
    },
    dismiss: () => broker.kill(),
    stop: async () => {
      running?.signal("SIGTERM");
      return broker.whenEnded(stopMs);
    },
    whenEnded: async (timeoutMs) => {
      const process = running;
      const late = setTimeout(() => process?.signal("SIGKILL"), timeoutMs);
      try {
        return await ended();
      } finally {
        clearTimeout(late);
      }
    },
    start: async () => {
      if (running?.isRunning()) throw new Error(`${kind} is running already`);
      const begun = performance.now();
      const launched = plan.launch();
      running = launched.process;
      await launched.ready;
      return performance.now() - begun;
    },
  };
  await broker.start();
  return broker;
}

interface Plan {
  readonly port: number;
  readonly http: string | undefined;
  /** The process is there at once, so that it can be killed before it is ready. */
  launch(): { readonly process: Running; readonly ready: Promise<void> };
}

async function kafkaPlan(kind: "kafka" | "kafka-durable", options: BrokerOptions): Promise<Plan> {
  const classpath = await kafkaClasspath();
  const [port, controllerPort] = [await freePort(), await freePort()];
  const properties = join(options.directory, "server.properties");
  const lines = [
    "process.roles=broker,controller",
    "node.id=1",
    `controller.quorum.voters=1@${loopback}:${controllerPort}`,
    "controller.listener.names=CONTROLLER",
    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    `listeners=PLAINTEXT://${loopback}:${port},CONTROLLER://${loopback}:${controllerPort}`,
    `advertised.listeners=PLAINTEXT://${loopback}:${port}`,
    `log.dirs=${join(options.directory, "data")}`,
    "offsets.topic.replication.factor=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
    ...(kind === "kafka-durable" ? ["log.flush.interval.messages=1"] : []),
    ...(options.settings ?? []),
  ];
  writeFileSync(properties, `${lines.join("\n")}\n`);
  const java = [
    "-Xmx1G",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.logFile=System.out",
    "-cp",
    classpath,
  ];
  await finish(
    "java",
    [...java, "kafka.tools.StorageTool", "format", "-t", "holdfast-test-cluster0", "-c", properties],
    {
      timeoutMs: kafkaReadyMs,
    },
  );
  return {
    port,
    http: undefined,
    launch: () => {
      const ready = signalled(/Kafka Server started/);
      const process = start("java", [...kafkaJvm, ...java, "kafka.Kafka", properties], {
        ...(options.env === undefined ? {} : { env: options.env }),
        onLine: ready.look,
      });
      const listening = async (): Promise<void> => {
        await ready.within(process, kafkaReadyMs);
        await waitForPort(port, process, kafkaReadyMs);
      };
      return { process, ready: listening() };
    },
  };
}

async function holdfastPlan(options: BrokerOptions): Promise<Plan> {
  const [port, httpPort] = [await freePort(), await freePort()];
  const where =
    options.store === undefined ? ["--data", join(options.directory, "data")] : ["--store", options.store];
  const built = join(repositoryRoot, "dist/cli/main.js");
  const own = options.built === true && existsSync(built) ? built : join(repositoryRoot, "src/cli/main.ts");
  const node = join(repositoryRoot, "node_modules/.bin/node");
  return {
    port,
    http: `http://${loopback}:${httpPort}`,
    launch: () => {
      const ready = signalled(/^Ready/);
      const args = [
        "start",
        "--listen",
        `${loopback}:${port}`,
        "--http",
        `${loopback}:${httpPort}`,
        ...where,
      ];
      const process = start(
        existsSync(node) ? node : globalThis.process.execPath,
        [options.program?.() ?? own, ...args, ...(options.settings ?? [])],
        {
          ...(options.env === undefined ? {} : { env: options.env }),
          onLine: ready.look,
        },
      );
      return { process, ready: ready.within(process, holdfastReadyMs) };
    },
  };
}

/** Waits for a line of standard output that matches. */
function signalled(pattern: RegExp): {
  look: (line: string) => void;
  within: (process: Running, timeoutMs: number) => Promise<void>;
} {
  let seen = false;
  let wake = (): void => undefined;
  return {
    look: (line) => {
      if (!pattern.test(line)) return;
      seen = true;
      wake();
    },
    within: async (process, timeoutMs) => {
      const line = new Promise<void>((resolve) => {
        wake = resolve;
        if (seen) resolve();
      });
      const late = new AbortController();
      const outcome = await Promise.race([
        line.then(() => "ready" as const),
        process.ended,
        sleep(timeoutMs, "late" as const, { signal: late.signal }).catch(() => "late" as const),
      ]);
      late.abort();
      if (outcome === "ready") return;
      process.signal("SIGKILL");
      const said = await process.ended;
      throw new Error(
        `The broker was not ready${outcome === "late" ? ` after ${timeoutMs} ms` : ""}:\n${said.stdout.slice(-6000)}\n${said.stderr.slice(-6000)}`,
      );
    },
  };
}
