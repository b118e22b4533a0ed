/**
 * A bucket as the store of a start: reached within a bounded time or refused with what is in the way, tried when it is
 * empty, and looked at for rules that would delete from under the brokers.
 */
import { RefusedError } from "../../base/errors.ts";
import type { Env } from "../../base/ports.ts";
import { openS3Store } from "../../io/s3/open.ts";
import { standingVerdicts, probeBucket } from "../../io/s3/probe.ts";
import type { S3Store } from "../../io/s3/store.ts";
import { tcp } from "../../io/tcp.ts";
import { DailyProbe } from "../../store/daily-probe.ts";
import { untilAnswered } from "../../store/create.ts";
import { type ProbeOptions, type ProbeVerdict, refuseUnsound } from "../../store/probe.ts";
import type { StorageChoice } from "../start-options.ts";
import { isBegun } from "./begun.ts";
import type { OpenedStorage, StorageSettings } from "./storage.ts";

/** How long a start waits for the first answer; a supervisor starts it again. */
const firstAnswerMsMax = 30_000;

export async function openBucket(
  { name, endpoint, region }: Extract<StorageChoice, { readonly kind: "store" }>,
  env: Env,
  environment: StorageSettings["environment"],
  daily: Pick<ProbeOptions, "rounds" | "largeBytes">,
): Promise<OpenedStorage> {
  const store = await openS3Store(name, { endpoint, region }, environment, env);
  const { place } = store;
  try {
    const isNew = !(await isInUse(store, env));
    const verdicts = await refuseUnsound(place, isNew ? probeBucket(store, env) : standingVerdicts(store));
    tellRisks(verdicts, place, env);
    return opened(store, place, isNew, env, daily);
  } catch (error) {
    store.close();
    throw error;
  }
}

function opened(
  store: S3Store,
  place: string,
  isNew: boolean,
  env: Env,
  daily: Pick<ProbeOptions, "rounds" | "largeBytes">,
): OpenedStorage {
  let probe: DailyProbe | null = null;
  return {
    place,
    storage: { kind: "objects", store, disk: null, dialer: tcp },
    isNew,
    ack: `in the bucket, ${place}`,
    survives: "kill -9 or loss of any machine with a broker, and of all of them",
    doesNotSurvive: "loss of the bucket",
    trouble: (pendingBytes) => store.troubleWith(pendingBytes),
    watch(onUnsound) {
      probe = new DailyProbe({ ...env, name: place, onUnsound, probe: () => probeBucket(store, env, daily) });
    },
    close() {
      probe?.close();
      store.close();
    },
  };
}

/** Whether brokers have been here, told within a bounded time. */
async function isInUse(store: S3Store, env: Env): Promise<boolean> {
  let isLate = false;
  const timer = env.clock.schedule(firstAnswerMsMax, () => {
    isLate = true;
  });
  try {
    return await untilAnswered(env, () => (isLate ? Promise.reject(noAnswer(store)) : isBegun(store)));
  } finally {
    timer.cancel();
  }
}

const noAnswer = ({ place, trouble }: S3Store): RefusedError =>
  new RefusedError(
    `${place} did not answer within ${firstAnswerMsMax / 1000} s (${trouble ?? "no answer"}): check the network and the endpoint (--endpoint or AWS_ENDPOINT_URL_S3). Nothing was changed.`,
  );

function tellRisks(verdicts: readonly ProbeVerdict[], place: string, { log }: Env): void {
  for (const { status, about, text } of verdicts) {
    if (status === "risk") log.warn("store.risk", { store: place, about, text });
  }
}
