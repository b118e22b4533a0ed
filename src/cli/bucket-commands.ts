/** The commands of `holdfast bucket`. */
import { type Command } from "commander";
import { type Act, declare, json, option } from "./declare.ts";

/** Where a bucket is, for every command that names a store. */
export const bucketOptions = () => [
  option(
    "--endpoint <url>",
    "where the store is (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS in the region)",
  ),
  option("--region <name>", "of the bucket (AWS_REGION, else the profile's, else us-east-1)"),
  option("--style <style>", "where an address has the bucket's name: in the path, or in the host").choices([
    "path",
    "virtual",
  ]),
];

export function addBucketCommands(root: Command, act: Act): void {
  const bucket = root
    .command("bucket")
    .description(
      "look whether a bucket, or a directory, can keep what brokers write, and whether it has it all",
    );
  declare(
    bucket,
    {
      name: "check",
      args: "<store>",
      text: "try a store, s3://BUCKET/PREFIX or file:DIR: races for one name, fresh reads and listings, parts, deletes",
      options: [...bucketOptions(), json("one JSON object for each verdict")],
      load: async () => (await import("./commands/bucket-check.ts")).bucketCheck,
      examples: [
        { line: "holdfast bucket check s3://acme-log/try", text: "with the credentials of AWS's tools" },
        {
          line: "holdfast bucket check s3://log --endpoint http://127.0.0.1:9000",
          text: "a store of one's own",
        },
        { line: "holdfast bucket check file:/mnt/shared/log", text: "a directory that brokers share" },
      ],
    },
    act,
  );
  declare(
    bucket,
    {
      name: "fsck",
      args: "<store>",
      text: "whether everything that a cluster needs is in its store and sound, while brokers run; changes nothing",
      options: [
        ...bucketOptions(),
        option("--quick", "read only what says where records are, not the records"),
        option("--delete-orphans", "delete what nothing needs and nothing can need again"),
        json("one JSON object for each finding, the summary last"),
      ],
      load: async () => (await import("./commands/bucket-fsck.ts")).bucketFsck,
      examples: [
        {
          line: "holdfast bucket fsck s3://acme-log/prod",
          text: "reads every byte: mind what reading costs",
        },
        { line: "holdfast bucket fsck s3://acme-log/prod --quick", text: "one small read for each segment" },
        { line: "holdfast bucket fsck file:/mnt/shared/log --delete-orphans", text: "" },
      ],
    },
    act,
  );
}
