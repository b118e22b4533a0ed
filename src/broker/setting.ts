/**
 * What a setting is: a name and a text, as Kafka has it everywhere (files, DescribeConfigs, the journal),
 * and behind it a type, a range, a default and a sentence. Tables of settings are in config.ts and
 * topic-config.ts; reading a text either gives a value within its range or says in one sentence why not.
 */
import { utf8Length } from "../base/bytes.ts";
import { HoldfastError } from "../base/errors.ts";

/** Kafka's names of types; DescribeConfigs tells them by number. */
export type SettingType = "boolean" | "string" | "int" | "long" | "double" | "list";

export interface Setting<T> {
  readonly type: SettingType;
  /** As text; null where Kafka has no value. */
  readonly default: string | null;
  /** Whether it can be changed while the broker runs. */
  readonly dynamic: boolean;
  /** What it does, and when to raise it. */
  readonly text: string;
  /** Throws `InvalidSettingError`. */
  readonly read: (text: string) => T;
}
export type Settings = { readonly [name: string]: Setting<unknown> };
export type SettingValue<S> = S extends Setting<infer T> ? T : never;

/** A text that is not a value of its setting. The message is a clause that goes behind the setting's name. */
export class InvalidSettingError extends HoldfastError {
  readonly code = "INVALID_SETTING";
  override readonly name = "InvalidSettingError";
}

/** Where a value comes from; the numbers are Kafka's (DescribeConfigs). */
export const ConfigSource = {
  topic: 1,
  dynamicBroker: 2,
  dynamicDefaultBroker: 3,
  staticBroker: 4,
  default: 5,
  group: 8,
} as const;
export type ConfigSource = (typeof ConfigSource)[keyof typeof ConfigSource];

export interface ResolvedSetting {
  /** The name under which the value was found: a topic's `retention.ms` may come from `log.retention.hours`. */
  readonly name: string;
  readonly value: string | null;
  readonly source: ConfigSource;
}

type Common = { readonly text: string; readonly dynamic?: boolean };

const int32Max = 2_147_483_647;
const int64Max = 9_223_372_036_854_775_807n;

export function boolean(facts: Common & { readonly default: boolean }): Setting<boolean> {
  return {
    type: "boolean",
    default: String(facts.default),
    dynamic: facts.dynamic ?? false,
    text: facts.text,
    read(text) {
      const plain = text.trim().toLowerCase();
      if (plain !== "true" && plain !== "false") {
        throw new InvalidSettingError(`must be true or false, not "${text}"`);
      }
      return plain === "true";
    },
  };
}

export function int(
  facts: Common & { readonly default: number; readonly min?: number; readonly max?: number },
): Setting<number> {
  const [min, max] = [facts.min ?? -2_147_483_648, facts.max ?? int32Max];
  return {
    type: "int",
    default: String(facts.default),
    dynamic: facts.dynamic ?? false,
    text: facts.text,
    read(text) {
      const plain = text.trim();
      if (!/^[+-]?\d{1,10}$/.test(plain)) throw notA("whole number", text);
      return within(Number(plain), min, max);
    },
  };
}

/** Values beyond 2^53 become 2^53 − 1: both mean "without end". */
export function long(
  facts: Common & { readonly default: number | "max"; readonly min?: number; readonly max?: number },
): Setting<number> {
  return {
    type: "long",
    default: facts.default === "max" ? String(int64Max) : String(facts.default),
    dynamic: facts.dynamic ?? false,
    text: facts.text,
    read(text) {
      const plain = text.trim();
      if (!/^[+-]?\d{1,19}$/.test(plain) || BigInt(plain) > int64Max) throw notA("whole number", text);
      const value = Math.min(Number(plain), Number.MAX_SAFE_INTEGER);
      return within(value, facts.min ?? -Number.MAX_SAFE_INTEGER, facts.max ?? Number.MAX_SAFE_INTEGER);
    },
  };
}

export function double(
  facts: Common & { readonly default: number; readonly min: number; readonly max: number },
): Setting<number> {
  return {
    type: "double",
    // As Java writes large ones.
    default: String(facts.default).replace("e+", "E"),
    dynamic: facts.dynamic ?? false,
    text: facts.text,
    read(text) {
      const value = text.trim() === "" ? Number.NaN : Number(text);
      if (!Number.isFinite(value)) throw notA("number", text);
      return within(value, facts.min, facts.max);
    },
  };
}

export function oneOf<const V extends string>(
  values: readonly V[],
  facts: Common & { readonly default: NoInfer<V> },
): Setting<V> {
  return {
    type: "string",
    default: facts.default,
    dynamic: facts.dynamic ?? false,
    text: facts.text,
    read(text) {
      const found = values.find((value) => value === text.trim());
      if (found === undefined) {
        throw new InvalidSettingError(`must be one of ${values.join(", ")}, not "${text}"`);
      }
      return found;
    },
  };
}

/** Any text; `default: null`: none. */
export function text(facts: Common & { readonly default: string | null }): Setting<string | null> {
  return { type: "string", dynamic: false, ...facts, read: bounded };
}

/** Separated by commas. Without `values` anything is an element. */
export function list<const V extends string = string>(
  facts: Common & { readonly default: string; readonly values?: readonly V[]; readonly notEmpty?: boolean },
): Setting<readonly V[]> {
  return {
    type: "list",
    default: facts.default,
    dynamic: facts.dynamic ?? false,
    text: facts.text,
    read(given) {
      const elements = bounded(given)
        .split(",")
        .map((element) => element.trim())
        .filter((element) => element !== "");
      if (elements.length === 0 && facts.notEmpty === true) {
        throw new InvalidSettingError("must name at least one value");
      }
      for (const element of elements) {
        if (facts.values !== undefined && !(facts.values as readonly string[]).includes(element)) {
          throw new InvalidSettingError(`may hold ${facts.values.join(", ")}, but not "${element}"`);
        }
      }
      return elements as V[];
    },
  };
}

/** What strings of the protocol's older versions can carry. */
const valueBytesMax = 32_767;

function bounded(given: string): string {
  const bytes = utf8Length(given);
  if (bytes > valueBytesMax) throw new InvalidSettingError(`must have at most 32,767 bytes, not ${bytes}`);
  return given;
}

function within(value: number, min: number, max: number): number {
  if (value < min) throw new InvalidSettingError(`must be at least ${min}, not ${value}`);
  if (value > max) throw new InvalidSettingError(`must be at most ${max}, not ${value}`);
  return value;
}

function notA(kind: string, text: string): InvalidSettingError {
  return new InvalidSettingError(`must be a ${kind}, not "${text}"`);
}
