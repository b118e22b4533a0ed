/**
 * Groups and transactions of other people's clients and of ours through a storm: of each client two members of a group
 * of its own copy a topic in transactions (test/interop/copy-scene.ts). Each record must be in the copy once.
 */
import { CopyScene } from "../interop/copy-scene.ts";
import { type Copier, copiers } from "../interop/copiers.ts";
import { followers } from "../interop/followers.ts";
import { shortSessions } from "../interop/groups.ts";

export interface CopyReport {
  readonly client: string;
  readonly records: number;
  readonly commits: number;
  readonly aborts: number;
  readonly refused: number;
  readonly violations: readonly string[];
}

export interface Copies {
  /** What each client did. */
  end(): Promise<readonly CopyReport[]>;
  dismiss(): Promise<void>;
}

const sessionMs = 10_000;
const timeoutMs = 20_000;
const members = 2;
const recordsPerSecond = 40;
const drainMs = 180_000;
/** Markers wait for the next owner of each partition, and that one may be killed as well. */
const markersMs = 90_000;

/** Of the brokers before which they work. */
export const settingsOfCopies: readonly string[] = shortSessions("cluster", sessionMs);

/** One way of each client; two of Java's say nothing that one does not. */
function cast(): readonly Copier[] {
  const found = new Map<string, Copier>();
  for (const copier of copiers())
    if (copier.inSample && !found.has(copier.client)) found.set(copier.client, copier);
  return [...found.values()];
}

export async function startCopies(address: string, tell?: (line: string) => void): Promise<Copies> {
  const scenes: { readonly client: string; readonly scene: CopyScene }[] = [];
  for (const [at, copier] of cast().entries()) {
    const others = followers().filter(({ client }) => client !== copier.client);
    const [during, after] = [others[at % others.length], others[(at + 1) % others.length]];
    if (during === undefined || after === undefined) throw new Error("nobody reads the copy");
    const scene = await CopyScene.start({
      name: `copiers-${at}`,
      copier,
      address,
      sessionMs,
      timeoutMs,
      pauseMs: 0,
      recordsPerSecond,
      recordsMax: Number.POSITIVE_INFINITY,
      drainMs,
      markersMs,
      during,
      after,
      tell: tell && ((line) => tell(`${copier.client} ${line}`)),
    });
    scenes.push({ client: copier.client, scene });
    for (let member = 0; member < members; member++) await scene.join(member);
  }
  return {
    end: () =>
      Promise.all(
        scenes.map(async ({ client, scene }) => {
          const { records } = await scene.end();
          const { commits, aborts, refused } = scene.judge.counts;
          return { client, records, commits, aborts, refused, violations: scene.judge.violations };
        }),
      ),
    dismiss: async () => {
      await Promise.all(scenes.map(({ scene }) => scene.dismiss()));
    },
  };
}
