/** Lets members of one group begin: of one protocol, of the other, or of both. */
import type { Actor } from "./actor.ts";
import type { GroupHistory } from "./group-history.ts";
import { ClassicMember, ConsumerMember } from "./group-members.ts";
import type { SimRandom } from "./random.ts";

/** Resolves when all of them have come to their end. */
export function startGroup(
  draw: SimRandom,
  options: {
    readonly name: string;
    readonly topic: { readonly name: string; readonly partitions: number };
    readonly history: GroupHistory;
    /** Of the members; the rest speak the classic protocol. */
    readonly consumerShare: number;
    readonly membersMax: number;
    readonly actor: (name: string) => Actor;
    readonly isOver: () => boolean;
  },
): Promise<unknown> {
  const { name, topic, history, consumerShare, actor, isOver } = options;
  const members = Array.from({ length: draw.between(1, options.membersMax) }, (_, number) => {
    const Kind = draw.chance(consumerShare) ? ConsumerMember : ClassicMember;
    const self = actor(`${name}-${number}`);
    return new Kind(self, {
      group: name,
      topic: topic.name,
      partitionCount: topic.partitions,
      number,
      // Where members of both meet, an empty group begins its epochs again.
      protocol: consumerShare === 0 ? "classic" : consumerShare === 1 ? "consumer" : "both",
      sessionMs: self.pace.sessionMs,
      history,
    }).run(isOver);
  });
  return Promise.all(members);
}
