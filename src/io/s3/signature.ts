/**
 * Signs requests (AWS Signature Version 4). The library signs and nothing else: it sends nothing, so that it cannot
 * retry behind our back, which would turn a put that we won into "the name is taken".
 */
import { AwsV4Signer } from "aws4fetch";
import { sha256 } from "../sha256.ts";
import type { Credentials } from "./credentials.ts";

export interface Unsigned {
  readonly method: string;
  readonly url: URL;
  readonly headers: { readonly [name: string]: string };
  readonly chunks?: readonly Uint8Array[];
}

/** Keys of one day each. */
const keysMax = 16;

export class Signer {
  readonly #region: string;
  readonly #keys = new Map<string, ArrayBuffer>();

  constructor(region: string) {
    this.#region = region;
  }

  /** The headers with the signature. `wallMs` is the time that the store is believed to have. */
  async sign(
    request: Unsigned,
    credentials: Credentials,
    wallMs: number,
  ): Promise<{ [name: string]: string }> {
    if (this.#keys.size >= keysMax) this.#keys.clear();
    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    const signer = new AwsV4Signer({
      method: request.method,
      url: request.url.href,
      headers: { ...request.headers, "x-amz-content-sha256": contentHash(request) },
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      service: "s3",
      region: this.#region,
      cache: this.#keys,
      datetime: new Date(wallMs).toISOString().replace(/[:-]|\.\d{3}/g, ""),
    });
    const { headers } = await signer.sign();
    return Object.fromEntries(headers);
  }
}

/** TLS keeps a body as it is on its way; without it the signature has to. */
function contentHash({ url, chunks = [] }: Unsigned): string {
  if (url.protocol === "https:") return "UNSIGNED-PAYLOAD";
  return Buffer.from(sha256(...chunks)).toString("hex");
}
