import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parsePosition } from "./position.ts";
import { clockTime, parseDuration, parseTime } from "./time-text.ts";
import { UsageError } from "./usage-error.ts";

const now = new Date(2026, 10, 21, 14, 0, 0, 0).getTime();

describe("--from", () => {
  it("knows the words of Kafka and kcat", () => {
    assert.deepEqual(
      ["start", "beginning", "earliest", "END", "latest"].map((word) => parsePosition(word, now)),
      ["start", "start", "start", "end", "end"],
    );
  });

  it("takes an offset, or with a minus the last so many", () => {
    assert.equal(parsePosition("42", now), 42);
    assert.deepEqual(parsePosition("-10", now), { last: 10 });
  });

  it("takes times: so long ago, of today, of a day, with a zone, in ms", () => {
    const at = (text: string): unknown => parsePosition(text, now);
    assert.deepEqual(at("10m"), { timeMs: now - 600_000 });
    assert.deepEqual(at("-1h30m"), { timeMs: now - 5_400_000 });
    assert.deepEqual(at("@-2d"), { timeMs: now - 172_800_000 });
    assert.deepEqual(at("13:30"), { timeMs: now - 1_800_000 });
    assert.deepEqual(at("2026-11-21"), { timeMs: new Date(2026, 10, 21).getTime() });
    assert.deepEqual(at("2026-11-21T10:00:00.5Z"), { timeMs: Date.UTC(2026, 10, 21, 10, 0, 0, 500) });
    assert.deepEqual(at("2026-11-21 10:00+0100"), { timeMs: Date.UTC(2026, 10, 21, 9) });
    assert.deepEqual(at("@1700000000123"), { timeMs: 1_700_000_000_123 });
    assert.deepEqual(at("@1700000000"), { timeMs: 1_700_000_000_000 });
  });

  it("refuses what could mean anything, rather than hide records", () => {
    for (const text of [
      "",
      "begin",
      "1.5",
      "25:00",
      "2026-02-30",
      "2026-13-01",
      "1x",
      "--5",
      "99999999999999999",
      "12:60",
    ]) {
      assert.throws(() => parsePosition(text, now), UsageError, text);
    }
  });
});

describe("times and durations", () => {
  it("durations add up, and no unit is guessed", () => {
    assert.deepEqual(
      ["1m", "90s", "1h30m", "1.5s", "250ms", "2w"].map(parseDuration),
      [60_000, 90_000, 5_400_000, 1_500, 250, 1_209_600_000],
    );
    assert.deepEqual(["5", "", "m", "1m 2s", "-1m"].map(parseDuration), [null, null, null, null, null]);
  });

  it("shows the time of today, and the date of other days", () => {
    assert.equal(clockTime(now + 5, now), "14:00:00.005");
    assert.equal(clockTime(now - 86_400_000, now), "2026-11-20 14:00:00.000");
    assert.equal(clockTime(-1, now), "no time");
    assert.equal(clockTime(9e15, now), "@9000000000000000");
  });

  it("a time that is none is null", () => {
    assert.equal(parseTime("yesterday", now), null);
  });
});
