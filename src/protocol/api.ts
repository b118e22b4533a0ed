/**
 * One API of the Kafka protocol: a pair of messages under one key, with the versions that are spoken and
 * the header that goes with each. Codecs are compiled when a version is first used.
 */
import { assert } from "../base/assert.ts";
import { type Codec, compile } from "../schema/compile.ts";
import type { Type } from "../schema/types.ts";

export interface Api<Req, Res> {
  readonly key: number;
  readonly name: string;
  /** First and last, both inclusive. */
  readonly versions: readonly [first: number, last: number];
  /** First flexible version (KIP-482); Infinity: none is. */
  readonly flexibleFrom: number;
  readonly request: Type<Req>;
  readonly response: Type<Res>;
  speaks(version: number): boolean;
  isFlexible(version: number): boolean;
  /** Writing refuses what the version would lose (`VersionError`). `version` must be one that is spoken. */
  requestCodec(version: number): Codec<Req>;
  responseCodec(version: number): Codec<Res>;
  /** 1, or 2 with tagged fields. */
  requestHeaderVersion(version: number): 1 | 2;
  /** 0, or 1 with tagged fields. */
  responseHeaderVersion(version: number): 0 | 1;
}

/** An API whose messages are not known here. */
export type AnyApi = Api<unknown, unknown>;

export type RequestOf<A> = A extends Api<infer Req, unknown> ? Req : never;
export type ResponseOf<A> = A extends Api<never, infer Res> ? Res : never;

/** ApiVersions answers with the plain header always: who asks cannot know yet which versions we speak (KIP-511). */
const apiVersionsKey = 18;

export function api<Req, Res>(facts: {
  readonly key: number;
  readonly name: string;
  readonly versions: readonly [first: number, last: number];
  readonly flexibleFrom: number;
  readonly request: Type<Req>;
  readonly response: Type<Res>;
}): Api<Req, Res> {
  const [first, last] = facts.versions;
  const isFlexible = (version: number) => version >= facts.flexibleFrom;
  const compiled = <T>(type: Type<T>, lossless: boolean) => {
    const codecs: (Codec<T> | undefined)[] = [];
    return (version: number): Codec<T> => {
      assert(version >= first && version <= last, "a codec is asked for in a version that is spoken");
      codecs[version] ??= compile(type, version, { flexible: isFlexible(version), lossless });
      return codecs[version];
    };
  };
  return {
    ...facts,
    speaks: (version) => version >= first && version <= last,
    isFlexible,
    requestCodec: compiled(facts.request, true),
    responseCodec: compiled(facts.response, false),
    requestHeaderVersion: (version) => (isFlexible(version) ? 2 : 1),
    responseHeaderVersion: (version) => (isFlexible(version) && facts.key !== apiVersionsKey ? 1 : 0),
  };
}
