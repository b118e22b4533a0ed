/**
 * A worker of Kafka Connect in distributed mode, as a process that is ended and started again, with connectors that
 * are configured over its REST interface.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Broker } from "../../tools/brokers.ts";
import { freePort, type Running } from "../../tools/processes.ts";
import { loopback } from "../../tools/toolbox.ts";
import { endedWell, eventually, kill, type SourceSupport, startJava } from "./framework.ts";

const readyMs = 120_000;

export interface Worker {
  start(): Promise<void>;
  end(signal: "SIGKILL" | "SIGTERM"): Promise<void>;
  configure(connector: string, settings: Readonly<Record<string, string>>): Promise<void>;
  /** A task that failed is not started again by Connect. */
  expectNoFailure(): Promise<void>;
  expectRunning(): void;
}

interface Status {
  readonly tasks: readonly { readonly state: string; readonly trace?: string }[];
}

export async function connectWorker(
  broker: Broker,
  directory: string,
  { exactlyOnce, jars = "" }: { readonly exactlyOnce: SourceSupport; readonly jars?: string },
): Promise<Worker> {
  const url = `http://${loopback}:${await freePort()}`;
  const settings = {
    "bootstrap.servers": broker.address,
    "group.id": "connect",
    listeners: url,
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    "config.storage.topic": "connect-configs",
    "offset.storage.topic": "connect-offsets",
    "status.storage.topic": "connect-status",
    "config.storage.replication.factor": "1",
    "offset.storage.replication.factor": "1",
    "status.storage.replication.factor": "1",
    "offset.flush.interval.ms": "500",
    "exactly.once.source.support": exactlyOnce,
    "consumer.isolation.level": "read_committed",
    "plugin.discovery": "service_load",
    // A worker that was killed comes back under another name; the others must not wait for it.
    "scheduled.rebalance.max.delay.ms": "0",
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "1000",
    "consumer.session.timeout.ms": "6000",
    "reconnect.backoff.max.ms": "500",
  };
  const properties = join(directory, "worker.properties");
  writeFileSync(
    properties,
    Object.entries(settings)
      .map((pair) => `${pair.join("=")}\n`)
      .join(""),
  );
  const connectors: string[] = [];
  let process: Running | undefined;
  /** Answers undefined while the worker cannot. */
  const ask = async (path: string, init: RequestInit = {}): Promise<unknown> => {
    expectRunning();
    try {
      const answer = await fetch(`${url}${path}`, { ...init, signal: AbortSignal.timeout(30_000) });
      return answer.ok ? await answer.json() : undefined;
    } catch {
      return undefined;
    }
  };
  const expectRunning = (): void => {
    assert.ok(process?.isRunning(), "the worker runs");
  };
  return {
    start: async () => {
      process = await startJava("org.apache.kafka.connect.cli.ConnectDistributed", [properties], { jars });
    },
    end: async (signal) => {
      expectRunning();
      if (process === undefined) return;
      if (signal === "SIGKILL") return kill(process);
      process.signal(signal);
      await endedWell("the worker", process);
    },
    configure: async (connector, config) => {
      connectors.push(connector);
      await eventually(`${connector} is taken`, readyMs, () =>
        ask(`/connectors/${connector}/config`, {
          method: "PUT",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(config),
        }),
      );
    },
    expectNoFailure: async () => {
      for (const connector of connectors) {
        const status = (await ask(`/connectors/${connector}/status`)) as Status | undefined;
        const failed = status?.tasks.find(({ state }) => state === "FAILED");
        if (failed !== undefined) throw new Error(`a task of ${connector} failed: ${failed.trace}`);
      }
    },
    expectRunning,
  };
}
