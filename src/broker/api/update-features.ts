/**
 * UpdateFeatures: which levels of features are in force (features.ts), for all brokers and for good. All
 * updates of a request are made together, or none; the level of the format comes first, since a broker that
 * does not know it forbids it. Answered when they are durable. Clients hear of it when
 * they connect the next time.
 */
import type { Command } from "../../metadata/commands.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  UpdateFeatures,
  type UpdateFeaturesRequest,
  UpgradeType,
} from "../../protocol/messages/update-features.ts";
import { whenToldToAll } from "../cluster/cluster.ts";
import type { RequestContext } from "../context.ts";
import { featureNames, featuresResource, formatFeature, levelMax, levelMin, levelOf } from "../features.ts";
import { handle } from "../handle.ts";
import { accepted, attempt, type Refusal, refusal, voidRefusal } from "../refusal.ts";

type Update = UpdateFeaturesRequest["featureUpdates"][number];

/** Before, a flag allowed to go down; after, a type. */
const typeVersionMin = 1;
/** From then on the answer has no line for each feature. */
const plainVersionMin = 2;

export const updateFeatures = handle(UpdateFeatures, {
  async decide(request, context) {
    const updates = Array.from(new Map(request.featureUpdates.map((each) => [each.feature, each])).values());
    const outcome = await update(updates, request.validateOnly, context);
    const isTold = context.apiVersion < plainVersionMin && outcome.errorCode === ErrorCode.NONE;
    const results = isTold ? updates.map(({ feature }) => ({ feature, ...accepted })) : [];
    return { throttleTimeMs: 0, ...outcome, results };
  },
});

async function update(
  updates: readonly Update[],
  validateOnly: boolean,
  context: RequestContext,
): Promise<Refusal> {
  const { services } = context;
  for (const each of updates) {
    const wrong = check(each, context);
    if (wrong === null) continue;
    const what = `Level ${each.maxVersionLevel} of the feature ${each.feature} cannot be set, and nothing was changed`;
    return refusal(ErrorCode.INVALID_UPDATE_VERSION, `${what}: ${wrong}.`);
  }
  if (validateOnly) return accepted;
  for (const command of commandsOf(updates)) {
    const outcome = await attempt(() => services.journal.append(command));
    if ("errorCode" in outcome) return outcome;
    if (outcome.kind === "void") return voidRefusal(outcome.reason);
  }
  await whenToldToAll(services.cluster.peers, services.journal);
  return accepted;
}

function commandsOf(updates: readonly Update[]): readonly Command[] {
  const format = updates.find(({ feature }) => feature === formatFeature);
  const edits = updates
    .filter((each) => each !== format)
    .map(({ feature, maxVersionLevel }) => ({ name: feature, value: `${maxVersionLevel}` }));
  const commands: Command[] = [];
  if (format !== undefined) commands.push({ kind: "level", level: format.maxVersionLevel });
  if (edits.length > 0)
    commands.push({ kind: "brokerConfig", resource: featuresResource, replace: false, edits });
  return commands;
}

/** What is wrong with an update; null: nothing is. */
function check(wanted: Update, { apiVersion, services }: RequestContext): string | null {
  const name = featureNames(services.handlers).find((each) => each === wanted.feature);
  if (name === undefined) return "there is no such feature here";
  const { maxVersionLevel: level, allowDowngrade, upgradeType } = wanted;
  if (level < levelMin(name) || level > levelMax(name)) {
    return `the levels ${levelMin(name)} to ${levelMax(name)} are supported`;
  }
  const flagged = allowDowngrade ? UpgradeType.safeDowngrade : UpgradeType.upgrade;
  const type = apiVersion < typeVersionMin ? flagged : upgradeType;
  if (!Object.values<number>(UpgradeType).includes(type)) return `there is no type ${type} of updates`;
  const { state } = services.journal;
  const current = levelOf(name, state);
  if (name === formatFeature) {
    if (level < current) return `${current} is in force, and what was written at it cannot be taken back`;
    const old = [...state.brokers.values()].find(
      (broker) => broker.status === "live" && broker.levelMax < level,
    );
    if (old !== undefined) {
      return `broker ${old.nodeId} runs ${old.software}, which knows ${old.levelMax} at most; update it first`;
    }
  }
  if (level < current && type === UpgradeType.upgrade) {
    return `${current} is in force, and the request does not say that it may go down`;
  }
  if (level > current && type !== UpgradeType.upgrade) {
    return `${current} is in force, and the request says that it shall go down`;
  }
  return null;
}
