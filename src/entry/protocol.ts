/**
 * What `holdfast/protocol` is: Kafka's messages as schemas, and the frames they travel in, for tools that
 * speak the protocol themselves. It touches no network, no disk and no clock.
 */
export type { AnyApi, Api } from "../protocol/api.ts";
export * from "../protocol/errors.ts";
export * from "../protocol/frame.ts";
export * from "../protocol/registry.ts";
