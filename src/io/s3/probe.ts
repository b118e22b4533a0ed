/** The probe of a bucket: what every store must do, and what only a bucket has. A first start and `holdfast bucket check` run it. */
import type { Clock, Random } from "../../base/ports.ts";
import { probeStore, type ProbeOptions, type ProbeVerdict } from "../../store/probe.ts";
import type { S3Store } from "./store.ts";

/** S3 refuses signatures that are further off. */
const refusedSkewMs = 15 * 60_000;
const riskySkewMs = 5 * 60_000;

export async function* probeBucket(
  store: S3Store,
  ports: { readonly clock: Clock; readonly random: Random },
  how: Pick<ProbeOptions, "rounds" | "racers" | "largeBytes" | "trialMs"> = {},
): AsyncGenerator<ProbeVerdict, void, void> {
  let didAnswer = false;
  for await (const verdict of probeStore({ store, ...ports, ...how })) {
    didAnswer ||= verdict.status === "ok";
    yield verdict;
    if (verdict.facts?.["timedOut"] === true) return;
  }
  if (didAnswer) yield* standingVerdicts(store);
}

/** What is seen without writing: a start over a bucket that is in use looks at it. The store has answered before. */
export async function* standingVerdicts(store: S3Store): AsyncGenerator<ProbeVerdict, void, void> {
  yield clockVerdict(store.clockSkewMs);
  yield* lifecycleVerdicts(store);
}

function clockVerdict(skewMs: number): ProbeVerdict {
  const about = "clock";
  const facts = { skewMs };
  const seconds = Math.abs(Math.round(skewMs / 1000));
  const side = skewMs > 0 ? "behind" : "ahead of";
  if (seconds === 0)
    return { status: "ok", about, facts, text: "this machine and the store have the same time." };
  const told = `this machine's clock is ${seconds} s ${side} the store's`;
  if (Math.abs(skewMs) < riskySkewMs) {
    return {
      status: "note",
      about,
      facts,
      text: `${told}. Nothing rests on it; times in records will be off.`,
    };
  }
  const isRefused = Math.abs(skewMs) >= refusedSkewMs;
  return {
    status: "risk",
    about,
    facts,
    text: `${told}${isRefused ? ", so that it refuses signatures; Holdfast signs with the store's time" : ", and from 15 minutes on it refuses signatures"}. Set the clock (NTP).`,
  };
}

async function* lifecycleVerdicts(store: S3Store): AsyncGenerator<ProbeVerdict, void, void> {
  const about = "lifecycle";
  const rules = await store.expiryRules();
  if (rules === null) {
    yield {
      status: "unknown",
      about,
      text: "whether rules of the bucket delete objects cannot be read (s3:GetLifecycleConfiguration). Make sure that none is about this prefix.",
    };
    return;
  }
  for (const rule of rules) {
    const which =
      rule.prefix === "" ? "every object of the bucket" : `objects whose keys begin with ${rule.prefix}`;
    const facts = { ...rule };
    yield rule.isNarrower
      ? {
          status: "risk",
          about,
          facts,
          text: `the rule ${rule.id} deletes some of ${which} after ${rule.after}; if it meets one of ours, acknowledged records are lost. Take this prefix out of it.`,
        }
      : {
          status: "wrong",
          about,
          facts,
          text: `the rule ${rule.id} deletes ${which} after ${rule.after}: acknowledged records would be lost, whatever their topic's retention. Remove the rule, or take this prefix out of it.`,
        };
  }
  if (rules.length === 0) {
    yield { status: "ok", about, text: "no rule of the bucket deletes objects under this prefix." };
  }
}
