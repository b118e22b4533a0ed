/**
 * Requests made from the schemas, byte by byte: mostly what a version allows, and now and then a length
 * that lies, a null where none may be, a tag out of order, a count of a million. A codec could not write
 * these; so this walks the schema itself. Plans are made once per API and version.
 */
import { Writer } from "../../src/base/bytes.ts";
import type { TopicId } from "../../src/base/ids.ts";
import type { AnyApi } from "../../src/protocol/api.ts";
import { place } from "../../src/schema/defaults.ts";
import type { Node, ScalarName } from "../../src/schema/types.ts";
import type { SimRandom } from "../../src/sim/random.ts";
import { drawBatch } from "./wild-batches.ts";

type Plan =
  | { readonly kind: "scalar"; readonly name: ScalarName; readonly field: string }
  | { readonly kind: "string" | "bytes" | "records"; readonly orNull: boolean; readonly field: string }
  | { readonly kind: "array"; readonly of: Plan; readonly orNull: boolean }
  | {
      readonly kind: "struct";
      readonly plain: readonly Plan[];
      readonly tagged: readonly Tagged[];
      readonly orNull: boolean;
    };

interface Tagged {
  readonly tag: number;
  readonly plan: Plan;
}

function planOf(node: Node, version: number, field: string): Plan {
  const { inner, nullableFrom } = place(node, version);
  const orNull = version >= nullableFrom;
  switch (inner.kind) {
    case "scalar":
      return { kind: "scalar", name: inner.name, field };
    case "array":
      return { kind: "array", of: planOf(inner.of, version, field), orNull };
    case "struct": {
      const plain: Plan[] = [];
      const tagged: Tagged[] = [];
      for (const [name, child] of Object.entries(inner.fields)) {
        const { present, tag } = place(child, version);
        if (!present) continue;
        const plan = planOf(child, version, name);
        if (tag === null) plain.push(plan);
        else tagged.push({ tag, plan });
      }
      tagged.sort((a, b) => a.tag - b.tag);
      return { kind: "struct", plain, tagged, orNull };
    }
    default:
      return { kind: inner.kind, orNull, field };
  }
}

const plans = new Map<string, Plan>();

function requestPlan(api: AnyApi, version: number): Plan {
  const key = `${api.key}/${version}`;
  let plan = plans.get(key);
  if (plan === undefined) {
    plan = planOf(api.request, version, "");
    plans.set(key, plan);
  }
  return plan;
}

/** What exists in the broker, so that requests meet it more often than chance would. */
export interface Targets {
  readonly topics: readonly string[];
  readonly topicIds: readonly TopicId[];
}

const texts = [
  "",
  "x",
  "1",
  "-1",
  "NaN",
  "retention.ms",
  "retention.bytes",
  "cleanup.policy",
  "compact",
  "compression.type",
  "zstd",
  "max.message.bytes",
  "message.timestamp.type",
  "LogAppendTime",
  "holdfast.log.level",
  "log.retention.ms",
  "compression.zstd.level",
  "22",
  "__consumer_offsets",
  "..",
  "\0",
  "ä\u{1f600}",
  "__proto__",
  "constructor",
  "x".repeat(249),
  "x".repeat(32_767),
];
const int32s = [-0x8000_0000, -2, -1, 0, 1, 2, 3, 100, 1_000_000, 0x7fff_ffff];
const int64s = [
  -(2n ** 63n),
  -(2n ** 53n),
  -3n,
  -2n,
  -1n,
  0n,
  1n,
  5n,
  1_767_225_600_000n,
  2n ** 53n,
  2n ** 63n - 1n,
];
const lengths = [-0x8000_0000, -2, -1, 0, 1, 0x7fff, 0x10000, 0x00ff_ffff, 0x7fff_ffff];

export interface WildFrame {
  /** With its length before it. */
  readonly bytes: Uint8Array;
  readonly isSound: boolean;
  readonly isBomb: boolean;
  readonly isHuge: boolean;
}

export class WildRequests {
  readonly #random: SimRandom;
  readonly #targets: Targets;
  /** How many things may still be wrong in this frame. */
  #faults = 0;
  #done = 0;
  #bomb = false;
  /** Elements that the next array shall have; 0: a few. */
  #huge = 0;
  #flexible = false;
  #w = new Writer();

  constructor(random: SimRandom, targets: Targets) {
    this.#random = random;
    this.#targets = targets;
  }

