/** How brokers of tests are set: small, so that they stand side by side and prepare nothing for loads that do not come. */
export const testSettings: { readonly [key: string]: string } = {
  "holdfast.wal.file.bytes": String(4 * 1024 * 1024),
  "holdfast.unflushed.bytes.max": String(16 * 1024 * 1024),
  "holdfast.tail.bytes": String(16 * 1024 * 1024),
  "holdfast.cache.bytes": String(8 * 1024 * 1024),
  "holdfast.disk.reserve.bytes": "0",
  "holdfast.disk.floor.bytes": "0",
  // Tests have few members, and wait for each other by themselves.
  "group.initial.rebalance.delay.ms": "0",
};

export const host = "127.0.0.1";
