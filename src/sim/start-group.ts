/** Lets members of one group begin: of one protocol, of the other, or of both. */
import type { Actor } from "./actor.ts";
import type { GroupHistory } from "./group-history.ts";
import { ClassicMember, ConsumerMember } from "./group-members.ts";
import type { SimRandom } from "./random.ts";
import type { TransactionalId } from "./transactional-id.ts";
import type { Place } from "./transactional-producer.ts";

/** Of the members of the one group that transforms: no other producer of the world has their numbers. */
const firstNumber = 300;

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
    /** Into which the members transform what they read, in transactions. */
    readonly transform?: {
      readonly targets: readonly Place[];
      readonly idFor: (name: string) => TransactionalId;
    };
    readonly actor: (name: string) => Actor;
    readonly isOver: () => boolean;
  },
): Promise<unknown> {
  const { name, topic, history, consumerShare, actor, isOver } = options;
  const members = Array.from({ length: draw.between(1, options.membersMax) }, (_, number) => {
    const Kind = draw.chance(consumerShare) ? ConsumerMember : ClassicMember;
    const self = actor(`${name}-${number}`);
    let order = 0;
    const transform = options.transform && {
      id: options.transform.idFor(`${name}-${number}`),
      protocol: draw.pick(["old", "new"] as const),
      targets: options.transform.targets,
      number: firstNumber + number,
      nextOrder: () => order++,
    };
    return new Kind(self, {
      group: name,
      topic: topic.name,
      partitionCount: topic.partitions,
      number,
      // Where members of both meet, an empty group begins its epochs again.
      protocol: consumerShare === 0 ? "classic" : consumerShare === 1 ? "consumer" : "both",
      sessionMs: self.pace.sessionMs,
      history,
      ...(transform && { transform }),
    }).run(isOver);
  });
  return Promise.all(members);
}
