/** Opens the object store behind `s3://bucket/prefix`, from what the environment and the shared files of AWS say. */
import { type BucketPorts } from "./bucket-client.ts";
import { CredentialSource, findCredentials } from "./credentials.ts";
import { locateBucket, type LocationOptions } from "./location.ts";
import { type Environment, readProfile } from "./profile.ts";
import { S3Store } from "./store.ts";

/** Nothing is asked of the bucket yet. Rejects with `BucketError` for an address or a profile that cannot be used. */
export async function openS3Store(
  url: string,
  options: LocationOptions,
  env: Environment,
  ports: BucketPorts,
): Promise<S3Store> {
  const { settings } = await readProfile(env);
  const location = locateBucket(url, options, env, {
    endpoint: settings.get("endpoint_url"),
    region: settings.get("region"),
  });
  const credentials = new CredentialSource(findCredentials(env, ports.clock), ports);
  return new S3Store({ ...ports, location, credentials });
}
