/**
 * Journals as older versions wrote them. They are read for ever (I14): when the format changes, what is here
 * stays as it is and a further fixture stands beside it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { inflateRawSync } from "node:zlib";
import { aTopicId, aWorld } from "../../test/proof/journal-world.ts";
import { sha256 } from "../io/sha256.ts";
import { SimObjectStore } from "../sim/object-store.ts";
import { Journal } from "./journal.ts";
import { snapshotKey } from "./slot.ts";
import type { ClusterState } from "./state.ts";

/**
 * Format level 1, cluster "old", chapters of 4 slots: INIT, two REGISTERs of version 0, TOPIC, FLUSH, FENCE and
 * others in slots 0 to 7, of which 4 to 7 are left; snapshots of version 1 at 4 and 8, and under "v0" the second
 * one in version 0. Objects by name in base64, as JSON, deflated.
 */
const level1 =
  "7Zdrj5s4FIb/S762EoRLLiv1g7mGBEPMNfhbgOFOICQEwmr/+2qms0M6O5m222pXWvVIRDaK7ePXz3uA3ydBeybIVzH5bWKKWLM6wIGOu/gyAt8UW+IlwDeHkJ2gwZfbLpDWzXwJU+zP83w9YzlWNv2cvOYFzv0HacM4O0RXvv1p8nFSPpz3r9NmbtNG35H2GNzYND3dVy2MF/EKuh9g/YFZ9ctxW8KB4nMOG0XTzbUAkAYVzmXxQkQGV0nK0SVO1UADLtSmsm+0g3U5MQos1pa7bbedmS+cNiK2VeNYoSHq5qHUPQrq7ZkrUxPG4ypPvwhoz33p8d4MgHsSsD9VAvcrEpDWgeAzsgzbkAoCX0y7k3NQjnx2bZgkTijI9ezR2Wx4f1dxvvWggO2hYTBv4fh4OiSINnfp3gS110QL1t1tg2qj5HuVbvJN97KK+CzB9rm/BgjwoBR5LwbgjgyzfyrDmwB7dB615FAJqU4ZRibNF5HkjhMqeY2G4yYyAoMjVBgR2YPWoNCJLrW1ShRJXZ69XnzYOW5Xp4tst1Cds9QlYSln7tl5SPPjsNt0Mj/byFGlr8UZoWyUY+52A49ep/249c+n5CgWpHVLKr1SIT3KZqBsXyGlUJpg97oMp9jFmUbBqWbl3V9j+YKDyC50R3Q8B1Q9zIIW8kynZiIAvC6O67CVT/U5LqUh5DkS7zQSgE/3qJv/OHXy2Azel1sgD4wZEyFRw63k+JWq9uTQiiDybMkOZ4s9LCp8JnRrmQX+9CR1FC0TgpE0XozP1Ik4FV01D/CZ6WuTZM9hYTdKIRyhUEf5axegZwM+UncD5OTj5HTY1+/Wn/hHqfvKWH+rptf5BpwcIo9ykNI+WieDgpPNqm1bWqMvfSAxsy3fTN2zpYuP841Tipy8POEXs9+sxYvfUaeUm3IpsroAWS9b53DwprrrXaEgZd7gpNiCV93FqS5IJXQ9GsfPvo5rZInS2ioMyZXQBloKrWbgkcgeAJAlY7r6/jFfGScBjeJQdobwRgp8qx+6LWD2TVvhie5NJXnurfsoIX2aq70r2YN4esU7o/APRu1TTOvvIA9HNF5q1JuTRwt+ddAKfF10UAA3l3j5sg/6MdUR9tmTOZ7OZ/Xm/OPR3SBqf6WwKwAggfgCsXdwI7rV5/+ip+fOW+gvfir68ftjcrZqWj1KVsjQm4qp1Tnvx0ojzD9A7F5VT1J8W5qaqY8H35QHja5ut6fcQV+Y8dKeIXZCJNQzNzE1yFhB31HrfcgypqoHyCH9UBL6rnHFXQf/Q/TF70Qf3UN/ZCMVB23Ie1yuU03WCl3gCphpqZahKbSSTHOd0hvCTLNsFoKfa19wdw+3bfGXfX/UvrH48t70/DC/kP+qb69H+TrNFjkfq7AF6XJttm55QGB2nMm6ZWvu1GKVLaaWLuIsXuy/yOWXb3/59n/g23s6/e2rmABIfMIexOsElE/JfZr88Sc=";

/**
 * Format level 2, cluster "new": two REGISTERs of version 1, TOPIC, and in slots 4 to 7 PREFER, MOVE, DRAIN and
 * FENCE; snapshots of version 2 at 4 and 8.
 */
