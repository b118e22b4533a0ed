/** A hundred thousand groups that do nothing: what they take at rest, and how long a start with them lasts. */
import { finish, useOf } from "../../tools/processes.ts";
import { benchProgram, createTopic } from "../loads.ts";
import { spreadOf, verdictAtMost } from "../stats.ts";
import { type Probe, withHoldfast } from "./probe.ts";

const groups = 100_000;
const residentMbMax = 400;
const startMsMax = 3_000;
const runMs = 300_000;

export const idleGroups: Probe = {
  name: "idle-groups",
  async run({ quick }) {
    const count = quick ? groups / 10 : groups;
    return withHoldfast({}, async (broker) => {
      await createTopic(broker, "groups", 1);
      await finish(await benchProgram(), ["idle", broker.address, "groups", String(count)], {
        timeoutMs: runMs,
      });
      const starts: number[] = [];
      const resident: number[] = [];
      for (let at = 0; at < 3; at++) {
        await broker.kill();
        const begun = performance.now();
        await broker.start();
        // A request about a group waits until all of them are read.
        await finish(await benchProgram(), ["idle", broker.address, "groups", "1"], { timeoutMs: runMs });
        starts.push(performance.now() - begun);
        resident.push(useOf(broker.pid()).rssBytes / 1e6);
      }
      const time = spreadOf(starts);
      const memory = spreadOf(resident);
      const verdicts = [verdictAtMost(memory, residentMbMax), verdictAtMost(time, startMsMax)];
      const verdict = verdicts.includes("missed") ? "missed" : verdicts.includes("open") ? "open" : "reached";
      return {
        sentence: `${count} idle groups: ${memory.median.toFixed(0)} MB resident, at most ${residentMbMax}; ${time.median.toFixed(0)} ms from a kill's restart until the first of them is answered, at most ${startMsMax}`,
        verdict,
        values: [...resident, ...starts],
      };
    });
  },
};
