/**
 * Faults that wait for their moment: one is aimed at an API, whose clients are asked for a request, and strikes
 * while that request is under way: before it leaves, in the broker, or as the answer leaves. So every fault
 * meets every API, however rare and quick its requests are.
 */
import { type Clock, sleep } from "../base/ports.ts";
import type { BrokerLives } from "./broker-lives.ts";
import type { DiskFault, SimDisk } from "./disk.ts";
import { type FaultKind, FaultMatrix } from "./fault-matrix.ts";
import type { SimRandom } from "./random.ts";
import type { Trace } from "./trace.ts";
import type { Flight, Line, Traffic } from "./traffic.ts";

/** So long a fault waits for a request of its API; then it strikes where it can. */
const patienceMs = 60_000;
/** For so long an answer is held back, so that the disk has something to do before it arrives. */
const diskWaitMs = 5_000;
/** Less than an answer needs to arrive. */
const leftMs = 0.04;
/** Most calls of the disk that go well before one fails. */
const callsBefore = 6;

export interface AimedFaultsOptions {
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly traffic: Traffic;
  readonly disk: SimDisk;
  readonly lives: BrokerLives;
  readonly trace: Trace;
  /** Longest sleep of a client. */
  readonly sleepMs: number;
}

export class AimedFaults {
  readonly matrix = new FaultMatrix();
  readonly #options: AimedFaultsOptions;
  #wanted: number | null = null;
  /** Counts the aims; what belongs to an older one does nothing. */
  #round = 0;
  /** Told which API's requests are welcome now. */
  onWanted: ((apiKey: number) => void) | null = null;

  constructor(options: AimedFaultsOptions) {
    this.#options = options;
  }

  /** Key of the API that a fault waits for; null: none does. */
  get wanted(): number | null {
    return this.#wanted;
  }

  /** Resolves when it has struck. */
  async strike(kind: FaultKind, apiKey: number): Promise<void> {
    const { clock, traffic } = this.#options;
    const round = ++this.#round;
    const late = sleep(clock, patienceMs).then(() => "late" as const);
    const struck = new Promise<void>((resolve) => {
      const aim = (flight: Flight): void => {
        if (flight.apiKey !== apiKey) return;
        if (kind === "death" && flight.line.onDeath === undefined) return;
        traffic.onRequest = null;
        this.#lieInWait(kind, flight, (hits) => {
          if (round !== this.#round) return;
          this.#disarm();
          if (hits) resolve();
          else traffic.onRequest = aim;
        });
      };
      traffic.onRequest = aim;
    });
    this.#wanted = apiKey;
    this.onWanted?.(apiKey);
    const how = await Promise.race([struck, late]);
    this.#round++;
    this.#disarm();
    this.#wanted = null;
    if (how === "late") this.#strikeAnywhere(kind);
  }

  /** The broker dies at this moment, whatever is under way. */
  crash(kind: "kill" | "power cut"): void {
    this.#happen(kind, null);
  }

  #disarm(): void {
    const { traffic, disk } = this.#options;
    traffic.onRequest = null;
    traffic.onAnswer = null;
    disk.fault = null;
  }

  /** The request is about to leave its client. `settle` is told once whether the fault met it. */
  #lieInWait(kind: FaultKind, flight: Flight, settle: (hits: boolean) => void): void {
    const { random, traffic, clock, disk } = this.#options;
    const isUnderWay = (): boolean => flight.line.flights.includes(flight);
    let isOver = false;
    const end = (hits: boolean): void => {
      if (isOver) return;
      isOver = true;
      settle(hits);
    };
    const strike = (): void => {
      if (isOver) return;
      const hits = isUnderWay();
      end(hits);
      if (hits) this.#happen(kind, flight.line);
    };
    // Others may cut its connection before the moment comes.
    const watch = async (): Promise<void> => {
      while (!isOver && isUnderWay()) await sleep(clock, diskWaitMs);
      end(false);
    };
    if (kind === "disk error") {
      flight.line.server.hold(diskWaitMs);
      let left = random.below(callsBefore);
      disk.fault = () => {
        if (isOver || left-- > 0) return undefined;
        const hits = isUnderWay();
        end(hits);
        if (!hits) return undefined;
        this.#happen(kind, flight.line);
        return this.#diskFault();
      };
      void watch();
      return;
    }
    const moment = momentOf(kind, random);
    if (moment === "request") return strike();
    traffic.onAnswer = (answered) => {
      if (answered !== flight) return;
      if (moment === "left") void sleep(clock, random.fraction() * leftMs).then(strike);
      else strike();
    };
    if (moment === "between") void sleep(clock, random.fraction() * 3).then(strike);
    else void watch();
  }

  #happen(kind: FaultKind, line: Line | null): void {
    const { lives, traffic, random, trace, sleepMs } = this.#options;
    const isOfAll = kind === "kill" || kind === "power cut" || kind === "disk error";
    const met = isOfAll ? traffic.inFlight() : (line?.flights ?? []);
    this.matrix.add(
      kind,
      Array.from(met, ({ apiKey }) => apiKey),
    );
    trace.record(`fault: ${kind}`);
    if (kind === "kill") lives.kill("process");
    else if (kind === "power cut") lives.kill("power");
    else if (kind === "sleep") {
      const ms = random.fraction() * sleepMs;
      line?.client.hold(ms);
      line?.server.hold(ms);
    } else if (kind !== "disk error") {
      if (kind === "death") line?.onDeath?.();
      line?.client.destroy();
    }
  }

  /** No request of the wanted API came in time. */
  #strikeAnywhere(kind: FaultKind): void {
    const { traffic, disk, random } = this.#options;
    if (kind === "kill" || kind === "power cut") return this.#happen(kind, null);
    if (kind === "disk error") {
      disk.fault = () => {
        disk.fault = null;
        this.#happen(kind, null);
        return this.#diskFault();
      };
      return;
    }
    const flights = [...traffic.inFlight()];
    if (flights.length > 0) this.#happen(kind, random.pick(flights).line);
  }

  #diskFault(): DiskFault {
    return this.#options.random.pick([
      { kind: "error", errno: "EIO" },
      { kind: "error-after", errno: "EIO" },
      { kind: "error", errno: "ENOSPC", written: 100 },
    ] as const);
  }
}

/**
 * On the way of a request: before it leaves, somewhere between, as its answer leaves, or when the answer has left
 * and the broker dies behind it: what it told must then be durable.
 */
function momentOf(kind: FaultKind, random: SimRandom): "request" | "between" | "answer" | "left" {
  if (kind === "request lost") return "request";
  if (kind === "answer lost") return "answer";
  if (kind === "kill" || kind === "power cut")
    return random.pick(["request", "between", "answer", "left", "left"]);
  return random.pick(["request", "between", "between", "answer"]);
}