const level2 =
  "zVbbkqJIEP2XfnUj5CIXN6IfqhAQpEAQudQbIKBAiY7aIBv77xvd7Y5Md+tMx3TEbj4QWQFVmXnynKT+ekhOxyH1xh7+fFjI2HQbAEEDTzhIwC/ZfPjdwC/bpDggRyLzJlH0b8IYbXAslKXOc5BTF3FJncsKl3GqzEbegvNgKT4+/PFA0mP0Nu1RP237E2lfDV7dRWjFhouxmE+RP0C7wWjajq9lyTQZzXKlG9KWut2vwsVpYNWikLjW/DguLN6K3aAU6UxU2OkmRpmnjeZ8Po+pJTv02QXhBlhv/XVi1uw5kMOdxhqCe6hOVBxpzfco0svTBvZljWHzQdZ2//vHW/BwXwqPfx8ehTJIsdIcLtoU3jFnkqB2NbUbak0VTSqbSYMB28SuMxZojdjpeRH40x2VnNZLuwMkzTTe8Ibmjgl3lhbwU0NOSm9WStHU2mc96lzKn17Wu5/A0zPtWlQDbkHGfylk0X3IJmxdbEBWRB6XHYKpkZBjFpiNkpiBDixnWi73o8FREllOWmOdxwyET/aeafF4P9pEHjIJyTprQXJmm7dLOa8mQFRpoWPN/Sy/8vYCiXNZ66D36gYMwu/DIF3dhC2zE9XVk43FOE6hCGKm+NceTRidDhl13/D0WZifwDFJiKxDwrLdJkXOECN9i6RBMF8meuHVwnwyiAPisWPVNC2o5RopTunIfCpFY2ZHh8V5z/Ob2qQmkD82b9piXxj0HobDNtrdnS/5745F+/6ehJNYBbE7yAIV0vJgXcEwdxraXqkLYbQSTJUY2UA9xwL1Ld0GPtEA6HUZqly1aoD0GqYXS5I/MYdQbxzKnDVBXFjoJepC2vLDM5ooRdh5G+yis+XjjTVRCPJDFucXouU725UV3a0cxVfsGXI11ijACUmjFgBQrK9itCJ1fMAqXiesna9Ur1vdws/uK6rvy9LwI/EDZ20V8g9U1FzEWq5CQqJRIbMcIXV5RozGmJNla6mIxj4uTAbRplu+npgDSaogspeV5cle6IG6RUXyXEdjPJ8tWdcAOVfHTFtionQrCVI4MKl+8GslIvxXjK81inJY1M+4SB8PsTUVs3AXnqkW5PQZB04Vb51dzIxOcYAkdKUy+OHcd1wU4bCZvv1Fwzu/5yHIRPiyoXmh0uMNeYhfKo/8/p5cYgF8Qto6zUN2lZKhJ2DZbTyiMOvQc58spnNrS97m6Smt6rgVkv6R2m15TPk60VPFLeIwcutlWWk4GRKY7etOnRttu2jmB4ieMn08Bv+lPORPysO+Jw/4v5dH37eND2+XUNV49NzK/CPeydpKHTeRj47I1syEeBT2OSryxyeD0B14zvP9teuWHKSfSG369o7xCUnClyvc3/8A";

const objectsOf = (fixture: string): Record<string, string> =>
  JSON.parse(inflateRawSync(Buffer.from(fixture, "base64")).toString()) as Record<string, string>;

/** The journal over what `change` leaves of the fixture. */
async function read(
  change: (objects: Record<string, string>) => void,
  fixture = level1,
  walKind: "file" | "object" = "file",
): Promise<ClusterState> {
  const { env, random } = aWorld();
  const bucket = new SimObjectStore({ clock: env.clock, random, latencyMs: 0 });
  const found = objectsOf(fixture);
  change(found);
  for (const [key, bytes] of Object.entries(found)) bucket.objects.set(key, Buffer.from(bytes, "base64"));
  return (await Journal.open({ store: bucket.connect(), env, sha256, walKind })).state;
}

function assertRead(state: ClusterState): void {
  assert.deepEqual([state.clusterId, state.level, state.nextSlot], ["old", 1, 8]);
  assert.deepEqual(
    [...state.brokers.values()].map(({ epoch, nodeId, status, name, draining, released }) => {
      return { epoch, nodeId, status, name, draining, released };
    }),
    [
      { epoch: 1, nodeId: 1, status: "fenced", name: null, draining: false, released: 100 },
      { epoch: 6, nodeId: 1, status: "live", name: null, draining: false, released: 0 },
    ],
  );
  const partitions = state.topics.get(aTopicId(1))?.partitions ?? [];
  assert.deepEqual(
    partitions.map(({ owner, flushed, preferred, recent }) => [owner, flushed, preferred, recent.length]),
    [
      [1, 9, null, 1],
      [1, 0, null, 0],
    ],
  );
  assert.equal(state.nextProducerId, 1000);
  assert.deepEqual(state.brokerConfigs, new Map([["", new Map([["a", "b"]])]]));
}

test("a journal of format level 1 is read from its newest snapshot", async () => {
  assertRead(await read(() => undefined));
});

test("and from an older one, and the slots that follow it", async () => {
  assertRead(await read((found) => delete found[snapshotKey(8)]));
});

test("and from a snapshot of version 0", async () => {
  assertRead(
    await read((found) => {
      found[snapshotKey(8)] = found["v0"] as string;
      delete found[snapshotKey(4)];
    }),
  );
});

for (const gone of [4, 8]) {
  test(`a journal of format level 2 is read, also without its snapshot at ${gone}`, async () => {
    const state = await read((found) => delete found[snapshotKey(gone)], level2, "object");
    assert.deepEqual([state.clusterId, state.level, state.nextSlot], ["new", 2, 8]);
    assert.deepEqual(
      [...state.brokers.values()].map(({ epoch, nodeId, status, name, draining }) => {
        return { epoch, nodeId, status, name, draining };
      }),
      [
        { epoch: 1, nodeId: 1, status: "fenced", name: "a:1", draining: true },
        { epoch: 2, nodeId: 2, status: "live", name: "b:1", draining: false },
      ],
    );
    const partition = state.topics.get(aTopicId(1))?.partitions[0];
    assert.deepEqual([partition?.owner, partition?.leaderEpoch, partition?.preferred], [2, 1, 2]);
    assert.deepEqual(
      partition?.dependencies.map((each) => Object.values(each)),
      [[1, 0, 7]],
    );
  });
}
