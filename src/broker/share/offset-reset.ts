/**
 * `share.auto.offset.reset`: where a share group begins in a partition of which it has no state yet. As a value:
 * one of two ends, or how far back in time.
 */
import { InvalidSettingError } from "../setting.ts";

export type OffsetReset =
  | { readonly kind: "earliest" }
  | { readonly kind: "latest" }
  /** At the first record whose timestamp is not older than so many ms. */
  | { readonly kind: "by_duration"; readonly ms: number };

const dayMs = 86_400_000;
const durationPrefix = "by_duration:";
/** As Java's Duration reads it, without signs: days, then hours, minutes and seconds. */
const iso = /^P(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?$/i;

/** Throws `InvalidSettingError`. */
export function readOffsetReset(value: string): OffsetReset {
  const plain = value.trim().toLowerCase();
  if (plain === "earliest" || plain === "latest") return { kind: plain };
  if (plain.startsWith(durationPrefix)) {
    const parts = iso.exec(plain.slice(durationPrefix.length));
    if (parts !== null && parts.slice(1).some((part) => part !== undefined)) {
      const [days = 0, hours = 0, minutes = 0, seconds = 0] = parts.slice(1).map((part) => Number(part ?? 0));
      return {
        kind: "by_duration",
        ms: days * dayMs + hours * 3_600_000 + minutes * 60_000 + Math.round(seconds * 1000),
      };
    }
  }
  throw new InvalidSettingError(
    `must be latest, earliest or by_duration: with a time in ISO 8601 (by_duration:PT1H), not "${value}"`,
  );
}
