/**
 * Signs requests (AWS Signature Version 4). The library says what is signed and nothing else: it sends nothing, so that
 * it cannot retry behind our back, which would turn a put that we won into "the name is taken". Its keyed hashes are
 * WebCrypto's, each a job of the thread pool that the disk needs too; ours are made where they are asked for, in a few
 * microseconds.
 */
import { createHash, createHmac } from "node:crypto";
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
  readonly #keys = new Map<string, Buffer>();

  constructor(region: string) {
    this.#region = region;
  }

  /** The headers with the signature. `wallMs` is the time that the store is believed to have. */
  async sign(
    request: Unsigned,
    credentials: Credentials,
    wallMs: number,
  ): Promise<{ [name: string]: string }> {
    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    const signer = new LocalSigner({
      method: request.method,
      url: request.url.href,
      headers: { ...request.headers, "x-amz-content-sha256": contentHash(request) },
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      service: "s3",
      region: this.#region,
      datetime: new Date(wallMs).toISOString().replace(/[:-]|\.\d{3}/g, ""),
    });
    signer.key = this.#keyOf(secretAccessKey, signer.credentialString);
    const { headers } = await signer.sign();
    return Object.fromEntries(headers);
  }

  /** `scope`: day, region, service and "aws4_request". */
  #keyOf(secret: string, scope: string): Buffer {
    const name = `${secret} ${scope}`;
    let key = this.#keys.get(name);
    if (key === undefined) {
      if (this.#keys.size >= keysMax) this.#keys.clear();
      key = scope
        .split("/")
        .reduce<Buffer>((parent, part) => hmac(parent, part), Buffer.from(`AWS4${secret}`));
      this.#keys.set(name, key);
    }
    return key;
  }
}

/** The library's, with the signature itself made here. */
class LocalSigner extends AwsV4Signer {
  key: Buffer = Buffer.alloc(0);

  override async signature(): Promise<string> {
    const request = createHash("sha256")
      .update(await this.canonicalString())
      .digest("hex");
    const signed = ["AWS4-HMAC-SHA256", this.datetime, this.credentialString, request];
    return hmac(this.key, signed.join("\n")).toString("hex");
  }
}

const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

/** TLS keeps a body as it is on its way; without it the signature has to. */
function contentHash({ url, chunks = [] }: Unsigned): string {
  if (url.protocol === "https:") return "UNSIGNED-PAYLOAD";
  return Buffer.from(sha256(...chunks)).toString("hex");
}
