/**
 * What an answer of the store means. The rule of it: only what the store says in its own words is believed. A status
 * without the words of an S3 store is a proxy's or a broken store's, and says nothing about an object. What is not
 * known to be decided is unknown, and is asked again with the same bytes.
 */
import { BucketError, type BucketTrouble } from "./bucket-error.ts";
import type { HttpAnswer } from "./exchange.ts";
import { readError, type StoreError } from "./listing.ts";
import { type BucketLocation, describeLocation } from "./location.ts";

export type RequestKind = "put" | "get" | "list" | "delete" | "lifecycle";

export type Judgement =
  | { readonly kind: "good" }
  /** Of a put: the name is taken, perhaps by an earlier try of ours. */
  | { readonly kind: "exists" }
  | { readonly kind: "absent" }
  /** Of a part: it begins at or behind the end. */
  | { readonly kind: "beyond" }
  /** `isConflict`: another request for the name is under way; `isFailing`: the store does not work, or not for so many. */
  | {
      readonly kind: "unknown";
      readonly why: string;
      readonly isConflict: boolean;
      readonly isFailing: boolean;
    }
  /** Certainly refused before it was looked at, for a reason that we can mend. */
  | { readonly kind: "mend"; readonly what: "clock" | "credentials"; readonly otherwise: BucketError }
  | { readonly kind: "stop"; readonly error: BucketError };

/** Answers 4xx that mean "again": the body was cut or altered on its way, or too slow, or too many. */
const againCodes: ReadonlySet<string> = new Set([
  "RequestTimeout",
  "IncompleteBody",
  "BadDigest",
  "InvalidDigest",
  "XAmzContentSHA256Mismatch",
  "XAmzContentChecksumMismatch",
  "SlowDown",
  "SlowDownWrite",
  "SlowDownRead",
  "TooManyRequests",
  "Throttling",
  "OperationAborted",
  "ConditionalRequestConflict",
]);

const expiredCodes: ReadonlySet<string> = new Set(["ExpiredToken", "TokenRefreshRequired"]);
const skewCodes: ReadonlySet<string> = new Set(["RequestTimeTooSkewed", "RequestExpired"]);

/** What each of these means for the data. */
const acknowledged =
  "What was acknowledged stays as it is; nothing further is acknowledged until this is mended.";

export function judge(kind: RequestKind, answer: HttpAnswer, location: BucketLocation): Judgement {
  const { status } = answer;
  if (status >= 200 && status < 300) return { kind: "good" };
  if (kind === "put" && (status === 412 || status === 304)) return { kind: "exists" };
  if (kind === "get" && status === 416) return { kind: "beyond" };
  const said = readError(answer.body);
  const code = said?.code ?? "";
  const words = `HTTP ${status}${code === "" ? "" : ` ${code}`}`;
  if (status === 501 || code === "NotImplemented") return stop("unsupported", location, words, said);
  if (code === "NoSuchBucket") return stop("missing", location, words, said);
  if (status === 404 && (code === "NoSuchKey" || code === "NoSuchLifecycleConfiguration")) {
    return { kind: "absent" };
  }
  if (skewCodes.has(code)) return mend("clock", stopError("clock", location, words, said));
  if (expiredCodes.has(code) || code === "InvalidAccessKeyId") {
    return mend("credentials", stopError("credentials", location, words, said));
  }
  if (againCodes.has(code) || status === 409 || status === 408 || status === 429 || status >= 500) {
    return unknown(words, status === 409, status >= 500 || status === 429);
  }
  // A missing object is only missing when the store says so: anything else that answers 404 is not the store.
  if (status === 404) return unknown(`${words} without the words of an S3 store`, false, true);
  if (isElsewhere(status, code, answer, said)) {
    return { kind: "stop", error: elsewhere(location, answer, said) };
  }
  if (
    code === "SignatureDoesNotMatch" ||
    code === "InvalidToken" ||
    code === "AuthorizationHeaderMalformed"
  ) {
    return stop("credentials", location, words, said);
  }
  if (status === 401 || status === 403) return stop("denied", location, words, said);
  return stop("refused", location, words, said);
}

const unknown = (why: string, isConflict: boolean, isFailing: boolean): Judgement => ({
  kind: "unknown",
  why,
  isConflict,
  isFailing,
});

const mend = (what: "clock" | "credentials", otherwise: BucketError): Judgement => ({
  kind: "mend",
  what,
  otherwise,
});

const stop = (
  trouble: Exclude<BucketTrouble, "region" | "address">,
  location: BucketLocation,
  words: string,
  said: StoreError | null,
): Judgement => ({ kind: "stop", error: stopError(trouble, location, words, said) });

function stopError(
  trouble: Exclude<BucketTrouble, "region" | "address">,
  location: BucketLocation,
  words: string,
  said: StoreError | null,
): BucketError {
  const where = describeLocation(location);
  const quote = said === null || said.message === "" ? words : `${words}: ${oneLine(said.message)}`;
  return new BucketError(trouble, `${sentences[trouble](location, where)} ${acknowledged} (${quote})`);
}

const oneLine = (text: string): string => text.replace(/\s+/g, " ").trim().slice(0, 300);

const sentences: {
  readonly [T in Exclude<BucketTrouble, "region" | "address">]: (
    location: BucketLocation,
    where: string,
  ) => string;
} = {
  credentials: (_location, where) =>
    `The credentials are not accepted for ${where}: give others (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), or those of the store behind this endpoint.`,
  denied: ({ bucket, prefix }, where) =>
    `These credentials may not do this in ${where}: allow s3:GetObject, s3:PutObject and s3:DeleteObject on ${bucket}/${prefix}* and s3:ListBucket on ${bucket}.`,
  missing: ({ bucket }, where) =>
    `There is no bucket ${bucket} (${where}): correct the name or the endpoint, or create it. If it held data of Holdfast, do not put an empty one in its place: that data is gone with it.`,
  clock: (_location, where) =>
    `This machine's clock is too far from that of ${where}, and requests stay refused also with the store's time: set the clock (NTP).`,
  unsupported: (_location, where) =>
    `${where} does not know what was asked of it, such as a put with If-None-Match: Holdfast cannot keep records there. Use a store with conditional writes; "holdfast bucket check" tells.`,
  refused: (_location, where) => `${where} refuses the request, and would again.`,
};

function isElsewhere(
  status: number,
  code: string,
  { headers }: HttpAnswer,
  said: StoreError | null,
): boolean {
  return (
    (status >= 300 && status < 400) ||
    code === "PermanentRedirect" ||
    code === "IllegalLocationConstraintException" ||
    (code === "AuthorizationHeaderMalformed" &&
      (said?.region !== undefined || headers["x-amz-bucket-region"] !== undefined))
  );
}

function elsewhere(
  location: BucketLocation,
  { headers, status }: HttpAnswer,
  said: StoreError | null,
): BucketError {
  const region = headers["x-amz-bucket-region"] ?? said?.region;
  const place = said?.endpoint ?? headers["location"];
  const is = region ?? (place === undefined ? "another region" : `another place (${place})`);
  const advice =
    region === undefined
      ? "Set AWS_REGION, or AWS_ENDPOINT_URL_S3, to where it is."
      : `Set AWS_REGION=${region}, or give --region ${region}.`;
  return new BucketError(
    "region",
    `The bucket ${location.bucket} is in ${is}, and was asked for in ${location.region} (${location.endpoint.origin}). ${advice} ${acknowledged} (HTTP ${status})`,
  );
}
