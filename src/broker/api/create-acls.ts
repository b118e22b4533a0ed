/** CreateAcls: nobody would judge by access rights here yet, so none is taken. */
import { CreateAcls } from "../../protocol/messages/create-acls.ts";
import { handle } from "../handle.ts";
import { noAuthorizer } from "../refusal.ts";

export const createAcls = handle(CreateAcls, {
  decide: ({ creations }) => ({ throttleTimeMs: 0, results: creations.map(() => noAuthorizer) }),
});
