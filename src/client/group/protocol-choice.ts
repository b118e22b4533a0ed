/** Which protocol a member speaks: the one that it is told to, else the new one (KIP-848) where the coordinator serves it. */
import { ConsumerGroupHeartbeat } from "../../protocol/messages/consumer-group-heartbeat.ts";
import { ClassicMembership } from "./classic-membership.ts";
import { EpochMembership } from "./epoch-membership.ts";
import type { Member, MemberAccess } from "./member.ts";

/** Rejects with what looking for the coordinator rejects with, once the consumer is closing. */
export async function chooseMember(access: MemberAccess, isClosing: () => boolean): Promise<Member> {
  const { settings, coordinator, watch } = access;
  const what = `find the coordinator of group ${settings.group}`;
  const again = (cause: Error): number | undefined => (isClosing() ? undefined : watch.failed(what, cause));
  const isNew =
    settings.protocol === "either"
      ? (await coordinator.connection(again)).serves(ConsumerGroupHeartbeat)
      : settings.protocol === "consumer";
  watch.succeeded(what);
  return isNew ? new EpochMembership(access) : new ClassicMembership(access);
}
