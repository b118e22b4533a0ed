/** What ElectLeaders, the two of reassignments, ListConfigResources, the two of telemetry and the three of ACLs answer. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import { NO_TOPIC_ID, nodeId, partitionIndex, type TopicId, topicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { AlterPartitionReassignments } from "../../protocol/messages/alter-partition-reassignments.ts";
import { ConfigResource } from "../../protocol/messages/describe-configs.ts";
import { CreateAcls } from "../../protocol/messages/create-acls.ts";
import { DeleteAcls } from "../../protocol/messages/delete-acls.ts";
import { DescribeAcls } from "../../protocol/messages/describe-acls.ts";
import { ElectionType, ElectLeaders } from "../../protocol/messages/elect-leaders.ts";
import { GetTelemetrySubscriptions } from "../../protocol/messages/get-telemetry-subscriptions.ts";
import { ListConfigResources } from "../../protocol/messages/list-config-resources.ts";
import { ListPartitionReassignments } from "../../protocol/messages/list-partition-reassignments.ts";
import { PushTelemetry, type PushTelemetryRequest } from "../../protocol/messages/push-telemetry.ts";

const indexes = (...all: readonly number[]) => all.map(partitionIndex);

describe("ElectLeaders", () => {
  const elect = async (broker: SimulatedBroker, electionType: number, version = 2) => {
    const topicPartitions = [
      { topic: "orders", partitions: indexes(0, 9, -1) },
      { topic: "absent", partitions: indexes(0) },
    ];
    const request = { electionType, topicPartitions, timeoutMs: 1000 };
    const { errorCode, replicaElectionResults } = await broker.ask(ElectLeaders, request, version);
    return [
      errorCode,
      ...replicaElectionResults.flatMap(({ partitionResult }) =>
        partitionResult.map((each) => each.errorCode),
      ),
    ];
  };

  test("is not needed for any partition that there is", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 2);
    const { NONE, ELECTION_NOT_NEEDED, UNKNOWN_TOPIC_OR_PARTITION: unknown } = ErrorCode;
    for (const version of [0, 1, 2]) {
      assert.deepEqual(await elect(broker, ElectionType.preferred, version), [
        NONE,
        ELECTION_NOT_NEEDED,
        unknown,
        unknown,
        unknown,
      ]);
    }
    assert.equal((await elect(broker, ElectionType.unclean))[1], ELECTION_NOT_NEEDED);
  });

  test("of all partitions elects none; of an unknown type, it is refused", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    const all = { electionType: ElectionType.preferred, topicPartitions: null, timeoutMs: 1000 };
    const answer = await broker.ask(ElectLeaders, all);
    assert.deepEqual([answer.errorCode, answer.replicaElectionResults], [ErrorCode.NONE, []]);
    assert.deepEqual(new Set(await elect(broker, 5)), new Set([ErrorCode.INVALID_REQUEST]));
  });
});

describe("AlterPartitionReassignments", () => {
  const reassign = async (
    broker: SimulatedBroker,
    name: string,
    index: number,
    replicas: number[] | null,
  ) => {
    const partitions = [
      { partitionIndex: partitionIndex(index), replicas: replicas === null ? null : replicas.map(nodeId) },
    ];
    const { errorCode, responses } = await broker.ask(AlterPartitionReassignments, {
      timeoutMs: 1000,
      allowReplicationFactorChange: true,
      topics: [{ name, partitions }],
    });
    assert.equal(errorCode, ErrorCode.NONE);
    return responses[0]?.partitions[0];
  };

  test("to where the partition lies is done, and to anywhere else refused with a sentence", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 2);
    assert.equal((await reassign(broker, "orders", 1, [1]))?.errorCode, ErrorCode.NONE);
    for (const replicas of [[2], [1, 2], [1, 1], [], [-1]]) {
      const refused = await reassign(broker, "orders", 1, replicas);
      assert.equal(refused?.errorCode, ErrorCode.INVALID_REPLICA_ASSIGNMENT);
      assert.match(refused.errorMessage ?? "", /has one replica, broker 1/);
    }
  });

  test("cannot be cancelled, since none is under way; what is not there is told", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    const cancelled = await reassign(broker, "orders", 0, null);
    assert.equal(cancelled?.errorCode, ErrorCode.NO_REASSIGNMENT_IN_PROGRESS);
    assert.equal((await reassign(broker, "orders", 1, [1]))?.errorMessage, "There is no partition orders-1.");
    assert.equal((await reassign(broker, "absent", 0, null))?.errorMessage, "There is no topic absent.");
    const topics = [{ name: "orders", partitionIndexes: indexes(0) }];
    for (const asked of [null, topics]) {
      const answer = await broker.ask(ListPartitionReassignments, { timeoutMs: 1000, topics: asked });
      assert.deepEqual([answer.errorCode, answer.topics], [ErrorCode.NONE, []]);
    }
  });
});

describe("ListConfigResources", () => {
  const list = async (broker: SimulatedBroker, resourceTypes: readonly number[], version = 1) => {
    const answer = await broker.ask(ListConfigResources, { resourceTypes }, version);
    const found = answer.configResources.map(({ resourceType, resourceName }) => [
      resourceType,
      resourceName,
    ]);
    return answer.errorCode === ErrorCode.NONE ? found : answer.errorCode;
  };

  test("names topics and brokers, of the types that are asked for", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    const [topic, one] = [
      [ConfigResource.topic, "orders"],
      [ConfigResource.broker, "1"],
    ];
    assert.deepEqual(await list(broker, []), [one, topic]);
    assert.deepEqual(await list(broker, [ConfigResource.topic]), [topic]);
    assert.deepEqual(await list(broker, [ConfigResource.broker]), [one]);
    for (const none of [ConfigResource.group, ConfigResource.clientMetrics, ConfigResource.brokerLogger]) {
      assert.deepEqual(await list(broker, [none]), []);
    }
  });

  test("refuses a type that is none, and in version 0 tells the client metrics, which are none", async (t) => {
    const broker = await aBroker(t);
    assert.equal(await list(broker, [ConfigResource.topic, 99]), ErrorCode.UNSUPPORTED_VERSION);
    assert.deepEqual(await list(broker, [], 0), []);
  });
});

describe("telemetry", () => {
  const subscribe = (broker: SimulatedBroker, clientInstanceId: TopicId) =>
    broker.ask(GetTelemetrySubscriptions, { clientInstanceId });

  test("a client is given an id once, and is asked for no metrics", async (t) => {
    const broker = await aBroker(t);
    const first = await subscribe(broker, NO_TOPIC_ID);
    assert.deepEqual(first.requestedMetrics, []);
    assert.notEqual(first.clientInstanceId, NO_TOPIC_ID);
    assert.notEqual((await subscribe(broker, NO_TOPIC_ID)).clientInstanceId, first.clientInstanceId);
    assert.equal((await subscribe(broker, first.clientInstanceId)).clientInstanceId, first.clientInstanceId);
  });

  test("a push is checked: who sends it, for which subscription, how it is packed, how large it is", async (t) => {
    const broker = await aBroker(t);
    const { subscriptionId } = await subscribe(broker, NO_TOPIC_ID);
    const push = async (over: Partial<PushTelemetryRequest>) => {
      const clientInstanceId = topicId("AAAAAAAAQACAAAAAAAAAAA");
      const metrics = new Uint8Array(3);
      const request = { clientInstanceId, subscriptionId, terminating: false, compressionType: 0, metrics };
      return (await broker.ask(PushTelemetry, { ...request, ...over })).errorCode;
    };
    assert.equal(await push({}), ErrorCode.NONE);
    assert.equal(await push({ clientInstanceId: NO_TOPIC_ID }), ErrorCode.INVALID_REQUEST);
    assert.equal(await push({ subscriptionId: subscriptionId + 1 }), ErrorCode.UNKNOWN_SUBSCRIPTION_ID);
    assert.equal(await push({ compressionType: 9 }), ErrorCode.UNSUPPORTED_COMPRESSION_TYPE);
    assert.equal(await push({ metrics: new Uint8Array(1_048_577) }), ErrorCode.TELEMETRY_TOO_LARGE);
  });
});

describe("access rights", () => {
  const { SECURITY_DISABLED } = ErrorCode;
  const any = {
    resourceTypeFilter: 1,
    resourceNameFilter: null,
    patternTypeFilter: 1,
    principalFilter: null,
    hostFilter: null,
    operation: 1,
    permissionType: 1,
  };

  test("are told not to be there, in the words that Kafka's frameworks go by", async (t) => {
    const broker = await aBroker(t);
    const answer = await broker.ask(DescribeAcls, any);
    assert.equal(answer.errorCode, SECURITY_DISABLED);
    assert.equal(answer.errorMessage, "No Authorizer is configured on the broker");
    assert.deepEqual(answer.resources, []);
  });

  test("are neither taken nor withdrawn, each of a request", async (t) => {
    const broker = await aBroker(t);
    const right = { principal: "User:a", host: "*", operation: 3, permissionType: 2 };
    const creation = { resourceType: 2, resourceName: "orders", resourcePatternType: 3, ...right };
    const { results } = await broker.ask(CreateAcls, { creations: [creation, creation] });
    assert.deepEqual(
      results.map(({ errorCode }) => errorCode),
      [SECURITY_DISABLED, SECURITY_DISABLED],
    );
    const { filterResults } = await broker.ask(DeleteAcls, { filters: [any, any] });
    assert.deepEqual(
      filterResults.map(({ errorCode }) => errorCode),
      [SECURITY_DISABLED, SECURITY_DISABLED],
    );
  });
});
