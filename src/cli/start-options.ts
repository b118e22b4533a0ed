/** What `holdfast start` was asked for: command line and file, checked as far as that needs no disk and no network. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { RefusedError } from "../base/errors.ts";
import { type Address, isLoopback, parseAddress } from "./address.ts";
import { parseProperties } from "./properties.ts";

export interface StartOptions {
  readonly listen: Address;
  readonly http: Address;
  /** Nobody asked for this port: another one will do when it is taken. */
  readonly httpIsDefault: boolean;
  readonly advertised: Address | null;
  readonly data: string;
  readonly settings: ReadonlyMap<string, string>;
}

/** The command line cannot be understood. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const flags = {
  listen: { type: "string", default: "127.0.0.1:9092" },
  data: { type: "string", default: "./holdfast-data" },
  http: { type: "string" },
  advertise: { type: "string" },
  config: { type: "string" },
  set: { type: "string", multiple: true, default: [] as string[] },
  insecure: { type: "boolean", default: false },
} as const;

const httpPort = 9093;

/** Throws `UsageError` or `RefusedError`. */
export function readStartOptions(args: readonly string[]): StartOptions {
  const given = parseFlags(args);
  const listen = parseAddress(given.listen, "--listen");
  const http =
    given.http === undefined
      ? { host: listen.host, port: listen.port === 0 ? 0 : httpPort }
      : parseAddress(given.http, "--http");
  const advertised = given.advertise === undefined ? null : parseAddress(given.advertise, "--advertise");
  if (advertised?.port === 0)
    throw new RefusedError("--advertise needs the port that clients connect to, not 0.");
  if (!given.insecure) {
    refuseOpenAddress(listen, "--listen");
    refuseOpenAddress(http, "--http");
  }
  const settings = given.config === undefined ? new Map<string, string>() : readFile(given.config);
  for (const pair of given.set) {
    const at = pair.indexOf("=");
    if (at <= 0) throw new UsageError(`--set needs KEY=VALUE, not "${pair}".`);
    settings.set(pair.slice(0, at).trim(), pair.slice(at + 1));
  }
  // As in Kafka on one's own machine; where others can connect, a mistyped name must not make a topic.
  if (!isLoopback(listen.host) && !settings.has("auto.create.topics.enable")) {
    settings.set("auto.create.topics.enable", "false");
  }
  return { listen, http, httpIsDefault: given.http === undefined, advertised, data: given.data, settings };
}

function parseFlags(args: readonly string[]) {
  try {
    const { values } = parseArgs({ args: [...args], options: flags, strict: true, allowPositionals: false });
    return values;
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    const sentence = cause.message.split(/\. |\n/)[0] ?? "";
    throw new UsageError(`${sentence}; holdfast --help lists the options.`, { cause });
  }
}

function refuseOpenAddress({ host }: Address, option: string): void {
  if (isLoopback(host)) return;
  throw new RefusedError(
    `${option} ${host} lets other machines connect, and there is no authentication: add --insecure if everybody who can reach it may read and write, or use 127.0.0.1.`,
  );
}

function readFile(path: string): Map<string, string> {
  try {
    return parseProperties(readFileSync(path, "utf8"));
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "does not exist" : "cannot be read";
    throw new RefusedError(`The configuration file ${path} ${reason}.`, { cause });
  }
}
