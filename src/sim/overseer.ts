/**
 * Looks after the cluster as operators do: asks for transactions and their producers, ends by hand what is not
 * open, and asks for changes that change nothing and for access rights, which there are not. What it is told must
 * fit what it knows of all clients.
 */
import { NO_TOPIC_ID, partitionIndex, producerEpoch, producerId } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { AlterPartitionReassignments } from "../protocol/messages/alter-partition-reassignments.ts";
import { CreateAcls } from "../protocol/messages/create-acls.ts";
import { DeleteAcls } from "../protocol/messages/delete-acls.ts";
import { DescribeAcls } from "../protocol/messages/describe-acls.ts";
import { DescribeProducers } from "../protocol/messages/describe-producers.ts";
import { DescribeTransactions } from "../protocol/messages/describe-transactions.ts";
import { ElectionType, ElectLeaders } from "../protocol/messages/elect-leaders.ts";
import { GetTelemetrySubscriptions } from "../protocol/messages/get-telemetry-subscriptions.ts";
import { ListConfigResources } from "../protocol/messages/list-config-resources.ts";
import { ListPartitionReassignments } from "../protocol/messages/list-partition-reassignments.ts";
import { ListTransactions } from "../protocol/messages/list-transactions.ts";
import { PushTelemetry } from "../protocol/messages/push-telemetry.ts";
import { UpdateFeatures, UpgradeType } from "../protocol/messages/update-features.ts";
import { WriteTxnMarkers } from "../protocol/messages/write-txn-markers.ts";
import type { Actor } from "./actor.ts";
import type { Caller } from "./client.ts";
import type { TransactionalId } from "./transactional-id.ts";
import { Visitor } from "./visitor.ts";

/** No producer is ever given it. */
const strangerId = 1e12;
const timeoutMs = 10_000;
const states = new Set([
  "Empty",
  "Ongoing",
  "PrepareCommit",
  "PrepareAbort",
  "CompleteCommit",
  "CompleteAbort",
]);
const openStates = new Set(["Ongoing", "PrepareCommit", "PrepareAbort"]);

/** Of all access rights: 1 is Kafka's number of what matches any. */
const anyRight = {
  resourceTypeFilter: 1,
  resourceNameFilter: null,
  patternTypeFilter: 1,
  principalFilter: null,
  hostFilter: null,
  operation: 1,
  permissionType: 1,
} as const;

export class Overseer extends Visitor {
  readonly #topics: readonly string[];
  readonly #ids: readonly TransactionalId[];
  /** Longest time that a transaction may be open, with all outages. */
  readonly #openMsMax: number;

