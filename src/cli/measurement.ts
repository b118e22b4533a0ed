/**
 * What a bench counts and how it is told: one line that is renewed on a terminal, then the result as text, one
 * line of CSV, or JSON. Times go into a histogram of Node (HDR), so that a long run takes no more memory.
 */
import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { formatCount, formatMs } from "./table.ts";
import { paintFor, type Terminal } from "./terminal.ts";

export interface Figures {
  readonly bench: "produce" | "consume" | "e2e";
  readonly topic: string;
  readonly records: number;
  /** Of values. */
  readonly bytes: number;
  readonly seconds: number;
  readonly recordsPerSecond: number;
  readonly mebibytesPerSecond: number;
  /** Null where nothing was timed. */
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  readonly p999Ms: number | null;
  readonly maxMs: number | null;
}

/** How often the line of progress is renewed. */
const progressMs = 250;

export class Measurement {
  readonly #terminal: Terminal;
  readonly #total: number;
  /** In microseconds. */
  readonly #times: RecordableHistogram = createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 3 });
  #beginMs = performance.now();
  #endMs: number | null = null;
  #shownMs = 0;
  #shownRecords = 0;
  records = 0;
  bytes = 0;

  constructor(terminal: Terminal, total: number) {
    this.#terminal = terminal;
    this.#total = total;
  }

  /** From here on it counts: what comes before is no part of what is measured. */
  begin(): void {
    this.#beginMs = this.#shownMs = performance.now();
  }

  /** `tookMs`: null where nothing is timed. */
  add(bytes: number, tookMs: number | null): void {
    this.records++;
    this.bytes += bytes;
    if (tookMs !== null) this.#times.record(Math.max(1, Math.round(tookMs * 1000)));
  }

  end(): void {
    this.#endMs = performance.now();
  }

  /** To be called now and then; writes at most every `progressMs`, and to a terminal only. */
  async progress(): Promise<void> {
    const nowMs = performance.now();
    if (!this.#terminal.stderr.isTTY || nowMs - this.#shownMs < progressMs) return;
    const rate = ((this.records - this.#shownRecords) * 1000) / (nowMs - this.#shownMs);
    this.#shownMs = nowMs;
    this.#shownRecords = this.records;
    const share = Number.isFinite(this.#total) ? ` of ${formatCount(this.#total)}` : "";
    const latency = this.#times.count === 0 ? "" : `   p99 ${formatMs(this.#percentile(99))}`;
    await this.#terminal.stderr.write(
      `\r\u001b[K${formatCount(this.records)}${share} records   ${formatCount(Math.round(rate))} records/s${latency}`,
    );
  }

  async clearProgress(): Promise<void> {
    if (this.#terminal.stderr.isTTY) await this.#terminal.stderr.write("\r\u001b[K");
  }

  figures(bench: Figures["bench"], topic: string): Figures {
    const seconds = ((this.#endMs ?? performance.now()) - this.#beginMs) / 1000;
    const timed = this.#times.count > 0;
    const percentile = (percent: number): number | null => (timed ? this.#percentile(percent) : null);
    return {
      bench,
      topic,
      records: this.records,
      bytes: this.bytes,
      seconds: rounded(seconds, 6),
      recordsPerSecond: rounded(this.records / seconds, 1),
      mebibytesPerSecond: rounded(this.bytes / seconds / 1024 / 1024, 3),
      p50Ms: percentile(50),
      p95Ms: percentile(95),
      p99Ms: percentile(99),
      p999Ms: percentile(99.9),
      maxMs: timed ? this.#times.max / 1000 : null,
    };
  }

  #percentile(percent: number): number {
    return this.#times.percentile(percent) / 1000;
  }
}

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

export interface FigureOptions {
  readonly csv?: boolean;
  readonly json?: boolean;
}

/** `timed`: what the times are of, as "acknowledged after". */
export async function tellFigures(
  terminal: Terminal,
  options: FigureOptions,
  figures: Figures,
  timed: string | null,
): Promise<void> {
  if (options.csv === true) {
    await terminal.stdout.write(
      `${Object.keys(figures).join(",")}\n${Object.values(figures).map(csvCell).join(",")}\n`,
    );
    return;
  }
  if (options.json === true) {
    await terminal.stdout.write(`${JSON.stringify(figures)}\n`);
    return;
  }
  const { records, seconds, topic, recordsPerSecond, mebibytesPerSecond, bytes } = figures;
  const size = records === 0 ? 0 : Math.round(bytes / records);
  const rate = `${formatCount(Math.round(recordsPerSecond))} records/s   ${mebibytesPerSecond.toFixed(1)} MiB/s`;
  const paint = paintFor(terminal.stdout, terminal.env);
  let text = `${formatCount(records)} records of ${formatCount(size)} bytes in ${topic}, ${seconds.toFixed(2)} s: ${paint("bold", rate)}\n`;
  if (timed !== null && figures.p50Ms !== null) {
    const cells = (["p50Ms", "p95Ms", "p99Ms", "p999Ms", "maxMs"] as const).map(
      (name) => `${name === "p999Ms" ? "p99.9" : name.slice(0, -2)} ${formatMs(figures[name] ?? 0)}`,
    );
    text += `${timed}   ${cells.join("   ")}\n`;
  }
  await terminal.stdout.write(text);
}

function csvCell(value: string | number | null): string {
  if (value === null) return "";
  const text = String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
