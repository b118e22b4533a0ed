/**
 * Who we are to the bucket: environment variables, else shared files, else the container's or the instance's metadata
 * service, in the order of AWS's own tools. What ends is asked for anew before it does, beside the requests that go on
 * with what is there. No secret is ever part of a message.
 */
import { readFile } from "node:fs/promises";
import { Agent } from "node:http";
import { HoldfastError } from "../../base/errors.ts";
import type { Clock, Logger } from "../../base/ports.ts";
import { OutcomeUnknownError } from "../../store/errors.ts";
import { BucketError } from "./bucket-error.ts";
import { exchange, type HttpAnswer, type HttpRequest } from "./exchange.ts";
import { type Environment, readProfile } from "./profile.ts";

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
  /** Wall clock; null: no end is known. */
  readonly expiresMs: number | null;
  /** For people: "AWS_ACCESS_KEY_ID", a file, a service. */
  readonly source: string;
}

/** Before the end, new ones are asked for. AWS has them ready five minutes ahead. */
const refreshAheadMs = 5 * 60_000;
/** After a refresh that failed. */
const refreshPauseMs = 10_000;
const metadataLimits = { connectMs: 1_000, stallMs: 2_000, totalMs: 4_000 };
const metadataTries = 2;
const metadataBytesMax = 64 * 1024;
const tokenSeconds = "21600";

export interface CredentialPorts {
  readonly clock: Clock;
  readonly log: Logger;
}

export class CredentialSource {
  readonly #load: () => Promise<Credentials>;
  readonly #ports: CredentialPorts;
  #known: Credentials | null = null;
  #loading: Promise<Credentials> | null = null;
  #notBeforeMs = -Infinity;

  constructor(load: () => Promise<Credentials>, ports: CredentialPorts) {
    this.#load = load;
    this.#ports = ports;
  }

