/** The documents that are read from a bucket: pages of a listing, errors, lifecycle rules. */
import { MalformedError } from "../../base/errors.ts";
import { childrenOf, type Element, readXml, textOf } from "./xml.ts";

export interface ListPage {
  readonly objects: readonly { readonly key: string; readonly bytes: number }[];
  /** Undefined: this was the last page. */
  readonly next: string | undefined;
}

/** One answer of ListObjectsV2. Throws `MalformedError`: a listing that cannot be read is none, never a short one. */
export function readListPage(text: string): ListPage {
  const root = rootNamed(text, "ListBucketResult");
  const isEncoded = textOf(root, "EncodingType") === "url";
  const objects = childrenOf(root, "Contents").map((each) => {
    const key = needed(each, "Key");
    const size = needed(each, "Size");
    if (!/^\d{1,15}$/.test(size)) throw new MalformedError(`${size} is not the size of an object`);
    return { key: isEncoded ? decodeKey(key) : key, bytes: Number(size) };
  });
  const isTruncated = needed(root, "IsTruncated");
  if (isTruncated !== "true" && isTruncated !== "false") {
    throw new MalformedError("a listing does not say whether it is whole");
  }
  const next = isTruncated === "true" ? needed(root, "NextContinuationToken") : undefined;
  return { objects, next };
}

export interface StoreError {
  readonly code: string;
  readonly message: string;
  /** Where the store says that the bucket is. */
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
}

/** Null: no error of an S3 store. */
export function readError(body: Uint8Array): StoreError | null {
  try {
    const root = rootNamed(Buffer.from(body).toString(), "Error");
    return {
      code: needed(root, "Code"),
      message: textOf(root, "Message") ?? "",
      region: textOf(root, "Region"),
      endpoint: textOf(root, "Endpoint"),
    };
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}

export interface ExpiryRule {
  readonly id: string;
  /** Of the keys that it is about. */
  readonly prefix: string;
  /** Days after which objects go, or the day on which they do. */
  readonly after: string;
  /** It is only about objects with certain tags or sizes besides. */
  readonly isNarrower: boolean;
}

/** Rules that are on and that delete current objects. Throws `MalformedError`. */
export function readExpiryRules(text: string): readonly ExpiryRule[] {
  const root = rootNamed(text, "LifecycleConfiguration");
  return childrenOf(root, "Rule").flatMap((rule) => {
    const [expiration] = childrenOf(rule, "Expiration");
    if (textOf(rule, "Status") !== "Enabled" || expiration === undefined) return [];
    const days = textOf(expiration, "Days");
    const after = days === undefined ? textOf(expiration, "Date") : `${days} days`;
    // What only tidies up markers of deletions deletes no object.
    if (after === undefined) return [];
    const [filter] = childrenOf(rule, "Filter");
    const [and] = filter === undefined ? [] : childrenOf(filter, "And");
    const scope = and ?? filter ?? rule;
    const narrowing = scope === rule ? [] : scope.children.filter(({ name }) => name !== "Prefix");
    return [
      {
        id: textOf(rule, "ID") ?? "without a name",
        prefix: textOf(scope, "Prefix") ?? "",
        after,
        isNarrower: narrowing.length > 0,
      },
    ];
  });
}

function rootNamed(text: string, name: string): Element {
  const root = readXml(text);
  if (root.name !== name) throw new MalformedError(`the answer is a ${root.name}, not a ${name}`);
  return root;
}

function needed(element: Element, name: string): string {
  const text = textOf(element, name);
  if (text === undefined) throw new MalformedError(`${element.name} has no ${name}`);
  return text;
}

function decodeKey(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch (cause) {
    throw new MalformedError(`${text} is not an encoded key`, { cause });
  }
}
