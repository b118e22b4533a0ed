/** A logger and a meter for worlds in which nobody listens; the logger can hand its lines to a trace. */
import type { Counter, Facts, Histogram, Logger, Meter } from "../base/ports.ts";

export const silentMeter: Meter = {
  counter: (): Counter => ({ add: () => undefined }),
  gauge: () => undefined,
  histogram: (): Histogram => ({ observe: () => undefined }),
};

export function loggerInto(record: (line: string) => void): Logger {
  const level = (name: string) => (event: string, _facts?: Facts) => record(`${name} ${event}`);
  return { debug: level("debug"), info: level("info"), warn: level("warn"), error: level("error") };
}

export const silentLogger: Logger = loggerInto(() => undefined);
