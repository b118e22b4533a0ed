/** Java's properties files, as Kafka's server.properties is one: `key=value`, `#` and `!` comments, `\` at a line's end. */
export function parseProperties(text: string): Map<string, string> {
  const found = new Map<string, string>();
  // A line that ends in an odd number of backslashes goes on in the next one, without its leading blanks.
  const lines = text.replace(/(?<!\\)((?:\\\\)*)\\\r?\n[ \t]*/g, "$1").split(/\r?\n/);
  for (const line of lines) {
    const plain = line.trimStart();
    if (plain === "" || plain.startsWith("#") || plain.startsWith("!")) continue;
    const end = /(?<!\\)[=:\s]/.exec(plain)?.index ?? plain.length;
    const value = plain.slice(end).replace(/^\s*[=:]?\s*/, "");
    found.set(unescaped(plain.slice(0, end)), unescaped(value.trimEnd()));
  }
  return found;
}

const escapes: { readonly [letter: string]: string } = { n: "\n", t: "\t", r: "\r", f: "\f" };

function unescaped(text: string): string {
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|(.))/g, (_all, code: string | undefined, letter: string) =>
    code === undefined ? (escapes[letter] ?? letter) : String.fromCharCode(Number.parseInt(code, 16)),
  );
}
