/**
 * Who may import whom, and who may touch Node. `tidy.ts` holds every file of `src/` to this table.
 * A folder may always import itself and look only down.
 */
export interface Layer {
  readonly imports: readonly string[];
  /** Modules of Node that its files may import: "all", or by file. */
  readonly node: "all" | { readonly [file: string]: readonly string[] };
  /** Whether clocks, timers, randomness and the process may be used directly. */
  readonly ambient: boolean;
}

const below = {
  schema: ["base"],
  record: ["base", "schema"],
  store: ["base", "schema"],
  log: ["base", "schema", "record", "store"],
} as const;

export const layers: { readonly [folder: string]: Layer } = {
  base: { imports: [], node: {}, ambient: false },
  schema: { imports: below.schema, node: {}, ambient: false },
  protocol: { imports: ["base", "schema"], node: {}, ambient: false },
  record: {
    imports: below.record,
    node: { "compression.ts": ["node:zlib", "node:module"] },
    ambient: false,
  },
  store: { imports: below.store, node: {}, ambient: false },
  log: { imports: below.log, node: {}, ambient: false },
  metadata: { imports: ["base", "schema", "store", "log"], node: {}, ambient: false },
  coordinator: {
    imports: ["base", "schema", "protocol", "record", "log"],
    node: { "group/topic-regex.ts": ["node:module"], "transaction/listing.ts": ["node:module"] },
    ambient: false,
  },
  broker: {
    imports: ["base", "schema", "protocol", "record", "store", "log", "metadata", "coordinator"],
    node: {},
    ambient: false,
  },
  client: { imports: ["base", "schema", "protocol", "record"], node: {}, ambient: false },
  audit: { imports: ["base", "protocol", "record"], node: {}, ambient: false },
  io: { imports: ["base", "store"], node: "all", ambient: true },
  http: { imports: ["base", "broker", "metadata", "log"], node: {}, ambient: false },
  sim: {
    imports: [
      "base",
      "schema",
      "protocol",
      "record",
      "store",
      "log",
      "metadata",
      "broker",
      "client",
      "audit",
      "http",
    ],
    node: "all",
    ambient: true,
  },
  // The real broker with ports that die on command, for tests of programs that use it.
  testing: {
    imports: ["base", "schema", "protocol", "record", "store", "log", "metadata", "broker", "io", "sim"],
    node: "all",
    ambient: true,
  },
  // What users import: each file joins rooms with the real (or simulated) ports, and holds nothing else.
  entry: {
    imports: [
      "base",
      "schema",
      "protocol",
      "record",
      "store",
      "log",
      "metadata",
      "broker",
      "client",
      "io",
      "http",
      "sim",
      "testing",
    ],
    node: "all",
    ambient: true,
  },
  cli: {
    imports: [
      "base",
      "schema",
      "protocol",
      "record",
      "store",
      "log",
      "metadata",
      "broker",
      "client",
      "io",
      "http",
      "sim",
      "testing",
      "entry",
    ],
    node: "all",
    ambient: true,
  },
};

/** Files that are tables, not code, and may be long. */
export const tables: readonly string[] = [
  "src/protocol/errors.ts",
  "src/broker/config.ts",
  "src/broker/topic-config.ts",
  "src/broker/kafka-keys.ts",
];

export const sourceLinesMax = 500;
