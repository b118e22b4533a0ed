/** DescribeAcls: there are no access rights here yet, and Kafka's answer of a broker without an authorizer says so. */
import { DescribeAcls } from "../../protocol/messages/describe-acls.ts";
import { handle } from "../handle.ts";
import { noAuthorizer } from "../refusal.ts";

export const describeAcls = handle(DescribeAcls, {
  decide: () => ({ throttleTimeMs: 0, ...noAuthorizer, resources: [] }),
});
