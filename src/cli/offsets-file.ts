/**
 * Where a group stands, as a file: `topic,partition,offset` a line, as Kafka's consumer-groups tool reads and
 * writes it. An offset that is "none" stands for a partition of which the group had committed nothing.
 */
import { open, readFile } from "node:fs/promises";
import { RefusedError } from "../base/errors.ts";

export interface OffsetLine {
  readonly topic: string;
  readonly partition: number;
  /** Null: nothing was committed. */
  readonly offset: number | null;
}

/** Never over a file that is there. Rejects with `RefusedError`. */
export async function writeOffsets(path: string, lines: readonly OffsetLine[]): Promise<void> {
  const text = lines
    .map(({ topic, partition, offset }) => `${topic},${partition},${offset ?? "none"}\n`)
    .join("");
  try {
    await using file = await open(path, "wx");
    await file.writeFile(text);
    // It is the only thing that knows the way back.
    await file.sync();
  } catch (cause) {
    throw new RefusedError(
      `The undo file ${path} cannot be written (${(cause as NodeJS.ErrnoException).code ?? String(cause)}), so nothing was changed; name another with --undo.`,
      { cause },
    );
  }
}

/** Rejects with `RefusedError`. */
export async function readOffsets(path: string): Promise<readonly OffsetLine[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new RefusedError(
      `${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? String(cause)}).`,
      { cause },
    );
  }
  return text.split("\n").flatMap((line, index) => {
    if (line.trim() === "") return [];
    const found = /^"?([^",]+)"?,(\d{1,9}),(\d{1,16}|none)\s*$/.exec(line);
    if (found === null) {
      throw new RefusedError(
        `Line ${index + 1} of ${path} is not "topic,partition,offset"; nothing was changed.`,
      );
    }
    const [, topic = "", partition, offset] = found;
    return [{ topic, partition: Number(partition), offset: offset === "none" ? null : Number(offset) }];
  });
}
