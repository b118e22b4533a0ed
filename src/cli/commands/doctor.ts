/**
 * `holdfast doctor`: what could keep a broker or a client from keeping its promise on this machine, as far as
 * it can be seen from here. What cannot be seen is said to be so. Ends with 1 when something is wrong or can
 * lose records. Leaves nothing behind, and changes nothing.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { RefusedError } from "../../base/errors.ts";
import { parseAddress } from "../address.ts";
import type { Invocation } from "../declare.ts";
import { clientConfigVerdicts } from "../doctor/client-config.ts";
import { diskVerdicts } from "../doctor/disk.ts";
import { portVerdict } from "../doctor/port.ts";
import { settingVerdicts } from "../doctor/settings.ts";
import { type Status, statuses, type Verdict } from "../doctor/verdict.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { parseProperties } from "../properties.ts";
import { paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export interface DoctorOptions {
  readonly data?: string;
  readonly listen?: string;
  /** A broker's settings, as for `start`. */
  readonly config?: string;
  readonly set?: readonly string[];
  readonly clientConfig?: string;
  readonly json?: boolean;
}

const colors = { ok: "green", note: "cyan", unknown: "yellow", risk: "red", wrong: "red" } as const;
const wordWidth = Math.max(...Object.values(statuses).map(({ word }) => word.length));

export async function doctor({ terminal, options }: Invocation<DoctorOptions>): Promise<ExitCode> {
  const paint = paintFor(terminal.stdout, terminal.env);
  const counts: { [S in Status]: number } = { ok: 0, note: 0, unknown: 0, risk: 0, wrong: 0 };
  for await (const verdict of verdicts(options)) {
    const { status, about, text } = verdict;
    counts[status]++;
    const { word } = statuses[status];
    await terminal.stdout.write(
      options.json === true
        ? `${JSON.stringify(verdict)}\n`
        : `${paint(colors[status], word.padEnd(wordWidth))}  ${about}: ${text}\n`,
    );
  }
  const failed = counts.risk + counts.wrong;
  if (options.json !== true) await terminal.stdout.write(`\n${summary(counts)}\n`);
  return failed > 0 ? exitCodes.failed.code : exitCodes.done.code;
}

function summary({ risk, wrong, unknown }: { readonly [S in Status]: number }): string {
  const parts = [
    wrong === 0 ? "nothing is wrong" : `${wrong} wrong`,
    risk === 0 ? "nothing seen that loses records" : `${risk} can lose records`,
    unknown === 0 ? "" : `${unknown} could not be verified`,
  ];
  const text = parts.filter((part) => part !== "").join(", ");
  return `${text[0]?.toUpperCase()}${text.slice(1)}.`;
}

async function* verdicts(options: DoctorOptions): AsyncGenerator<Verdict, void, void> {
  const onlyClient =
    options.clientConfig !== undefined && options.data === undefined && options.listen === undefined;
  if (!onlyClient) {
    yield {
      status: "ok",
      about: "runtime",
      text: `Node ${process.versions.node} on ${process.platform} ${process.arch}.`,
      facts: { node: process.versions.node, platform: process.platform, arch: process.arch },
    };
    yield* diskVerdicts(resolve(options.data ?? "./holdfast-data"));
    yield await portVerdict(parseAddress(options.listen ?? "127.0.0.1:9092", "--listen"));
  }
  if (options.config !== undefined || (options.set ?? []).length > 0) {
    const settings =
      options.config === undefined ? new Map<string, string>() : propertiesIn(options.config, "--config");
    for (const pair of options.set ?? []) {
      const at = pair.indexOf("=");
      if (at <= 0) throw new UsageError(`--set needs KEY=VALUE, not "${pair}".`);
      settings.set(pair.slice(0, at).trim(), pair.slice(at + 1));
    }
    yield* settingVerdicts(settings, options.config ?? "the command line");
  }
  if (options.clientConfig !== undefined) {
    yield* clientConfigVerdicts(propertiesIn(options.clientConfig, "--client-config"), options.clientConfig);
  }
}

function propertiesIn(path: string, option: string): Map<string, string> {
  try {
    return parseProperties(readFileSync(path, "utf8"));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new RefusedError(
      `${option}: ${path} ${code === "ENOENT" ? "does not exist" : `cannot be read (${code})`}.`,
      { cause },
    );
  }
}
