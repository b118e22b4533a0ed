/** Times and durations as people write them. Times without a zone are the machine's local time. */
import { UsageError } from "./usage-error.ts";

const unitsMs: { readonly [unit: string]: number } = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** `90s`, `1h30m`, `7d`, `250ms`; null when it is none. */
export function parseDuration(text: string): number | null {
  if (!/^(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+$/.test(text)) return null;
  let ms = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)) {
    ms += Number(number) * (unitsMs[unit as string] as number);
  }
  return Number.isSafeInteger(Math.round(ms)) ? Math.round(ms) : null;
}

/** Throws `UsageError`. */
export function durationOf(option: string, text: string): number {
  const ms = parseDuration(text);
  if (ms !== null) return ms;
  throw new UsageError(`${option} ${text} is no duration, such as 90s, 10m or 1h30m.`);
}

/**
 * ms since 1970, or null when it is no time: a duration is that long ago (`10m`, also `-10m`), `@` begins a
 * number of ms (or of seconds, when it has ten digits or fewer), `14:30` is today, the rest is ISO 8601.
 */
export function parseTime(text: string, nowMs: number): number | null {
  const plain = text.replace(/^@(?=\D)/, "").replace(/ ago$/, "");
  const duration = parseDuration(plain.replace(/^-/, ""));
  if (duration !== null) return nowMs - duration;
  const epoch = /^@(\d{1,15})$/.exec(plain)?.[1];
  if (epoch !== undefined) return Number(epoch) * (epoch.length <= 10 ? 1_000 : 1);
  const clock = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(plain);
  if (clock !== null) {
    const [hours, minutes, seconds] = clock.slice(1).map((part) => Number(part ?? 0)) as [
      number,
      number,
      number,
    ];
    if (hours > 23 || minutes > 59 || seconds > 59) return null;
    return new Date(nowMs).setHours(hours, minutes, seconds, 0);
  }
  const iso =
    /^(\d{4})-(\d{2})-(\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/.exec(
      plain,
    );
  if (iso === null) return null;
  const [year, month, day] = iso.slice(1, 4).map(Number) as [number, number, number];
  // JavaScript makes 2 March of 30 February; a wrong date is a mistake to say.
  if (new Date(Date.UTC(year, month - 1, day)).getUTCDate() !== day || month > 12) return null;
  // A date alone would be read as UTC, and one with a time as local.
  const zoned = plain.length === 10 ? `${plain}T00:00` : plain.replace(" ", "T").replace(",", ".");
  const ms = Date.parse(zoned.replace(/([+-]\d{2})(\d{2})$/, "$1:$2"));
  return Number.isNaN(ms) ? null : ms;
}

/** `12:26:01.120`, local time, with the date in front when it is not today's. */
export function clockTime(ms: number, nowMs: number): string {
  if (ms < 0) return "no time";
  const date = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  if (Number.isNaN(date.getTime())) return `@${ms}`;
  if (date.toDateString() === new Date(nowMs).toDateString()) return time;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}

/** ISO 8601 in UTC; the number itself when no calendar holds it. */
export function isoTime(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}

/** How long something lasts, for people: `0 s`, `4.2 s`, `3 m 20 s`, `2 h 5 m`, `3 d 4 h`. */
export function formatDuration(ms: number): string {
  const seconds = ms / 1_000;
  if (seconds < 10 && seconds > 0) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const steps = [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
    ["s", 1],
  ] as const;
  const from = steps.findIndex(([, size]) => whole >= size);
  if (from === -1) return "0 s";
  const [unit, size] = steps[from] as (typeof steps)[number];
  const smaller = steps[from + 1];
  const rest = smaller === undefined ? 0 : Math.floor((whole % size) / smaller[1]);
  return `${Math.floor(whole / size)} ${unit}${rest === 0 || smaller === undefined ? "" : ` ${rest} ${smaller[0]}`}`;
}
