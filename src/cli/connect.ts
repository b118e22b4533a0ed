/** The client that a command talks to a broker with, from the options that all such commands share. */
import { type Client, createClient } from "../entry/client.ts";
import { defaultBootstrap } from "./declare.ts";
import type { Terminal } from "./terminal.ts";

export interface ConnectionOptions {
  readonly bootstrap?: string;
  readonly bootstrapServer?: string;
  readonly brokers?: string;
  readonly brokerList?: string;
}

/** A broker that is just starting is waited for; one that is not there is told soon. */
const bootstrapTimeoutMs = 1_000;
/** An answer to the first words: who listens and says nothing for so long does not speak Kafka's protocol. */
const connectTimeoutMs = 5_000;

export function bootstrapOf(options: ConnectionOptions, env: Terminal["env"]): string {
  const { bootstrap, bootstrapServer, brokers, brokerList } = options;
  const fromEnv = env["HOLDFAST_BOOTSTRAP"];
  return (
    bootstrap ??
    bootstrapServer ??
    brokers ??
    brokerList ??
    (fromEnv === "" ? undefined : fromEnv) ??
    defaultBootstrap
  );
}

/** How long a topic may be unknown: brokers tell each other of a new one, and a mistyped name is told soon. */
const topicTimeoutMs = 300;
/** Longer where the topic may have to be made first. */
export const newTopicTimeoutMs = 2_000;

/** Nothing is connected before the first call. Close it with `await using`. */
export function connect(
  options: ConnectionOptions,
  terminal: Terminal,
  more: { readonly topicTimeoutMs?: number } = {},
): Client {
  return createClient({
    bootstrap: bootstrapOf(options, terminal.env),
    clientId: "holdfast-cli",
    bootstrapTimeoutMs,
    connectTimeoutMs,
    topicTimeoutMs,
    ...more,
  });
}
