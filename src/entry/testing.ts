/**
 * `holdfast/testing`: a real broker in the process of a test, that crashes, comes back and lets things go
 * wrong on command; or several that share a store. See docs/testing.md.
 */
export type { Logger } from "../base/ports.ts";
export type { ApiName, Faults } from "../testing/faults.ts";
export type { TestRecord } from "../testing/records.ts";
export {
  startBroker,
  type TestBroker,
  type TestBrokerOptions,
  type WaitOptions,
  WaitTimeoutError,
} from "../testing/test-broker.ts";
export type { TopicOptions } from "../testing/topic-creation.ts";
export type { SharedStore } from "../testing/shared-store.ts";
export type { StoreFaults, StoreFaultScope, StoreRequest } from "../testing/store-faults.ts";
export {
  startCluster,
  type TestCluster,
  type TestClusterOptions,
  type TestMember,
} from "../testing/test-cluster.ts";
