/**
 * A client's configuration file, for Java or librdkafka: what each setting can lose, double or reorder, and
 * what does not work with this broker. Says what a default means only where people are surprised by it.
 */
import { similarNames } from "../../client/similar-names.ts";
import { parseAddress } from "../address.ts";
import { javaKeys, librdkafkaKeys, librdkafkaOwnKeys } from "./client-keys.ts";
import type { Status, Verdict } from "./verdict.ts";

/** Java's name → value, whatever the file calls it. */
type Given = ReadonlyMap<string, string>;
type Judge = (value: string, all: Given) => readonly [Status, string] | null;

const isTrue = (text: string | undefined): boolean => text?.trim().toLowerCase() === "true";
const isFalse = (text: string | undefined): boolean => text?.trim().toLowerCase() === "false";

/** A restart of a broker with its recovery, with room to spare. */
const patientMs = 30_000;

const judges: { readonly [key: string]: Judge } = {
  acks: (value) => {
    if (value === "0")
      return [
        "risk",
        "nobody is told when a record is lost: a broken connection loses what was in it. Use all.",
      ];
    if (value === "1")
      return [
        "risk",
        "with Kafka, a record that only the leader has is lost with the leader. Here 1 and all are the same. Use all, so that it holds everywhere.",
      ];
    if (value === "all" || value === "-1") return ["ok", "a record counts as sent when it is durable."];
    return ["wrong", `${value} is no value: all, 1 or 0. Use all.`];
  },
  "enable.idempotence": (value) =>
    isFalse(value)
      ? [
          "risk",
          "a retry after a lost answer writes the records a second time, or behind later ones. Use true.",
        ]
      : ["ok", "a retry never writes a record twice, nor out of order."],
  retries: (value) => {
    const retries = Number(value);
    if (retries === 0)
      return [
        "risk",
        "each error that would pass (a restart, a broken connection) loses records, unless the program sends them again itself. Leave it out: delivery.timeout.ms is the bound.",
      ];
    return retries < 10
      ? [
          "risk",
          `after ${retries} retries, which can be over within a second, records are given up. Leave it out: delivery.timeout.ms is the bound.`,
        ]
      : null;
  },
  "delivery.timeout.ms": (value, all) => {
    const least = Number(all.get("linger.ms") ?? 0) + Number(all.get("request.timeout.ms") ?? 30_000);
    if (Number(value) < least && all.has("bootstrap.servers")) {
      return [
        "risk",
        `${value} ms is less than linger.ms + request.timeout.ms (${least} ms): Java refuses to start, and records are given up before one answer can be waited for.`,
      ];
    }
    return Number(value) < patientMs
      ? [
          "risk",
          `records are given up after ${value} ms, and a broker that starts again can take longer. The default is 120000.`,
        ]
      : null;
  },
  "max.in.flight.requests.per.connection": (value, all) => {
    if (isFalse(all.get("enable.idempotence"))) {
      return Number(value) > 1
        ? [
            "risk",
            "without idempotence a retry puts records behind later ones. Set enable.idempotence=true, or 1 here.",
          ]
        : null;
    }
    return Number(value) > 5
      ? ["wrong", "idempotence allows at most 5: Java refuses to start with more."]
      : null;
  },
  "max.block.ms": (value) =>
    Number(value) < 5000
      ? [
          "note",
          `send() fails when the broker cannot be asked within ${value} ms, also while it starts: the program must send such records again.`,
        ]
      : null,
  "enable.auto.commit": (value) =>
    isFalse(value)
      ? ["ok", "a position is committed when the program says so: do it after the work."]
      : [
          "risk",
          "positions are committed while the work is still being done: after a crash records are skipped. Set false and commit after the work.",
        ],
  "enable.auto.offset.store": (value) =>
    isFalse(value)
      ? null
      : [
          "risk",
          "a record counts as done when it is handed to the program. Set false and store offsets after the work.",
        ],
  "auto.offset.reset": (value) => {
    if (value === "latest" || value === "largest" || value === "end")
      return [
        "risk",
        "without a valid position, also after a long pause, reading goes on at the end: what is before is skipped, and nobody is told. Use earliest, or none to be told.",
      ];
    if (value === "none" || value === "error")
      return ["ok", "a lost position is an error that the program sees."];
    return [
      "note",
      "without a valid position reading starts over: records come again. With none the program is told.",
    ];
  },
  "isolation.level": (value) =>
    value === "read_uncommitted"
      ? ["note", "records of transactions that are aborted are read as well."]
      : null,
  "transactional.id": () => [
    "wrong",
    "this broker has no transactions yet: the producer's first call fails.",
  ],
  "group.id": () => [
    "wrong",
    "this broker has no consumer groups yet: subscribe() fails. Assign partitions and keep positions yourself.",
  ],
  "security.protocol": (value) =>
    value.toUpperCase() === "PLAINTEXT"
      ? null
      : ["wrong", `this broker speaks PLAINTEXT only: with ${value} no connection comes about.`],
  "sasl.mechanism": () => [
    "note",
    "this broker has no authentication yet; without a SASL security.protocol this has no effect.",
  ],
  "check.crcs": (value) =>
    isFalse(value) ? ["risk", "damage on the way is not noticed. Leave it out."] : null,
  "compression.type": (value) =>
    ["none", "gzip", "snappy", "lz4", "zstd"].includes(value)
      ? null
      : ["wrong", `${value} is no codec: none, gzip, snappy, lz4 or zstd.`],
  "bootstrap.servers": (value) => {
    for (const one of value.split(",")) {
      try {
        parseAddress(one, "it");
      } catch {
        return ["wrong", `"${one.trim()}" is not HOST:PORT.`];
      }
    }
    return null;
  },
};

