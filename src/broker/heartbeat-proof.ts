/**
 * When a heartbeat that changes nothing may be answered from memory. A broker that was paused and replaced would
 * tell members for ever that all is well, while its successor puts them out and gives their partitions to others.
 * So "all is well" leaves only if the broker was proved to own its partitions a short time ago, much shorter than
 * the session that the successor begins when it reads the group; else it waits for a proof (fencing, section 4).
 */
import type { Services } from "./context.ts";

/** However long sessions are: so long at most a member works on for a broker that was replaced. */
const freshMsMax = 3_000;
/** Of a session. */
const freshPart = 3;

/** Undefined: answer now. Rejects when this broker was replaced. `sessionTimeoutMs`: of the member, or a shorter one. */
export function whenProved({ cluster, env }: Services, sessionTimeoutMs: number): Promise<void> | undefined {
  const ageMs = env.clock.monotonicMs() - cluster.barrier.lastPassedMs;
  return ageMs <= Math.min(freshMsMax, sessionTimeoutMs / freshPart) ? undefined : cluster.barrier.pass();
}
