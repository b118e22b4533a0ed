/** What `doctor` found about one thing. What cannot be measured from here is `unknown`, and never called good. */
export type Status = "ok" | "note" | "unknown" | "risk" | "wrong";

export interface Verdict {
  readonly status: Status;
  /** What was looked at, in a word or two. */
  readonly about: string;
  /** What is so, what follows from it, and what to do. */
  readonly text: string;
  /** For programs. */
  readonly facts?: { readonly [name: string]: unknown };
}

/** As text has them, and what they mean for the exit code. */
export const statuses: { readonly [S in Status]: { readonly word: string; readonly fails: boolean } } = {
  ok: { word: "ok", fails: false },
  note: { word: "note", fails: false },
  unknown: { word: "could not verify", fails: false },
  risk: { word: "RISK", fails: true },
  wrong: { word: "WRONG", fails: true },
};
