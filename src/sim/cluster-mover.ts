/** An admin who now and then wants a partition to be led by a certain broker, and then by whoever. */
import { nodeId, partitionIndex } from "../base/ids.ts";
import { AlterPartitionReassignments } from "../protocol/messages/alter-partition-reassignments.ts";
import { Metadata } from "../protocol/messages/metadata.ts";
import type { Actor } from "./actor.ts";
import type { Caller } from "./client.ts";
import type { NewTopic } from "./create-topic.ts";
import { Visitor } from "./visitor.ts";

export class Mover extends Visitor {
  readonly #topics: readonly NewTopic[];

  constructor(actor: Actor, topics: readonly NewTopic[]) {
    super(actor);
    this.#topics = topics;
    this.comesFor(AlterPartitionReassignments, (client) => this.#move(client));
  }

  async #move(client: Caller): Promise<void> {
    const { random } = this.actor;
    const { brokers } = await this.ask(client, Metadata, 12, {
      topics: [],
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    });
    if (brokers.length === 0) return;
    const { name, partitions } = random.pick(this.#topics);
    const replicas = random.chance(0.8) ? [random.pick(brokers).nodeId] : null;
    // Whether it can be done is for the cluster to say; that nothing is lost by it, for the others.
    await this.ask(client, AlterPartitionReassignments, 0, {
      timeoutMs: 10_000,
      allowReplicationFactorChange: true,
      topics: [
        {
          name,
          partitions: [
            {
              partitionIndex: partitionIndex(random.below(partitions)),
              replicas: replicas?.map((id) => nodeId(id)) ?? null,
            },
          ],
        },
      ],
    });
  }
}
