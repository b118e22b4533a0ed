/** AlterConfigs: the whole configuration of a resource anew; what is not named goes back to its default. */
import { AlterConfigs } from "../../protocol/messages/alter-configs.ts";
import { ConfigOperation } from "../../protocol/messages/incremental-alter-configs.ts";
import { changeConfigs } from "../config-change.ts";
import { handle } from "../handle.ts";

export const alterConfigs = handle(AlterConfigs, {
  async decide({ resources, validateOnly }, { services }) {
    const changes = resources.map((resource) => ({
      ...resource,
      configs: resource.configs.map((config) => ({ ...config, configOperation: ConfigOperation.set })),
    }));
    const responses = await changeConfigs(changes, { replace: true, validateOnly }, services);
    return { throttleTimeMs: 0, responses };
  },
});
