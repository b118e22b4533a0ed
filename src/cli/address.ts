/** `HOST:PORT` as people write it. */
import { RefusedError } from "../base/errors.ts";

export { isLoopback } from "../broker/loopback.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Throws `RefusedError`; `option` names where the text comes from. IPv6 hosts stand in brackets. */
export function parseAddress(text: string, option: string): Address {
  const found = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text.trim());
  const port = Number(found?.[3]);
  const host = found?.[1] ?? found?.[2] ?? "";
  if (found === null || host === "" || port > 65_535) {
    throw new RefusedError(`${option} needs HOST:PORT, for example 127.0.0.1:9092, not "${text}".`);
  }
  return { host, port };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
