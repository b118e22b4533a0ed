/** Configurations with their sources, synonyms (KIP-226) and documentation (KIP-569). */
import {
  array,
  bool,
  branded,
  type Decoded,
  from,
  int8,
  int16,
  int32,
  nullable,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const DescribeConfigs = api({
  key: 32,
  name: "DescribeConfigs",
  versions: [1, 4],
  flexibleFrom: 4,
  request: struct({
    resources: array(
      struct({
        resourceType: int8,
        resourceName: string,
        /** Null: all. */
        configurationKeys: nullable(array(string)),
      }),
    ),
    includeSynonyms: from(1, bool),
    includeDocumentation: from(3, bool),
  }),
  response: struct({
    throttleTimeMs: int32,
    results: array(
      struct({
        errorCode: branded<ErrorCode>(int16),
        errorMessage: nullable(string),
        resourceType: int8,
        resourceName: string,
        configs: array(
          struct({
            name: string,
            value: nullable(string),
            readOnly: bool,
            configSource: from(1, orElse(-1, int8)),
            isSensitive: bool,
            synonyms: from(
              1,
              array(
                struct({
                  name: from(1, string),
                  value: from(1, nullable(string)),
                  source: from(1, int8),
                }),
              ),
            ),
            configType: from(3, int8),
            documentation: from(3, nullable(string)),
          }),
        ),
      }),
    ),
  }),
});
export interface DescribeConfigsRequest extends Decoded<typeof DescribeConfigs.request> {}
export interface DescribeConfigsResponse extends Decoded<typeof DescribeConfigs.response> {}

export const ConfigResource = { topic: 2, broker: 4, brokerLogger: 8, clientMetrics: 16, group: 32 } as const;

export const ConfigType = {
  unknown: 0,
  boolean: 1,
  string: 2,
  int: 3,
  short: 4,
  long: 5,
  double: 6,
  list: 7,
  class: 8,
  password: 9,
} as const;
