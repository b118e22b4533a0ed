/** What is counted of the members of a group as they come, change and go is what there is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Member, Members } from "./members.ts";

interface Plain extends Member {
  about: { readonly subscribedTopicNames: readonly string[] };
}

const weigh = ({ id, about }: Plain): number => id.length + 10 * about.subscribedTopicNames.length;

test("what all members take together and want is the sum of each, also where they change in place", () => {
  const step = fc.record({
    id: fc.constantFrom("a", "b", "cc", "ddd"),
    names: fc.option(fc.array(fc.constantFrom("x", "y", "z"), { maxLength: 3 })),
    isInPlace: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const members = new Members<Plain>(weigh);
      for (const { id, names, isInPlace } of steps) {
        const about = { subscribedTopicNames: names ?? [] };
        const known = members.get(id);
        if (names === null) members.delete(id);
        else if (known === undefined || !isInPlace) members.set({ id, about });
        else members.set(Object.assign(known, { about }));
        const all = [...members];
        assert.equal(members.size, all.length);
        assert.equal(
          members.bytes,
          all.reduce((sum, each) => sum + weigh(each), 0),
        );
        const wanted = new Set(all.flatMap((each) => each.about.subscribedTopicNames));
        assert.deepEqual([...members.wantedNames].sort(), [...wanted].sort());
      }
    }),
  );
});
