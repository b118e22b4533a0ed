/** A client's options with defaults and ports filled in: what its rooms are given. */
import type { Clock, Dialer, Logger, Random } from "../base/ports.ts";
import { type Address, parseBootstrap } from "./address.ts";
import { OptionError } from "./errors.ts";
import type { ClientOptions } from "./options.ts";

/** What a client needs of the outside. */
export interface ClientPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly dialer: Dialer;
  readonly log: Logger;
  /** Told to brokers (KIP-511): letters, digits, dots and hyphens. */
  readonly software: { readonly name: string; readonly version: string };
}

export interface ClientSettings extends ClientPorts {
  readonly bootstrap: readonly Address[];
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly bootstrapTimeoutMs: number;
  readonly topicTimeoutMs: number;
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  readonly metadataMaxAgeMs: number;
  readonly frameBytesMax: number;
}

/** Throws `OptionError`. */
export function clientSettings(options: ClientOptions, ports: ClientPorts): ClientSettings {
  const {
    clientId = "holdfast",
    connectTimeoutMs = 10_000,
    requestTimeoutMs = 30_000,
    bootstrapTimeoutMs = 10_000,
    topicTimeoutMs = 1_000,
    backoffMs = 50,
    backoffMaxMs = 1_000,
    metadataMaxAgeMs = 300_000,
    frameBytesMax = 256 * 1024 * 1024,
  } = options;
  const numbers = {
    connectTimeoutMs: atLeast("connectTimeoutMs", connectTimeoutMs, 1),
    requestTimeoutMs: atLeast("requestTimeoutMs", requestTimeoutMs, 1),
    bootstrapTimeoutMs: atLeast("bootstrapTimeoutMs", bootstrapTimeoutMs, 0),
    topicTimeoutMs: atLeast("topicTimeoutMs", topicTimeoutMs, 0),
    backoffMs: atLeast("backoffMs", backoffMs, 1),
    backoffMaxMs: atLeast("backoffMaxMs", backoffMaxMs, 1),
    metadataMaxAgeMs: atLeast("metadataMaxAgeMs", metadataMaxAgeMs, 1),
    frameBytesMax: atLeast("frameBytesMax", frameBytesMax, 1024),
  };
  return { ...ports, bootstrap: parseBootstrap(options.bootstrap), clientId, ...numbers };
}

/** The number, if it is one and not below `min`. Throws `OptionError`. */
export function atLeast(name: string, value: number, min: number): number {
  if (typeof value !== "number" || !(value >= min)) {
    throw new OptionError(`${name} must be a number of at least ${min}, not ${String(value)}.`);
  }
  return value;
}

/** The pause after so many failures in a row (from 1): doubles up to its bound, with a fifth of chance either way. */
export function backoffAfter(
  failures: number,
  { backoffMs, backoffMaxMs, random }: Pick<ClientSettings, "backoffMs" | "backoffMaxMs" | "random">,
): number {
  const base = Math.min(backoffMaxMs, backoffMs * 2 ** Math.min(failures - 1, 30));
  return base * (0.8 + (0.4 * random.u32()) / 0x1_0000_0000);
}