  /**
   * Rejects with `BucketError` when there are none, and with `OutcomeUnknownError` when there were and the service
   * that gives new ones does not answer.
   */
  async current(): Promise<Credentials> {
    const known = this.#known;
    if (known === null) return this.#renewed();
    const { clock, log } = this.#ports;
    const leftMs = (known.expiresMs ?? Infinity) - clock.wallMs();
    if (leftMs > refreshAheadMs) return known;
    if (leftMs <= 0) return this.#renewed();
    if (clock.monotonicMs() >= this.#notBeforeMs) {
      this.#notBeforeMs = clock.monotonicMs() + refreshPauseMs;
      this.#renewed().catch((cause: unknown) => {
        log.warn("s3.credentials-not-renewed", { source: known.source, leftMs, cause: String(cause) });
      });
    }
    return known;
  }

  /** What was given last is not accepted any more. True: others may be there now; false: they were asked for just before. */
  forget(refused: Credentials): boolean {
    if (this.#known !== refused) return true;
    if (this.#ports.clock.monotonicMs() < this.#notBeforeMs) return false;
    this.#notBeforeMs = this.#ports.clock.monotonicMs() + refreshPauseMs;
    this.#known = null;
    return true;
  }

  #renewed(): Promise<Credentials> {
    this.#loading ??= this.#load()
      .then(
        (loaded) => (this.#known = loaded),
        (cause: unknown) => {
          if (!(cause instanceof HoldfastError) || (this.#known === null && !cause.retriable)) throw cause;
          throw new OutcomeUnknownError(`Credentials could not be had: ${cause.message}`, { cause });
        },
      )
      .finally(() => {
        this.#loading = null;
      });
    return this.#loading;
  }
}

/** The order of AWS's own tools; the first that has something is taken. */
export function findCredentials(env: Environment, clock: Clock): () => Promise<Credentials> {
  return async () => {
    const ofEnvironment = fromEnvironment(env);
    if (ofEnvironment !== null) return ofEnvironment;
    const profile = await readProfile(env);
    const { settings, files, name } = profile;
    const id = settings.get("aws_access_key_id");
    const secret = settings.get("aws_secret_access_key");
    if (id && secret) {
      const sessionToken = settings.get("aws_session_token");
      const source = `profile ${name} of ${files[0]}`;
      return { accessKeyId: id, secretAccessKey: secret, sessionToken, expiresMs: null, source };
    }
    const container = containerUrl(env);
    if (container !== null) return fromContainer(container, env, clock);
    const ofInstance = await fromInstance(env, clock);
    if (ofInstance !== null) return ofInstance;
    const unknown = ["role_arn", "credential_process", "sso_session", "sso_start_url"].find((each) =>
      settings.has(each),
    );
    const hint =
      unknown !== undefined
        ? ` Profile ${name} uses ${unknown}, which Holdfast does not follow: give it keys, for example by "aws configure export-credentials --format env".`
        : env["AWS_WEB_IDENTITY_TOKEN_FILE"]
          ? " AWS_WEB_IDENTITY_TOKEN_FILE is not followed: on EKS use Pod Identity."
          : "";
    throw new BucketError(
      "credentials",
      `No credentials for the bucket were found: not in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not for profile ${name} in ${files.join(" or ")}, and no metadata service answered. Nothing was asked of the bucket. Set the two variables, or the profile.${hint}`,
    );
  };
}

function fromEnvironment(env: Environment): Credentials | null {
  const accessKeyId = env["AWS_ACCESS_KEY_ID"];
  const secretAccessKey = env["AWS_SECRET_ACCESS_KEY"];
  if (!accessKeyId && !secretAccessKey) return null;
  if (!accessKeyId || !secretAccessKey) {
    const missing = accessKeyId ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID";
    throw new BucketError(
      "credentials",
      `${missing} is not set, and its counterpart is: nothing was asked of the bucket. Set both, or none to use a profile.`,
    );
  }
  const sessionToken = env["AWS_SESSION_TOKEN"] || undefined;
  return { accessKeyId, secretAccessKey, sessionToken, expiresMs: null, source: "AWS_ACCESS_KEY_ID" };
}

function containerUrl(env: Environment): URL | null {
  const relative = env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
  if (relative) return new URL(relative, "http://169.254.170.2");
  const full = env["AWS_CONTAINER_CREDENTIALS_FULL_URI"];
  if (!full) return null;
  const url = URL.canParse(full) ? new URL(full) : null;
  const isNear = url !== null && nearHosts.test(url.hostname);
  if (url === null || !(url.protocol === "https:" || (url.protocol === "http:" && isNear))) {
    throw new BucketError(
      "credentials",
      `AWS_CONTAINER_CREDENTIALS_FULL_URI (${full}) is neither https nor an address of this host: no credentials were asked for. Correct or unset it.`,
    );
  }
  return url;
}

const nearHosts =
  /^(localhost|127\.\d+\.\d+\.\d+|\[::1\]|169\.254\.170\.2|169\.254\.170\.23|\[fd00:ec2::23\])$/;

async function fromContainer(url: URL, env: Environment, clock: Clock): Promise<Credentials> {
  const file = env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
  const token = file ? await tokenIn(file) : env["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
  const answer = await ask({ method: "GET", url, headers: token ? { authorization: token } : {} }, clock);
  return parseIssued(answer, `the container's credentials service (${url.host})`);
}

async function tokenIn(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (cause) {
    throw new BucketError(
      "credentials",
      `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE (${file}) cannot be read (${(cause as NodeJS.ErrnoException).code}): no credentials were asked for. Mount it, or unset the variable.`,
      { cause },
    );
  }
}

/** IMDSv2. Null: there is no such service, or no role for this instance. */
async function fromInstance(env: Environment, clock: Clock): Promise<Credentials | null> {
  if (/^true$/i.test(env["AWS_EC2_METADATA_DISABLED"] ?? "")) return null;
  const base = env["AWS_EC2_METADATA_SERVICE_ENDPOINT"] || "http://169.254.169.254";
  const url = (path: string): URL => new URL(path, base);
  try {
    const asked = { "x-aws-ec2-metadata-token-ttl-seconds": tokenSeconds };
    const token = await ask({ method: "PUT", url: url("/latest/api/token"), headers: asked }, clock);
    if (token.status !== 200) return null;
    const headers = { "x-aws-ec2-metadata-token": Buffer.from(token.body).toString() };
    const path = "/latest/meta-data/iam/security-credentials/";
    const role = await ask({ method: "GET", url: url(path), headers }, clock);
    const [name = ""] = Buffer.from(role.body).toString().trim().split("\n");
    if (role.status !== 200 || name === "") return null;
    const issued = await ask({ method: "GET", url: url(path + name), headers }, clock);
    return parseIssued(issued, `role ${name} of this instance`);
  } catch (error) {
    if (error instanceof HoldfastError && error.retriable) return null;
    throw error;
  }
}

async function ask(
  request: Pick<HttpRequest, "method" | "url" | "headers">,
  clock: Clock,
): Promise<HttpAnswer> {
  const { Agent: TlsAgent } = process.getBuiltinModule("node:https");
  for (let attempt = 1; ; attempt++) {
    const agent = request.url.protocol === "https:" ? new TlsAgent() : new Agent();
    try {
      return await exchange(
        { ...request, answerBytesMax: metadataBytesMax },
        { agent, clock, limits: metadataLimits },
      );
    } catch (error) {
      if (attempt === metadataTries) throw error;
    } finally {
      agent.destroy();
    }
  }
}

function parseIssued({ status, body }: HttpAnswer, source: string): Credentials {
  const fail = (why: string): never => {
    throw new BucketError(
      "credentials",
      `${source} gives no credentials (${why}): nothing was asked of the bucket. Look at the role that this machine or container has.`,
    );
  };
  if (status !== 200) return fail(`HTTP ${status}`);
  let issued: { readonly [name: string]: unknown };
  try {
    issued = JSON.parse(Buffer.from(body).toString()) as typeof issued;
  } catch {
    return fail("what it answers is not JSON");
  }
  const { AccessKeyId, SecretAccessKey, Token, Expiration } = issued;
  if (typeof AccessKeyId !== "string" || typeof SecretAccessKey !== "string") return fail("keys are missing");
  const expiresMs = typeof Expiration === "string" ? Date.parse(Expiration) : NaN;
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: typeof Token === "string" ? Token : undefined,
    expiresMs: Number.isNaN(expiresMs) ? null : expiresMs,
    source,
  };
}
