/** The command line cannot be understood; the message is one sentence. Exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