  /** `sound`: nothing in it is wrong by its form. */
  draw(
    api: AnyApi,
    correlationId: number,
    options: {
      readonly sound?: boolean;
      readonly version?: number /** Elements of its first array; absent: by chance. */;
      readonly huge?: number;
    } = {},
  ): WildFrame {
    const random = this.#random;
    this.#faults = options.sound === true ? 0 : random.pick([0, 0, 1, 1, 1, 2, 4]);
    this.#done = 0;
    this.#bomb = false;
    const isHuge = options.huge !== undefined || random.below(2_000) === 0;
    this.#huge = options.huge ?? (isHuge ? random.pick([1_000, 10_000, 50_000, 200_000, 1_000_000]) : 0);
    let version = options.version ?? random.between(api.versions[0], api.versions[1]);
    this.#flexible = api.isFlexible(version);
    const plan = requestPlan(api, version);
    if (this.#wrong(0.01)) version = random.pick([-1, 0, 99, 0x7fff, -0x8000]);
    const w = new Writer(1024);
    this.#w = w;
    w.int32(0);
    w.int16(this.#wrong(0.01) ? random.between(-2, 120) : api.key);
    w.int16(version);
    w.int32(correlationId);
    if (this.#wrong(0.02)) w.int16(random.pick([-2, 0x7fff, -0x8000, 5]));
    else if (random.below(8) === 0) w.int16(-1);
    else {
      const text = random.below(50) === 0 ? random.pick(texts) : "wild";
      const bytes = Buffer.from(text, "utf8");
      w.int16(bytes.byteLength);
      w.raw(bytes);
    }
    if (api.requestHeaderVersion(options.version ?? version) === 2 || this.#flexible) this.#tags([]);
    this.#value(plan);
    if (this.#wrong(0.02)) w.raw(random.bytes(random.between(1, 40)));
    const bytes = w.finishFlat();
    new DataView(bytes.buffer, bytes.byteOffset, 4).setInt32(0, bytes.byteLength - 4);
    return { bytes, isSound: this.#done === 0, isBomb: this.#bomb, isHuge };
  }

  #wrong(probability: number): boolean {
    if (this.#faults === 0 || !this.#random.chance(probability)) return false;
    this.#faults--;
    this.#done++;
    return true;
  }

  #value(plan: Plan): void {
    const random = this.#random;
    switch (plan.kind) {
      case "scalar":
        return this.#scalar(plan.name, plan.field);
      case "string": {
        if (this.#null(plan.orNull, true)) return;
        const bytes = Buffer.from(this.#text(plan.field), "utf8");
        this.#length(bytes.byteLength, true);
        return this.#w.raw(bytes);
      }
      case "bytes": {
        if (this.#null(plan.orNull, false)) return;
        const bytes = random.bytes(random.below(30));
        this.#length(bytes.byteLength, false);
        return this.#w.raw(bytes);
      }
      case "records": {
        if (this.#null(plan.orNull, false)) return;
        const { bytes, isBomb } =
          random.below(40) === 0
            ? { bytes: random.bytes(random.below(100)), isBomb: false }
            : drawBatch(random, this.#wrong(0.5));
        this.#bomb ||= isBomb;
        this.#length(bytes.byteLength, false);
        return this.#w.raw(bytes);
      }
      case "array":
        return this.#array(plan);
      case "struct": {
        if (plan.orNull) {
          const isNull = random.below(4) === 0;
          this.#w.int8(isNull ? -1 : 1);
          if (isNull) return;
        }
        for (const field of plan.plain) this.#value(field);
        if (this.#flexible) this.#tags(plan.tagged);
      }
    }
  }

  #array(plan: Extract<Plan, { kind: "array" }>): void {
    const random = this.#random;
    if (this.#null(plan.orNull, false)) return;
    if (this.#huge > 0 && (random.below(2) === 0 || !holdsArrays(plan.of))) {
      const count = this.#huge;
      this.#huge = 0;
      return this.#manyTimes(plan.of, count);
    }
    const count = random.below(30) === 0 ? random.between(10, 60) : random.pick([0, 1, 1, 1, 2, 3]);
    this.#length(count, false);
    for (let left = count; left > 0; left--) this.#value(plan.of);
  }

  /** One element over and over; where it has a name, each time another. */
  #manyTimes(plan: Plan, count: number): void {
    const outer = this.#w;
    this.#w = new Writer(256);
    this.#value(plan);
    const one = this.#w.finishFlat();
    this.#w = outer;
    const times = Math.min(count, Math.floor((24 * 1024 * 1024) / one.byteLength));
    this.#length(times, false);
    const whole = Buffer.alloc(times * one.byteLength, one);
    const nameAt = Buffer.from(one).indexOf("name-000000");
    if (nameAt >= 0) {
      for (let at = 0; at < times; at++) {
        whole.write(String(at).padStart(6, "0"), at * one.byteLength + nameAt + 5, "latin1");
      }
    }
    this.#w.raw(whole);
  }

  #tags(known: readonly Tagged[]): void {
    const random = this.#random;
    const written: { tag: number; bytes: Uint8Array }[] = [];
    for (const { tag, plan } of known) {
      if (random.below(3) === 0) continue;
      const outer = this.#w;
      this.#w = new Writer(64);
      this.#value(plan);
      written.push({ tag, bytes: this.#w.finishFlat() });
      this.#w = outer;
    }
    if (random.below(60) === 0) {
      const last = written.at(-1)?.tag ?? -1;
      written.push({ tag: last + random.between(1, 1000), bytes: random.bytes(random.below(20)) });
    }
    if (this.#wrong(0.02)) written.reverse();
    if (written.length > 0 && this.#wrong(0.02)) written.push(written[0] as (typeof written)[number]);
    this.#w.uvarint(this.#wrong(0.01) ? random.pick([1, 1000, 0xffff_ffff]) : written.length);
    for (const { tag, bytes } of written) {
      this.#w.uvarint(tag);
      this.#w.uvarint(this.#wrong(0.03) ? random.pick([0, 1, 0x7fff_ffff, 0xffff_ffff]) : bytes.byteLength);
      this.#w.raw(bytes);
    }
  }

  #null(orNull: boolean, short: boolean): boolean {
    const isNull = orNull ? this.#random.below(6) === 0 : this.#wrong(0.01);
    if (isNull) this.#writeLength(-1, short);
    return isNull;
  }

  #length(length: number, short: boolean): void {
    this.#writeLength(
      this.#wrong(0.04) ? this.#random.pick([...lengths, length + 1, length - 1]) : length,
      short,
    );
  }

  #writeLength(length: number, short: boolean): void {
    if (this.#flexible) {
      if (length < -1) {
        // An unsigned varint of more than 32 bits, or one that never ends.
        this.#w.raw(
          Buffer.from(
            this.#random.pick([
              [255, 255, 255, 255, 127],
              [255, 255, 255, 255, 255, 255],
            ]),
          ),
        );
      } else this.#w.uvarint(length + 1);
    } else if (short) this.#w.int16(Math.max(-0x8000, Math.min(length, 0x7fff)));
    else this.#w.int32(length);
  }

  #text(field: string): string {
    const random = this.#random;
    const draw = random.below(40);
    if (draw === 0) return random.pick(texts);
    if (/config|key|value/i.test(field)) return random.pick(texts.slice(1, 20));
    if (draw === 1 || this.#huge > 0) return "name-000000";
    if (draw < 4) return `wild-${random.below(50)}`;
    return random.pick(this.#targets.topics);
  }

  #scalar(name: ScalarName, field: string): void {
    const random = this.#random;
    const w = this.#w;
    switch (name) {
      case "bool":
        return w.int8(random.below(20) === 0 ? random.between(-128, 127) : random.below(2));
      case "int8":
        return w.int8(random.pick([-128, -1, 0, 1, 2, 4, 127]));
      case "int16":
      case "uint16":
        return w.int16(
          field === "acks" ? random.pick([-1, -1, -1, 1, 0, 2]) : random.pick([-0x8000, -1, 0, 1, 0x7fff]),
        );
      case "int32":
        if (random.below(4) !== 0) return w.int32(this.#usual(field));
        return w.int32(random.pick(int32s));
      case "uint32":
        return w.uint32(random.u32());
      case "int64":
      case "clamped64":
      case "bigint64":
        if (random.below(2) === 0) return w.bigint64(BigInt(random.below(10)));
        return w.bigint64(random.below(3) === 0 ? random.pick(int64s) : BigInt(random.between(-2, 2)));
      case "float64":
        return w.float64(random.pick([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 0.5, 1e300]));
      case "uuid":
        if (random.below(6) === 0)
          return w.raw(random.below(2) === 0 ? new Uint8Array(16) : random.bytes(16));
        return w.uuid(random.pick(this.#targets.topicIds));
      case "varint":
        return w.varint(random.pick(int32s));
      case "varlong":
        return w.varlong(random.between(-2, 1000));
    }
  }

  /** What a client would say, so that the request reaches what lies behind the first check. */
  #usual(field: string): number {
    const random = this.#random;
    if (/bytes/i.test(field)) return random.pick([0, 1, 1024, 1_048_576, 0x7fff_ffff]);
    if (/partition|index/i.test(field)) return random.below(3);
    if (/timeout|wait/i.test(field)) return random.pick([0, 0, 5, 500]);
    return random.between(-1, 3);
  }
}

function holdsArrays(plan: Plan): boolean {
  if (plan.kind === "array") return true;
  return plan.kind === "struct" && plan.plain.some(holdsArrays);
}
