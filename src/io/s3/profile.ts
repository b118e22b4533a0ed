/** What the shared files of AWS say of one profile (`~/.aws/credentials`, `~/.aws/config`). Read anew each time: they are rotated. */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { BucketError } from "./bucket-error.ts";

export type Environment = { readonly [name: string]: string | undefined };

export interface Profile {
  readonly name: string;
  /** Files that were looked at. */
  readonly files: readonly string[];
  /** By the names of the settings, in small letters. */
  readonly settings: ReadonlyMap<string, string>;
}

/** Rejects with `BucketError` when a file cannot be read, or has no profile of a name that was asked for. */
export async function readProfile(env: Environment): Promise<Profile> {
  const named = env["AWS_PROFILE"] || env["AWS_DEFAULT_PROFILE"];
  const name = named || "default";
  const home = env["HOME"] || homedir();
  const config = env["AWS_CONFIG_FILE"] || join(home, ".aws", "config");
  const credentials = env["AWS_SHARED_CREDENTIALS_FILE"] || join(home, ".aws", "credentials");
  const inConfig = sectionOf(await textOf(config), name === "default" ? ["default"] : [`profile ${name}`]);
  const inCredentials = sectionOf(await textOf(credentials), [name]);
  if (named && inConfig === null && inCredentials === null) {
    throw new BucketError(
      "credentials",
      `There is no profile ${named} (AWS_PROFILE) in ${credentials} or ${config}: nothing can be asked of the bucket. Name one that is there, or add it.`,
    );
  }
  return {
    name,
    files: [credentials, config],
    settings: new Map([...(inConfig ?? []), ...(inCredentials ?? [])]),
  };
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return "";
    throw new BucketError("credentials", `${path} cannot be read (${code}): make it readable to this user.`, {
      cause,
    });
  }
}

/** The settings under `[name]`; null: no such section. What is indented belongs to a setting that we do not know. */
export function sectionOf(text: string, names: readonly string[]): Map<string, string> | null {
  let found: Map<string, string> | null = null;
  let isInside = false;
  for (const line of text.split(/\r?\n/)) {
    const head = /^\[\s*([^\]]*?)\s*\]/.exec(line);
    if (head !== null) {
      isInside = names.includes((head[1] as string).replace(/\s+/g, " "));
      if (isInside) found ??= new Map();
      continue;
    }
    const setting = /^([^\s#;=][^=]*?)\s*=\s*(.*?)\s*$/.exec(line);
    if (isInside && setting !== null) {
      found?.set((setting[1] as string).toLowerCase(), (setting[2] as string).replace(/\s+[#;].*$/, ""));
    }
  }
  return found;
}
