/**
 * A stream of bytes as lines, each a view without its `\n` (and `\r\n`). Lines are bytes, not text: what is
 * not UTF-8 arrives as it was. A line is bounded, so that a file without any is not read into memory whole.
 */
import { RefusedError } from "../base/errors.ts";

/** More than any record may have by default; a longer one is said with its number. */
export const lineBytesMax = 64 * 1024 * 1024;

const newline = 0x0a;
const carriageReturn = 0x0d;

/** Throws `RefusedError` at a line that is longer than `bytesMax`. */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  bytesMax: number = lineBytesMax,
): AsyncGenerator<Uint8Array> {
  let pieces: Uint8Array[] = [];
  let pieceBytes = 0;
  let lineNumber = 1;
  const take = (last: Uint8Array): Uint8Array => {
    const line = pieces.length === 0 ? last : Buffer.concat([...pieces, last]);
    if (line.length > bytesMax) throw tooLong(lineNumber, bytesMax);
    pieces = [];
    pieceBytes = 0;
    lineNumber++;
    return line.at(-1) === carriageReturn ? line.subarray(0, -1) : line;
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, from)) {
      yield take(chunk.subarray(from, at));
      from = at + 1;
    }
    if (from === chunk.length) continue;
    pieces.push(chunk.subarray(from));
    pieceBytes += chunk.length - from;
    if (pieceBytes > bytesMax) throw tooLong(lineNumber, bytesMax);
  }
  // The last line need not be ended.
  if (pieceBytes > 0) yield take(new Uint8Array(0));
}

function tooLong(lineNumber: number, bytesMax: number): RefusedError {
  return new RefusedError(
    `Line ${lineNumber} of the input is longer than ${bytesMax} bytes: give one record as a file with --file, or split it.`,
  );
}
