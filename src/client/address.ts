/** Addresses of brokers as people write them, and as sentences name them. */
import { OptionError } from "./errors.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

const portDefault = 9092;

/** "host", "host:port", "[ipv6]:port"; several with commas or as a list. Throws `OptionError`. */
export function parseBootstrap(bootstrap: string | readonly string[]): readonly Address[] {
  const parts = (typeof bootstrap === "string" ? [bootstrap] : bootstrap)
    .flatMap((each) => each.split(","))
    .map((each) => each.trim())
    .filter((each) => each !== "");
  if (parts.length === 0) {
    throw new OptionError('bootstrap names no broker; give HOST:PORT, for example "localhost:9092".');
  }
  return parts.map(parseAddress);
}

function parseAddress(text: string): Address {
  const found = /^(?:\[([^\]]+)\]|([^:\s/]+))(?::(\d{1,5}))?$/.exec(text);
  const port = found?.[3] === undefined ? portDefault : Number(found[3]);
  const host = found?.[1] ?? found?.[2] ?? "";
  if (found === null || port < 1 || port > 65_535) {
    throw new OptionError(`bootstrap needs HOST:PORT, for example "localhost:9092", not "${text}".`);
  }
  return { host, port };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
