/** IncrementalAlterConfigs: sets, deletes, appends and subtracts single keys (KIP-339). */
import { IncrementalAlterConfigs } from "../../protocol/messages/incremental-alter-configs.ts";
import { changeConfigs } from "../config-change.ts";
import { handle } from "../handle.ts";

export const incrementalAlterConfigs = handle(IncrementalAlterConfigs, {
  async decide({ resources, validateOnly }, { services }) {
    const responses = await changeConfigs(resources, { replace: false, validateOnly }, services);
    return { throttleTimeMs: 0, responses };
  },
});
