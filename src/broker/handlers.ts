/** Every API that this broker serves; what is not in this list is not advertised. */
import { fetch } from "./api/fetch.ts";
import { listOffsets } from "./api/list-offsets.ts";
import { produce } from "./api/produce.ts";
import type { AnyHandler } from "./handle.ts";

export const handlers: readonly AnyHandler[] = [produce, fetch, listOffsets];
