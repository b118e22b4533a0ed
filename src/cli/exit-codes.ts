/** What the exit codes mean. They are part of the program's promise: a number here never gets another meaning. */
export const exitCodes = {
  done: { code: 0, text: "Done. For `produce`: every record was acknowledged." },
  failed: {
    code: 1,
    text: "Refused or failed; the sentence on standard error says what, where and what to do.",
  },
  usage: { code: 2, text: "The command line cannot be understood. Nothing was asked of a broker." },
  unreachable: {
    code: 3,
    text: "No broker answered there, or what answered does not speak the Kafka protocol.",
  },
  unknown: {
    code: 4,
    text: "Sent and not acknowledged: the broker may have taken it or not. Standard error says how many records.",
  },
  interrupted: { code: 130, text: "Ctrl-C (or SIGTERM) before everything that was asked for was done." },
} as const satisfies { readonly [name: string]: { readonly code: number; readonly text: string } };

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]["code"];
