/** DeleteAcls: there are no access rights here yet that could be taken away. */
import { ErrorCode } from "../../protocol/errors.ts";
import { DeleteAcls } from "../../protocol/messages/delete-acls.ts";
import { handle } from "../handle.ts";
import { refusal } from "../refusal.ts";

/** Kafka's words, which are others here than in the other two. */
const none = { ...refusal(ErrorCode.SECURITY_DISABLED, "No Authorizer is configured."), matchingAcls: [] };

export const deleteAcls = handle(DeleteAcls, {
  decide: ({ filters }) => ({ throttleTimeMs: 0, filterResults: filters.map(() => none) }),
});
