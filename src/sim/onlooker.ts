/** Asks for everything that changes nothing, and judges what can be judged by one answer. */
import { leaderEpoch, nodeId, partitionIndex, producerEpoch, producerId } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { ApiVersions } from "../protocol/messages/api-versions.ts";
import { ConsumerGroupDescribe } from "../protocol/messages/consumer-group-describe.ts";
import { DescribeCluster } from "../protocol/messages/describe-cluster.ts";
import { DescribeGroups } from "../protocol/messages/describe-groups.ts";
import { DescribeLogDirs } from "../protocol/messages/describe-log-dirs.ts";
import { CoordinatorType, FindCoordinator } from "../protocol/messages/find-coordinator.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { ListGroups } from "../protocol/messages/list-groups.ts";
import { Metadata } from "../protocol/messages/metadata.ts";
import { OffsetForLeaderEpoch } from "../protocol/messages/offset-for-leader-epoch.ts";
import type { Actor } from "./actor.ts";
import type { Caller } from "./client.ts";
import { Visitor } from "./visitor.ts";

export class Onlooker extends Visitor {
  readonly #topics: readonly { readonly name: string; readonly partitions: number }[];
  readonly #groups: readonly string[];
  readonly #producerIds = new Set<number>();
  #clusterId: string | null = null;
  /** Of the first partition of the first topic: the newest leader epoch that it was told. */
  #epoch = -1;

  constructor(
    actor: Actor,
    topics: readonly { readonly name: string; readonly partitions: number }[],
    groups: readonly string[],
  ) {
    super(actor);
    this.#topics = topics;
    this.#groups = groups;
    this.comesFor(ApiVersions, (client) => this.#versions(client));
    this.comesFor(DescribeCluster, (client) => this.#cluster(client));
    this.comesFor(DescribeLogDirs, (client) => this.#directories(client));
    this.comesFor(FindCoordinator, (client) => this.#coordinator(client));
    this.comesFor(InitProducerId, (client) => this.#producer(client));
    this.comesFor(Metadata, (client) => this.#metadata(client));
    this.comesFor(OffsetForLeaderEpoch, (client) => this.#epochs(client));
    this.comesFor(ListGroups, (client) => this.#list(client));
    this.comesFor(DescribeGroups, (client) => this.#describeClassic(client));
    this.comesFor(ConsumerGroupDescribe, (client) => this.#describeConsumer(client));
    this.comesFor(ConsumerGroupDescribe, (client) => this.#describeConsumer(client));
  }

  async #versions(client: Caller): Promise<void> {
    const answer = await this.ask(client, ApiVersions, 4, {
      clientSoftwareName: "simulation",
      clientSoftwareVersion: "1",
      clusterId: null,
      nodeId: nodeId(-1),
    });
    this.isFine(answer.errorCode, "ApiVersions");
  }

  async #cluster(client: Caller): Promise<void> {
    const answer = await this.ask(client, DescribeCluster, 0, {
      includeClusterAuthorizedOperations: false,
      endpointType: 1,
      includeFencedBrokers: false,
    });
    if (!this.isFine(answer.errorCode, "DescribeCluster")) return;
    this.#clusterId ??= answer.clusterId;
    if (answer.clusterId !== this.#clusterId)
      this.violate(`the cluster was ${this.#clusterId} and is ${answer.clusterId}`);
  }

  async #directories(client: Caller): Promise<void> {
    const { results } = await this.ask(client, DescribeLogDirs, 2, { topics: null });
    if (!this.isFine(results[0]?.errorCode, "DescribeLogDirs")) return;
    for (const { name, partitions } of this.#topics) {
      const found = results[0]?.topics.find((topic) => topic.name === name)?.partitions.length;
      if (found !== partitions) this.violate(`DescribeLogDirs tells of ${found} partitions of ${name}`);
    }
  }

  async #coordinator(client: Caller): Promise<void> {
    const { coordinators } = await this.ask(client, FindCoordinator, 4, {
      key: "",
      keyType: CoordinatorType.group,
      coordinatorKeys: this.#groups,
    });
    for (const { errorCode } of coordinators) this.isFine(errorCode, "FindCoordinator");
  }

  /** No id is ever given twice, or two producers would be taken for one. */
  async #producer(client: Caller): Promise<void> {
    const answer = await this.ask(client, InitProducerId, 4, {
      transactionalId: null,
      transactionTimeoutMs: 60_000,
      producerId: producerId(-1),
      producerEpoch: producerEpoch(-1),
    });
    if (!this.isFine(answer.errorCode, "InitProducerId")) return;
    if (this.#producerIds.has(answer.producerId))
      this.violate(`the producer id ${answer.producerId} was given twice`);
    this.#producerIds.add(answer.producerId);
  }

  async #metadata(client: Caller): Promise<void> {
    const { topics } = await this.ask(client, Metadata, 9, {
      topics: null,
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    });
    for (const { name, partitions } of this.#topics) {
      const found = topics.find((topic) => topic.name === name);
      if (found?.partitions.length !== partitions)
        this.violate(`Metadata tells of ${found?.partitions.length} partitions of ${name}`);
    }
    const epoch = topics.find(({ name }) => name === this.#topics[0]?.name)?.partitions[0]?.leaderEpoch ?? -1;
    if (epoch < this.#epoch) this.violate(`a leader epoch was ${this.#epoch} and is ${epoch}`);
    this.#epoch = Math.max(this.#epoch, epoch);
  }

  async #epochs(client: Caller): Promise<void> {
    const { name } = this.actor.random.pick(this.#topics);
    const { topics } = await this.ask(client, OffsetForLeaderEpoch, 4, {
      replicaId: nodeId(-1),
      topics: [
        {
          topic: name,
          partitions: [
            {
              partition: partitionIndex(0),
              currentLeaderEpoch: leaderEpoch(-1),
              leaderEpoch: leaderEpoch(Math.max(0, this.#epoch)),
            },
          ],
        },
      ],
    });
    this.isFine(topics[0]?.partitions[0]?.errorCode, "OffsetForLeaderEpoch");
  }

  async #list(client: Caller): Promise<void> {
    const answer = await this.ask(client, ListGroups, 5, { statesFilter: [], typesFilter: [] });
    this.isFine(answer.errorCode, "ListGroups");
  }

  async #describeClassic(client: Caller): Promise<void> {
    const { groups } = await this.ask(client, DescribeGroups, 5, {
      groups: this.#groups,
      includeAuthorizedOperations: true,
    });
    for (const { errorCode } of groups) this.isFine(errorCode, "DescribeGroups");
  }

  /** In no group has a partition two members. */
  async #describeConsumer(client: Caller): Promise<void> {
    const { groups } = await this.ask(client, ConsumerGroupDescribe, 1, {
      groupIds: this.#groups,
      includeAuthorizedOperations: false,
    });
    for (const group of groups) {
      // A classic group is none of these.
      if (group.errorCode === ErrorCode.GROUP_ID_NOT_FOUND) continue;
      if (!this.isFine(group.errorCode, "ConsumerGroupDescribe")) continue;
      const owners = new Map<string, string>();
      for (const { memberId, assignment } of group.members) {
        for (const { topicName, partitions } of assignment.topicPartitions) {
          for (const partition of partitions) {
            const place = `${topicName}/${partition}`;
            const other = owners.get(place);
            if (other !== undefined)
              this.violate(`${group.groupId}: ${place} is said to be of ${other} and ${memberId}`);
            owners.set(place, memberId);
          }
        }
      }
    }
  }
}
