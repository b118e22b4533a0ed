/** Which levels of features ApiVersions tells, and what UpdateFeatures changes and refuses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import { nodeId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { ApiVersions } from "../../protocol/messages/api-versions.ts";
import { ConsumerGroupDescribe } from "../../protocol/messages/consumer-group-describe.ts";
import { ConsumerGroupHeartbeat } from "../../protocol/messages/consumer-group-heartbeat.ts";
import {
  UpdateFeatures,
  type UpdateFeaturesRequest,
  UpgradeType,
} from "../../protocol/messages/update-features.ts";
import { featureNames } from "../features.ts";
import { handlers } from "../handlers.ts";
import { consumerGroupHeartbeat } from "./consumer-group-heartbeat.ts";

async function told(broker: SimulatedBroker, version = 5) {
  const request = {
    clientSoftwareName: "a",
    clientSoftwareVersion: "1",
    clusterId: null,
    nodeId: nodeId(-1),
  };
  const { supportedFeatures, finalizedFeatures, finalizedFeaturesEpoch } = await broker.ask(
    ApiVersions,
    request,
    version,
  );
  const levels = finalizedFeatures.map(({ name, maxVersionLevel }) => [name, maxVersionLevel]);
  return {
    supported: supportedFeatures.map(({ name, minVersion, maxVersion }) => [name, minVersion, maxVersion]),
    levels: Object.fromEntries(levels) as { readonly [name: string]: number },
    epoch: finalizedFeaturesEpoch,
  };
}

type Update = Partial<UpdateFeaturesRequest["featureUpdates"][number]>;

function update(broker: SimulatedBroker, updates: readonly Update[], version = 2, validateOnly = false) {
  const featureUpdates = updates.map((each) => ({
    feature: "group.version",
    maxVersionLevel: 1,
    allowDowngrade: false,
    upgradeType: UpgradeType.upgrade,
    ...each,
  }));
  return broker.ask(UpdateFeatures, { timeoutMs: 1000, featureUpdates, validateOnly }, version);
}

const up = { upgradeType: UpgradeType.unsafeDowngrade };
const down = { maxVersionLevel: 0, upgradeType: UpgradeType.safeDowngrade };

test("every feature is told with its levels, and the highest is in force until another is set", async (t) => {
  const broker = await aBroker(t);
  const { supported, levels, epoch } = await told(broker);
  assert.deepEqual(supported.slice(0, 1), [["group.version", 0, 1]]);
  assert.equal(levels["group.version"], 1);
  assert.ok(epoch > 0);
});

test("a client of version 3, to whom a level of 0 is an error, is told what is in force only", async (t) => {
  const broker = await aBroker(t);
  const { supported, levels } = await told(broker, 3);
  assert.deepEqual(supported, []);
  assert.equal(levels["group.version"], 1);
});

test("a feature is told only where the API that carries it is served", () => {
  assert.ok(featureNames(handlers).includes("group.version"));
  const others = handlers.filter((handler) => handler !== consumerGroupHeartbeat);
  assert.ok(!featureNames(others).includes("group.version"));
});

test("a level that was set is in force, also after a restart, and its epoch is higher", async (t) => {
  const broker = await aBroker(t);
  const before = await told(broker);
  assert.equal((await update(broker, [down])).errorCode, ErrorCode.NONE);
  const after = await told(broker);
  assert.equal(after.levels["group.version"], undefined);
  assert.ok(after.epoch > before.epoch);
  await broker.restart();
  assert.equal((await told(broker)).levels["group.version"], undefined);
  assert.equal((await update(broker, [{ maxVersionLevel: 1 }])).errorCode, ErrorCode.NONE);
  assert.equal((await told(broker)).levels["group.version"], 1);
});

test("groups of KIP-848 are served at level 1 of group.version only", async (t) => {
  const broker = await aBroker(t);
  const join = {
    groupId: "g",
    memberId: "m",
    memberEpoch: 0,
    instanceId: null,
    rackId: null,
    rebalanceTimeoutMs: 1000,
    subscribedTopicNames: ["orders"],
    subscribedTopicRegex: null,
    serverAssignor: null,
    topicPartitions: [],
  };
  const describe = { groupIds: ["g"], includeAuthorizedOperations: false };
  await update(broker, [down]);
  const refused = await broker.ask(ConsumerGroupHeartbeat, join);
  assert.equal(refused.errorCode, ErrorCode.UNSUPPORTED_VERSION);
  assert.match(refused.errorMessage ?? "", /group\.version/);
  const { groups } = await broker.ask(ConsumerGroupDescribe, describe);
  assert.equal(groups[0]?.errorCode, ErrorCode.UNSUPPORTED_VERSION);
  await update(broker, [{}]);
  assert.equal((await broker.ask(ConsumerGroupHeartbeat, join)).errorCode, ErrorCode.NONE);
});

test("a level is refused that is not supported, that is lower or higher than the request says, or of what is no feature", async (t) => {
  const broker = await aBroker(t);
  const refusals: readonly (readonly [Update, RegExp, number?])[] = [
    [{ maxVersionLevel: 2 }, /the levels 0 to 1 are supported/],
    [{ maxVersionLevel: -1 }, /the levels 0 to 1 are supported/],
    [{ feature: "no.such.version" }, /there is no such feature/],
    [{ feature: "metadata.version", maxVersionLevel: 30 }, /there is no such feature/],
    [{ feature: "holdfast.format", maxVersionLevel: 0 }, /the levels 1 to 2 are supported/],
    [{ feature: "holdfast.format", ...up, maxVersionLevel: 1 }, /cannot be taken back/],
    [{ maxVersionLevel: 0 }, /does not say that it may go down/],
    [{ maxVersionLevel: 0 }, /does not say that it may go down/, 0],
    [{ upgradeType: 7 }, /there is no type 7 of updates/],
  ];
  for (const [wanted, sentence, version] of refusals) {
    const answer = await update(broker, [wanted], version);
    assert.equal(answer.errorCode, ErrorCode.INVALID_UPDATE_VERSION);
    assert.match(answer.errorMessage ?? "", sentence);
  }
  await update(broker, [down]);
  const risen = await update(broker, [up]);
  assert.match(risen.errorMessage ?? "", /says that it shall go down/);
});

test("one refused update leaves all of its request undone, and validating alone changes nothing", async (t) => {
  const broker = await aBroker(t);
  const both = await update(broker, [down, { feature: "no.such.version" }]);
  assert.equal(both.errorCode, ErrorCode.INVALID_UPDATE_VERSION);
  assert.equal((await update(broker, [down], 2, true)).errorCode, ErrorCode.NONE);
  assert.equal((await told(broker)).levels["group.version"], 1);
});

test("the format of what is written is a feature: the cluster's begins at the highest level", async (t) => {
  const broker = await aBroker(t);
  const { supported, levels } = await told(broker);
  assert.deepEqual(
    supported.find(([name]) => name === "holdfast.format"),
    ["holdfast.format", 1, 2],
  );
  assert.equal(levels["holdfast.format"], 2);
  const again = await update(broker, [{ feature: "holdfast.format", maxVersionLevel: 2 }]);
  assert.equal(again.errorCode, ErrorCode.NONE);
});

test("old versions allow to go down with a flag, and are told the outcome for each feature", async (t) => {
  const broker = await aBroker(t);
  const flagged = await update(broker, [{ maxVersionLevel: 0, allowDowngrade: true }], 0);
  assert.deepEqual(flagged.results, [
    { feature: "group.version", errorCode: ErrorCode.NONE, errorMessage: null },
  ]);
  assert.equal((await told(broker)).levels["group.version"], undefined);
  assert.deepEqual((await update(broker, [{}], 1)).results.length, 1);
  assert.deepEqual((await update(broker, [], 2)).errorCode, ErrorCode.NONE);
});
