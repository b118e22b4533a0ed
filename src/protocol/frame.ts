/**
 * Frames: what travels between client and broker, each behind four bytes that say its length. A frame is
 * decoded from its body, without those four; it is encoded with them. Long byte strings are passed on
 * by reference in both directions and must not change until they have left.
 *
 *   request   int16 api key · int16 version · int32 correlation id · nullable string client id (2-byte
 *             length in every version) · tags from header version 2 on · body
 *   response  int32 correlation id · tags from header version 1 on · body
 */
import { Reader, Writer } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import { skipTags } from "../schema/compile.ts";
import type { Api } from "./api.ts";

export interface RequestHeader {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  /** Where the header's tags (from header version 2 on) or else the body begin. */
  readonly end: number;
}

/**
 * More array elements and unknown tags than that in one request are refused: each becomes an object, and is
 * looked up and answered by itself. So many cost some 50 ms, during which nobody else is served.
 */
const requestElementsMax = 50_000;
/** More bytes of strings than that are refused; records and other byte strings are passed on as they lie. */
const requestTextBytesMax = 8 * 1024 * 1024;

/** What every version of every API begins with, also of unknown ones. Throws `MalformedError`. */
export function decodeRequestHeader(frame: Uint8Array): RequestHeader {
  const r = new Reader(frame);
  const apiKey = r.int16();
  const apiVersion = r.int16();
  const correlationId = r.int32();
  const length = r.int16();
  if (length < -1) throw new MalformedError(`a client id cannot have ${length} bytes`);
  const clientId = length === -1 ? null : r.utf8(length);
  return { apiKey, apiVersion, correlationId, clientId, end: r.position };
}

/**
 * The request behind `header`, whose version must be spoken. Throws `MalformedError`. Bytes left over behind it are
 * passed over, as Kafka's broker does: librdkafka 2.16 asks for all topics (Metadata 13) with an array length of four
 * bytes where one is due, and its last three bytes are such a rest. Which request it is stays without doubt, since the
 * frame says where it ends.
 */
export function decodeRequest<Req, Res>(api: Api<Req, Res>, header: RequestHeader, frame: Uint8Array): Req {
  const r = new Reader(frame, header.end);
  r.elementsLeft = requestElementsMax;
  r.textBytesLeft = requestTextBytesMax;
  if (api.requestHeaderVersion(header.apiVersion) === 2) skipTags(r);
  return api.requestCodec(header.apiVersion).read(r);
}

/** Length, header and body. Throws `VersionError` when the version cannot say what the request says. */
export function encodeRequest<Req, Res>(
  api: Api<Req, Res>,
  header: { readonly apiVersion: number; readonly correlationId: number; readonly clientId: string | null },
  request: Req,
): Uint8Array[] {
  const { apiVersion, correlationId, clientId } = header;
  const w = new Writer();
  w.int32(0);
  w.int16(api.key);
  w.int16(apiVersion);
  w.int32(correlationId);
  if (clientId === null) w.int16(-1);
  else {
    const bytes = Buffer.from(clientId, "utf8");
    w.int16(bytes.byteLength);
    w.raw(bytes);
  }
  if (api.requestHeaderVersion(apiVersion) === 2) w.uvarint(0);
  api.requestCodec(apiVersion).write(w, request);
  return finishFrame(w);
}

/** Length, header and body. */
export function encodeResponse<Req, Res>(
  api: Api<Req, Res>,
  version: number,
  correlationId: number,
  response: Res,
): Uint8Array[] {
  const w = new Writer();
  w.int32(0);
  w.int32(correlationId);
  if (api.responseHeaderVersion(version) === 1) w.uvarint(0);
  api.responseCodec(version).write(w, response);
  return finishFrame(w);
}

/** The id by which a response finds its request. Throws `MalformedError`. */
export function decodeCorrelationId(frame: Uint8Array): number {
  return new Reader(frame).int32();
}

/** Throws `MalformedError`, also when bytes are left over. */
export function decodeResponse<Req, Res>(api: Api<Req, Res>, version: number, frame: Uint8Array): Res {
  const r = new Reader(frame);
  r.int32();
  if (api.responseHeaderVersion(version) === 1) skipTags(r);
  const response = api.responseCodec(version).read(r);
  if (r.remaining > 0) throw new MalformedError(`${r.remaining} bytes are left over behind ${api.name}`);
  return response;
}

/** Writes the length over the four bytes that were kept free at the start, which are in the first chunk. */
function finishFrame(w: Writer): Uint8Array[] {
  const chunks = w.finish();
  const first = chunks[0] as Uint8Array;
  new DataView(first.buffer, first.byteOffset, 4).setInt32(0, w.length - 4);
  return chunks;
}
