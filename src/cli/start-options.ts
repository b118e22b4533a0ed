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
  readonly storage: StorageChoice;
  readonly settings: ReadonlyMap<string, string>;
}

/** Where everything is kept: a directory that this process has alone, or a store that brokers share. */
export type StorageChoice =
  | { readonly kind: "data"; readonly directory: string }
  | {
      readonly kind: "store";
      /** `s3://BUCKET/PREFIX` or `file:DIR`. */
      readonly name: string;
      readonly endpoint: string | undefined;
      readonly region: string | undefined;
    };

/** The command line cannot be understood. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const flags = {
  listen: { type: "string", default: "127.0.0.1:9092" },
  data: { type: "string" },
  store: { type: "string" },
  endpoint: { type: "string" },
  region: { type: "string" },
  http: { type: "string" },
  advertise: { type: "string" },
  config: { type: "string" },
  set: { type: "string", multiple: true, default: [] as string[] },
  insecure: { type: "boolean", default: false },
} as const;

const httpPort = 9093;
const dataDefault = "./holdfast-data";
/** Every address of a machine, and none that others could be told. */
const everywhere: ReadonlySet<string> = new Set(["0.0.0.0", "::", "0:0:0:0:0:0:0:0"]);

/** Throws `UsageError` or `RefusedError`. */
export function readStartOptions(
  args: readonly string[],
  env: { readonly [name: string]: string | undefined } = {},
): StartOptions {
  const given = parseFlags(args);
  const storage = chooseStorage(given, env);
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
  if (storage.kind === "store" && advertised === null && everywhere.has(listen.host)) {
    throw new RefusedError(
      `--listen ${given.listen} is every address of this machine, and the brokers over one store tell each other and their clients one: add --advertise HOST:PORT with the address at which this broker is reached.`,
    );
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
  return { listen, http, httpIsDefault: given.http === undefined, advertised, storage, settings };
}

function chooseStorage(
  given: ReturnType<typeof parseFlags>,
  env: { readonly [name: string]: string | undefined },
): StorageChoice {
  const { data, endpoint, region } = given;
  const name = given.store ?? (env["HOLDFAST_STORE"] || undefined);
  const source = given.store === undefined ? "HOLDFAST_STORE" : "--store";
  if (name === undefined) {
    if (endpoint !== undefined || region !== undefined) {
      throw new UsageError("--endpoint and --region are about a bucket, which --store names.");
    }
    return { kind: "data", directory: data ?? dataDefault };
  }
  if (data !== undefined) {
    throw new UsageError(
      `--data ${data} and ${source} ${name} both say where records are kept: give one of them. --data is for one broker on its own disk, --store for brokers that share a bucket or a directory.`,
    );
  }
  if (!/^(?:s3:\/\/|file:)./.test(name)) {
    throw new UsageError(
      `${source} "${name}" names no store: write s3://BUCKET/PREFIX, or file:DIR for a directory.`,
    );
  }
  return { kind: "store", name, endpoint, region };
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