  constructor(
    actor: Actor,
    options: {
      /** Of each there is a partition 0. */
      readonly topics: readonly string[];
      /** All that there are. */
      readonly ids: readonly TransactionalId[];
      readonly openMsMax: number;
    },
  ) {
    super(actor);
    this.#topics = options.topics;
    this.#ids = options.ids;
    this.#openMsMax = options.openMsMax;
    this.comesFor(DescribeTransactions, (client) => this.#describe(client));
    this.comesFor(ListTransactions, (client) => this.#list(client));
    this.comesFor(DescribeProducers, (client) => this.#producers(client));
    this.comesFor(WriteTxnMarkers, (client) => this.#mark(client));
    this.comesFor(ElectLeaders, (client) => this.#elect(client));
    this.comesFor(AlterPartitionReassignments, (client) => this.#reassign(client));
    this.comesFor(ListPartitionReassignments, (client) => this.#reassignments(client));
    this.comesFor(ListConfigResources, (client) => this.#resources(client));
    this.comesFor(UpdateFeatures, (client) => this.#features(client));
    this.comesFor(GetTelemetrySubscriptions, (client) => this.#subscriptions(client));
    this.comesFor(PushTelemetry, (client) => this.#push(client));
    this.comesFor(DescribeAcls, (client) => this.#describeRights(client));
    this.comesFor(CreateAcls, (client) => this.#grant(client));
    this.comesFor(DeleteAcls, (client) => this.#withdraw(client));
  }

  // ── Transactions ──

  async #describe(client: Caller): Promise<void> {
    const known = this.#known();
    const { transactionStates } = await this.ask(client, DescribeTransactions, 0, {
      transactionalIds: this.#ids.map(({ name }) => name),
    });
    for (const { transactionalId, errorCode, ...told } of transactionStates) {
      if (errorCode === ErrorCode.TRANSACTIONAL_ID_NOT_FOUND) {
        if (known.has(transactionalId))
          this.violate(`transactional id ${transactionalId} is not known any more`);
        continue;
      }
      if (!this.isFine(errorCode, "DescribeTransactions")) continue;
      const { transactionState, transactionStartTimeMs } = told;
      if (!states.has(transactionState)) this.violate(`${transactionalId} is ${transactionState}`);
      const openMs = this.actor.clock.wallMs() - Number(transactionStartTimeMs);
      if (openStates.has(transactionState) && openMs > this.#openMsMax)
        this.violate(`${transactionalId} is ${transactionState} for ${Math.round(openMs)} ms`);
    }
  }

  async #list(client: Caller): Promise<void> {
    const known = this.#known();
    const { errorCode, transactionStates } = await this.ask(client, ListTransactions, 2, {
      stateFilters: [],
      producerIdFilters: [],
      durationFilter: -1,
      transactionalIdPattern: null,
    });
    if (!this.isFine(errorCode, "ListTransactions")) return;
    const listed = new Set(transactionStates.map(({ transactionalId }) => transactionalId));
    for (const name of known) if (!listed.has(name)) this.violate(`transactional id ${name} is not listed`);
    for (const name of listed) {
      if (!this.#ids.some((id) => id.name === name)) this.violate(`nobody has transactional id ${name}`);
    }
  }

  /** Ids that some producer was given: they are kept for days. */
  #known(): ReadonlySet<string> {
    return new Set(this.#ids.filter(({ isKnown }) => isKnown).map(({ name }) => name));
  }

  async #producers(client: Caller): Promise<void> {
    const { topics } = await this.ask(client, DescribeProducers, 0, {
      topics: this.#topics.map((name) => ({ name, partitionIndexes: [partitionIndex(0)] })),
    });
    for (const { name, partitions } of topics) {
      for (const { errorCode, activeProducers } of partitions) {
        if (!this.isFine(errorCode, "DescribeProducers")) continue;
        const ids = activeProducers.map((each) => each.producerId);
        if (new Set(ids).size < ids.length) this.violate(`a producer is described twice in ${name}`);
      }
    }
  }

  /** Ends what nobody began. */
  async #mark(client: Caller): Promise<void> {
    const topic = this.actor.random.pick(this.#topics);
    const { markers } = await this.ask(client, WriteTxnMarkers, 1, {
      markers: [
        {
          producerId: producerId(strangerId),
          producerEpoch: producerEpoch(0),
          // Nobody but a coordinator may say that something is committed.
          transactionResult: false,
          topics: [{ name: topic, partitionIndexes: [partitionIndex(0)] }],
          coordinatorEpoch: 0,
          transactionVersion: 0,
        },
      ],
    });
    this.isFine(markers[0]?.topics[0]?.partitions[0]?.errorCode, "WriteTxnMarkers");
  }

  // ── Of the cluster ──

  async #elect(client: Caller): Promise<void> {
    const topic = this.actor.random.pick(this.#topics);
    const answer = await this.ask(client, ElectLeaders, 2, {
      electionType: ElectionType.preferred,
      topicPartitions: [{ topic, partitions: [partitionIndex(0)] }],
      timeoutMs,
    });
    if (!this.isFine(answer.errorCode, "ElectLeaders")) return;
    const code = answer.replicaElectionResults[0]?.partitionResult[0]?.errorCode;
    if (code !== ErrorCode.ELECTION_NOT_NEEDED) this.isFine(code, "ElectLeaders");
  }

  /** Cancels what is not under way. */
  async #reassign(client: Caller): Promise<void> {
    const answer = await this.ask(client, AlterPartitionReassignments, 1, {
      timeoutMs,
      allowReplicationFactorChange: true,
      topics: [
        {
          name: this.actor.random.pick(this.#topics),
          partitions: [{ partitionIndex: partitionIndex(0), replicas: null }],
        },
      ],
    });
    if (!this.isFine(answer.errorCode, "AlterPartitionReassignments")) return;
    const code = answer.responses[0]?.partitions[0]?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
    if (code !== ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
      this.violate(`a move that is not under way was cancelled: ${errorFacts(code).name}`);
  }

  async #reassignments(client: Caller): Promise<void> {
    const answer = await this.ask(client, ListPartitionReassignments, 0, { timeoutMs, topics: null });
    if (!this.isFine(answer.errorCode, "ListPartitionReassignments")) return;
    if (answer.topics.length > 0) this.violate("partitions are being moved, and there is one broker");
  }

  async #resources(client: Caller): Promise<void> {
    const answer = await this.ask(client, ListConfigResources, 1, { resourceTypes: [] });
    if (!this.isFine(answer.errorCode, "ListConfigResources")) return;
    const names = new Set(answer.configResources.map(({ resourceName }) => resourceName));
    for (const topic of this.#topics)
      if (!names.has(topic)) this.violate(`${topic} is not among the resources`);
  }

  /** To the level at which it is. */
  async #features(client: Caller): Promise<void> {
    const answer = await this.ask(client, UpdateFeatures, 1, {
      timeoutMs,
      featureUpdates: [
        {
          feature: "transaction.version",
          maxVersionLevel: 2,
          allowDowngrade: false,
          upgradeType: UpgradeType.upgrade,
        },
      ],
      validateOnly: this.actor.random.chance(0.5),
    });
    this.isFine(answer.errorCode, "UpdateFeatures");
  }

  async #subscriptions(client: Caller): Promise<void> {
    const answer = await this.ask(client, GetTelemetrySubscriptions, 0, { clientInstanceId: NO_TOPIC_ID });
    this.isFine(answer.errorCode, "GetTelemetrySubscriptions");
  }

  /** Nobody asked for it; it is refused, and what for is no matter. */
  async #push(client: Caller): Promise<void> {
    await this.ask(client, PushTelemetry, 0, {
      clientInstanceId: NO_TOPIC_ID,
      subscriptionId: 0,
      terminating: false,
      compressionType: 0,
      metrics: new Uint8Array(0),
    });
  }

  // ── Access rights, which there are not ──

  async #describeRights(client: Caller): Promise<void> {
    const { errorCode } = await this.ask(client, DescribeAcls, 3, anyRight);
    this.#expectNoRights(errorCode);
  }

  async #grant(client: Caller): Promise<void> {
    const { results } = await this.ask(client, CreateAcls, 3, {
      creations: [
        {
          resourceType: 2,
          resourceName: this.actor.random.pick(this.#topics),
          resourcePatternType: 3,
          principal: "User:somebody",
          host: "*",
          operation: 3,
          permissionType: 2,
        },
      ],
    });
    this.#expectNoRights(results[0]?.errorCode);
  }

  async #withdraw(client: Caller): Promise<void> {
    const { filterResults } = await this.ask(client, DeleteAcls, 3, { filters: [anyRight] });
    this.#expectNoRights(filterResults[0]?.errorCode);
  }

  #expectNoRights(code: ErrorCode | undefined): void {
    if (code !== ErrorCode.SECURITY_DISABLED)
      this.violate(`there are no access rights, and the answer is ${code}`);
  }
}
