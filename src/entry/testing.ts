/**
 * `holdfast/testing`: a real broker in the process of a test, that crashes, comes back and lets things go
 * wrong on command. See docs/testing.md.
 */
export type { Logger } from "../base/ports.ts";
export type { ApiName, Faults } from "../testing/faults.ts";
export type { TestRecord } from "../testing/records.ts";
export {
  startBroker,
  type TestBroker,
  type TestBrokerOptions,
  type TopicOptions,
  type WaitOptions,
  WaitTimeoutError,
} from "../testing/test-broker.ts";
