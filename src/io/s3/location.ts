/**
 * Where a bucket is: `s3://bucket/prefix`, the endpoint that serves it, its region, and how its name is put into an
 * address. Names are plain, so that what is signed, what is sent and what a listing shows is the same text.
 */
import { BucketError } from "./bucket-error.ts";

export interface BucketLocation {
  readonly bucket: string;
  /** Empty, or ends with "/". In front of every key. */
  readonly prefix: string;
  /** Scheme, host and port, perhaps a path that ends without "/". */
  readonly endpoint: URL;
  readonly region: string;
  /** "path": the bucket is the first part of the path; "virtual": of the host's name. */
  readonly style: AddressStyle;
}

export type AddressStyle = "path" | "virtual";

export interface LocationOptions {
  readonly endpoint?: string | undefined;
  readonly region?: string | undefined;
  readonly style?: AddressStyle | undefined;
}

const bucketPattern = /^[a-zA-Z0-9][a-zA-Z0-9._-]{1,61}[a-zA-Z0-9]$/;
const prefixPattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
/** A key may have 1,024 bytes; ours have at most 200. */
const prefixLengthMax = 500;
const regionDefault = "us-east-1";

/** Options win over the environment (`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `AWS_REGION`), and that over the profile. */
export function locateBucket(
  url: string,
  options: LocationOptions = {},
  env: { readonly [name: string]: string | undefined } = {},
  profile: { readonly endpoint?: string | undefined; readonly region?: string | undefined } = {},
): BucketLocation {
  const match = /^s3:\/\/([^/?#]+)(?:\/([^?#]*))?$/.exec(url);
  const [, bucket = "", rest = ""] = match ?? [];
  if (match === null || !bucketPattern.test(bucket)) {
    throw new BucketError(
      "address",
      `"${url}" does not name a bucket: write s3://BUCKET or s3://BUCKET/PREFIX, with 3 to 63 letters, digits, dots or hyphens as the bucket.`,
    );
  }
  const prefix = rest.replace(/\/+$/, "");
  if (prefix !== "" && (!prefixPattern.test(prefix) || prefix.length > prefixLengthMax)) {
    throw new BucketError(
      "address",
      `The prefix "${prefix}" of ${url} cannot be used: use letters, digits, ".", "_" and "-" between slashes, at most ${prefixLengthMax} characters.`,
    );
  }
  const region =
    options.region ??
    given(env["AWS_REGION"]) ??
    given(env["AWS_DEFAULT_REGION"]) ??
    profile.region ??
    regionDefault;
  const custom =
    options.endpoint ??
    given(env["AWS_ENDPOINT_URL_S3"]) ??
    given(env["AWS_ENDPOINT_URL"]) ??
    profile.endpoint;
  const endpoint = custom === undefined ? awsEndpoint(region) : parseEndpoint(custom);
  // A certificate for *.s3.REGION.amazonaws.com does not cover a name with dots.
  const byName = custom === undefined && !bucket.includes(".");
  return {
    bucket,
    prefix: prefix === "" ? "" : `${prefix}/`,
    endpoint,
    region,
    style: options.style ?? (byName ? "virtual" : "path"),
  };
}

/** The address of an object; of the bucket itself without a key. */
export function addressOf(
  { bucket, endpoint, style }: BucketLocation,
  key: string | null,
  query: readonly (readonly [string, string])[] = [],
): URL {
  const url = new URL(endpoint);
  const base = endpoint.pathname.replace(/\/$/, "");
  if (style === "virtual") url.hostname = `${bucket}.${endpoint.hostname}`;
  url.pathname = `${base}${style === "path" ? `/${bucket}` : ""}/${key ?? ""}`;
  if (query.length > 0) {
    url.search = query.map(([name, value]) => `${name}=${encodeStrictly(value)}`).join("&");
  }
  return url;
}

/** `s3://bucket/prefix at https://host`, for people. */
export function describeLocation({ bucket, prefix, endpoint }: BucketLocation): string {
  return `s3://${bucket}/${prefix} at ${endpoint.origin}`;
}

/** As the signature has it (RFC 3986). */
const encodeStrictly = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

const given = (text: string | undefined): string | undefined => (text === "" ? undefined : text);

function awsEndpoint(region: string): URL {
  const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  return parseEndpoint(`https://s3.${region}.${domain}`);
}

function parseEndpoint(text: string): URL {
  let url: URL | null = null;
  try {
    url = new URL(text.includes("://") ? text : `https://${text}`);
  } catch {
    // Said below.
  }
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== "" || url.username !== "") {
    throw new BucketError(
      "address",
      `The endpoint "${text}" is not an address: write https://HOST or http://HOST:PORT, without user, password and query.`,
    );
  }
  return url;
}
