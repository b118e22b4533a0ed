/**
 * UpdateFeatures: which levels of features are in force (features.ts), for all brokers and for good. All
 * updates of a request are made together, or none; answered when they are durable. Clients hear of it when
 * they connect the next time.
 */
import { ErrorCode } from "../../protocol/errors.ts";
import {
  UpdateFeatures,
  type UpdateFeaturesRequest,
  UpgradeType,
} from "../../protocol/messages/update-features.ts";
import type { RequestContext } from "../context.ts";
import { featureNames, featuresResource, levelMax, levelOf } from "../features.ts";
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
  if (validateOnly || updates.length === 0) return accepted;
  const outcome = await attempt(() =>
    services.journal.append({
      kind: "brokerConfig",
      resource: featuresResource,
      replace: false,
      edits: updates.map(({ feature, maxVersionLevel }) => ({ name: feature, value: `${maxVersionLevel}` })),
    }),
  );
  if ("errorCode" in outcome) return outcome;
  return outcome.kind === "applied" ? accepted : voidRefusal(outcome.reason);
}

/** What is wrong with an update; null: nothing is. */
function check(wanted: Update, { apiVersion, services }: RequestContext): string | null {
  const name = featureNames(services.handlers).find((each) => each === wanted.feature);
  if (name === undefined) return "there is no such feature here";
  const { maxVersionLevel: level, allowDowngrade, upgradeType } = wanted;
  if (level < 0 || level > levelMax(name)) return `the levels 0 to ${levelMax(name)} are supported`;
  const flagged = allowDowngrade ? UpgradeType.safeDowngrade : UpgradeType.upgrade;
  const type = apiVersion < typeVersionMin ? flagged : upgradeType;
  if (!Object.values<number>(UpgradeType).includes(type)) return `there is no type ${type} of updates`;
  const current = levelOf(name, services.journal.state);
  if (level < current && type === UpgradeType.upgrade) {
    return `${current} is in force, and the request does not say that it may go down`;
  }
  if (level > current && type !== UpgradeType.upgrade) {
    return `${current} is in force, and the request says that it shall go down`;
  }
  return null;
}
