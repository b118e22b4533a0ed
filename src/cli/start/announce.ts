/** What a start says when clients are served: where everything is, and what an acknowledgement means here. */
import { isBrokerSetting } from "../../broker/config.ts";
import type { OpenLogger } from "../../io/logger.ts";
import { type Address, formatAddress } from "../address.ts";
import { software } from "../software.ts";
import type { StartOptions } from "../start-options.ts";
import type { OpenedStorage } from "./storage.ts";

export interface Announcement {
  readonly options: StartOptions;
  readonly opened: OpenedStorage;
  readonly kafka: Address;
  readonly http: Address;
  /** This broker's number; null where it is the only one. */
  readonly node: number | null;
  readonly log: OpenLogger;
  readonly terminal: boolean;
}

export function announce({ options, opened, kafka, http, node, log, terminal }: Announcement): void {
  const clients = formatAddress(kafka);
  const web = `http://${formatAddress(http)}`;
  const tookMs = Math.round(performance.now());
  const { kind } = options.storage;
  const survives = `${opened.survives}. Does not survive: ${opened.doesNotSurvive}.`;
  const without = [...options.settings.keys()].filter((name) => !isBrokerSetting(name));
  if (without.length > 0) log.warn("settings.without-effect", { names: without });
  if (terminal) {
    const lines = [
      `  ${software.name} ${software.version}   node ${process.versions.node}   ${kind} ${opened.place}${opened.isNew ? " (new)" : ""}`,
      "",
      ...(node === null ? [] : [`  Broker    ${node}`]),
      `  Kafka     ${clients}`,
      `  Metrics   ${web}/metrics`,
      `  Health    ${web}/health`,
      "",
      `  Ack means: ${opened.ack}.`,
      `  Survives:  ${survives}`,
      "",
    ];
    process.stdout.write(`${lines.join("\n")}\n`);
  } else {
    log.info("broker.ready", {
      version: software.version,
      node: process.versions.node,
      [kind]: opened.place,
      ...(kind === "data" ? { newDirectory: opened.isNew } : { newStore: opened.isNew, nodeId: node }),
      kafka: clients,
      http: web,
      ack: opened.ack,
      survives,
      tookMs,
    });
  }
  process.stdout.write(
    `Ready in ${tookMs} ms on ${clients} (metrics and health on ${web}).${terminal ? " Ctrl-C to stop." : ""}\n`,
  );
}
