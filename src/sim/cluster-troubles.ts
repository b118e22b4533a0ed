/** What a cluster goes through: deaths, pauses, cuts and weather, as a seed has them. Each passes by itself. */
import { type Clock, sleep } from "../base/ports.ts";
import { drawWeather, fairWeather, type SimBucket } from "./bucket.ts";
import type { ClusterLives } from "./cluster-lives.ts";
import type { SimNetwork } from "./network.ts";
import type { SimProcess } from "./process.ts";
import type { SimRandom } from "./random.ts";

export interface ClusterTroublesOptions {
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly bucket: SimBucket;
  readonly network: SimNetwork;
  readonly lives: ClusterLives;
}

/** No broker is stopped for longer. */
export const pauseMsMax = 60_000;
/** Mean times from one trouble to the next; one of them is a world's. */
const gapsMs = [4_000, 20_000, 20_000, 60_000];
/** How often each comes. */
const weights = {
  kill: 3,
  pause: 3,
  stop: 1,
  "kill all": 1,
  storm: 2,
  "cut between brokers": 2,
  "cut from the bucket": 1,
  "cut a connection": 2,
} as const;
type Trouble = keyof typeof weights;
const troubles = (Object.keys(weights) as Trouble[]).flatMap((trouble) =>
  Array.from({ length: weights[trouble] }, () => trouble),
);

export class ClusterTroubles {
  readonly #options: ClusterTroublesOptions;
  readonly #random: SimRandom;
  /** About the share of requests to the bucket that meet a fault. */
  readonly #rate: number;
  readonly #gapMs: number;

  constructor(options: ClusterTroublesOptions) {
    this.#options = options;
    this.#random = options.random.fork("troubles");
    this.#rate = this.#random.pick([0.03, 0.1, 0.3]);
    this.#gapMs = this.#random.pick(gapsMs);
  }

  async run(durationMs: number): Promise<void> {
    const { clock, bucket } = this.#options;
    const endMs = clock.monotonicMs() + durationMs;
    const weather = this.#random.fork("weather");
    bucket.weather = drawWeather(weather, this.#rate);
    while (clock.monotonicMs() < endMs) {
      if (this.#random.chance(0.2)) bucket.weather = drawWeather(weather, this.#rate);
      await sleep(clock, this.#random.fraction() * 2 * this.#gapMs);
      this.#strike();
    }
    bucket.weather = fairWeather;
  }

  #strike(): void {
    const { lives, network, bucket } = this.#options;
    const random = this.#random;
    const { processes } = lives;
    if (processes.length === 0) return;
    const one = random.pick(processes);
    const other = random.pick(processes);
    const cutMs = random.pick([1_000, 10_000, 60_000]) * random.fraction();
    switch (random.pick(troubles)) {
      case "kill":
        return lives.kill(one);
      case "pause":
        return this.#pause(one, random.pick([500, 5_000, pauseMsMax]) * random.fraction());
      case "stop":
        return void lives.stop(one);
      case "kill all":
        return lives.killAll();
      case "cut between brokers":
        if (one === other) return;
        network.cut(one, other);
        return this.#later(cutMs, () => network.heal(one, other));
      case "cut from the bucket":
        bucket.cutOff(one);
        return this.#later(cutMs, () => bucket.reconnect(one));
      case "storm":
        return bucket.storm(
          random.pick([1_000, 6_000, 60_000]) * random.fraction(),
          random.pick([0.3, 0.8, 1]),
        );
      case "cut a connection":
        return void network.cutOne();
      default:
    }
  }

  /** It goes on at once, or some steps at a time. */
  #pause(process: SimProcess, ms: number): void {
    const random = this.#random;
    this.#options.lives.pause(process);
    const inSteps = random.chance(0.3) ? random.between(1, 5) : 0;
    const goOn = (stepsLeft: number): void => {
      process.resume();
      if (stepsLeft === 0) return;
      this.#later(random.fraction() * 5, () => {
        process.pause();
        this.#later(random.fraction() * 1_000, () => goOn(stepsLeft - 1));
      });
    };
    this.#later(ms, () => goOn(inSteps));
  }

  #later(ms: number, run: () => void): void {
    this.#options.clock.schedule(ms, run);
  }
}