const numeric = [
  "retries",
  "delivery.timeout.ms",
  "linger.ms",
  "request.timeout.ms",
  "max.in.flight.requests.per.connection",
  "max.block.ms",
];
const known = [...javaKeys, ...librdkafkaKeys.keys(), ...librdkafkaOwnKeys];
const prefixes = /^(?:producer|consumer|admin)\./;
/** Serializers, interceptors and plug-ins have keys of their own. */
const isForeign = (name: string): boolean =>
  /^(?:schema\.|value\.|key\.|interceptor\.|metric|basic\.auth\.)/.test(name);

export function clientConfigVerdicts(file: ReadonlyMap<string, string>, path: string): Verdict[] {
  const all = new Map([...file].map(([name, value]) => [javaName(name), value.trim()]));
  const found: Verdict[] = [];
  for (const [given, value] of file) found.push(...judge(given, value.trim(), all));
  found.push(...missing(all));
  return [{ status: "ok", about: "client file", text: `${file.size} settings in ${path}.` }, ...found];
}

function javaName(name: string): string {
  const plain = name.replace(prefixes, "");
  return librdkafkaKeys.get(plain) ?? plain;
}

function judge(given: string, value: string, all: Given): Verdict[] {
  const name = javaName(given);
  const facts = { name: given, value };
  const about = `${given}=${/password|jaas/.test(given) ? "…" : value}`;
  if (numeric.includes(name) && !/^-?\d+$/.test(value)) {
    return [{ status: "wrong", about, facts, text: "a whole number is needed." }];
  }
  const verdict = judges[name]?.(value, all);
  if (verdict !== undefined)
    return verdict === null ? [] : [{ status: verdict[0], about, facts, text: verdict[1] }];
  if (known.includes(name) || isForeign(name)) return [];
  const [near] = similarNames(name, known);
  return [
    {
      status: near === undefined ? "note" : "wrong",
      about: given,
      facts,
      text:
        near === undefined
          ? "is no key of Java's clients or of librdkafka."
          : `is no key of a client and has no effect. Was ${near} meant?`,
    },
  ];
}

/** Defaults that surprise, where the file shows that they count. */
function missing(all: Given): Verdict[] {
  const found: Verdict[] = [];
  if (all.has("group.id") && !all.has("enable.auto.commit")) {
    found.push({
      status: "risk",
      about: "enable.auto.commit",
      text: "is not set, and true is the default: positions are committed while the work is still being done. Set false and commit after the work.",
    });
  }
  if (all.has("group.id") && !all.has("auto.offset.reset")) {
    found.push({
      status: "risk",
      about: "auto.offset.reset",
      text: "is not set, and latest is the default: without a valid position what is there is skipped, and nobody is told. Use earliest, or none to be told.",
    });
  }
  if (
    all.has("acks") &&
    all.get("acks") !== "all" &&
    all.get("acks") !== "-1" &&
    isTrue(all.get("enable.idempotence"))
  ) {
    found.push({
      status: "wrong",
      about: "enable.idempotence",
      text: "needs acks=all: Java refuses to start with both.",
    });
  }
  return found;
}
