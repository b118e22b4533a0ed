import assert from "node:assert/strict";
import { test } from "node:test";
import { Story } from "../../test/story.ts";
import { describeReport } from "./check.ts";
import type { GroupNumber, Outcome, PartitionNumber } from "./words.ts";

/** A story with one group and five records, of which each call is one operation. */
class GroupStory extends Story {
  group: GroupNumber = this.history.group("g");

  constructor() {
    super();
    for (let offset = 0; offset < 5; offset++) this.send("p", this.orders, [[offset, `v${offset}`]]);
  }

  join(member: string, generation: number, partitions: readonly PartitionNumber[] = [this.orders]): void {
    const operation = this.open(member, "join").inGroup(this.group, generation);
    for (const partition of partitions) operation.owns(partition);
    this.close(operation);
  }

  handle(member: string, offsets: readonly number[]): void {
    const operation = this.open(member, "handle").inGroup(this.group, 1);
    for (const offset of offsets) operation.handled(this.orders, offset, `v${offset}`);
    this.close(operation);
  }

  commit(member: string, generation: number, offset: number, outcome: Outcome = "ok"): void {
    const operation = this.open(member, "commit").inGroup(this.group, generation);
    operation.commits(this.orders, offset);
    this.close(operation, outcome);
  }

  fetch(member: string, offset: number): void {
    const operation = this.open(member, "fetch-offsets").inGroup(this.group);
    operation.committed(this.orders, offset);
    this.close(operation);
  }

  reset(offset: number, outcome: Outcome = "ok"): void {
    const operation = this.open("admin", "reset").inGroup(this.group);
    operation.resets(this.orders, offset);
    this.close(operation, outcome);
  }

  end(member: string): void {
    const operation = this.open(member, "handle").inGroup(this.group, 1);
    operation.reachedEnd(this.orders);
    this.close(operation);
  }
}

/** Nobody polls in these stories: that nothing was seen is no finding here. */
function finds(bugs: readonly string[], tell: (story: GroupStory) => void): void {
  const story = new GroupStory();
  tell(story);
  assert.deepEqual(story.found().bugs, bugs, describeReport({ ...story.check(), allowed: [] }));
}

test("two members of one generation must not own one partition", () =>
  finds(["two-owners"], (story) => {
    story.join("m1", 1);
    story.join("m2", 1);
  }));

test("one partition may have an owner in each generation, and a member may join again", () =>
  finds([], (story) => {
    story.join("m1", 1);
    story.join("m1", 1);
    story.join("m2", 2);
    story.join("m1", 2, [story.other]);
  }));

test("a commit of a generation that is over must be refused", () =>
  finds(["stale-commit"], (story) => {
    story.join("m1", 1);
    story.handle("m1", [0, 1]);
    story.join("m2", 2, [story.other]);
    story.commit("m1", 1, 2);
  }));

test("a commit that began before the next generation was known may be in time; a refused one harms nobody", () =>
  finds([], (story) => {
    story.join("m1", 1);
    story.handle("m1", [0, 1]);
    const commit = story.open("m1", "commit").inGroup(story.group, 1);
    commit.commits(story.orders, 1);
    story.join("m2", 2);
    story.close(commit);
    story.commit("m1", 1, 2, "fail");
    story.commit("m1", 1, 2, "unknown");
  }));

test("a member of a group of the newer protocol may commit in its own epoch until its partition is another's", () => {
  const tell = (story: GroupStory): void => {
    story.group = story.history.group("newer", { protocol: "consumer" });
    story.join("m1", 1);
    story.handle("m1", [0, 1]);
    story.join("m2", 2, [story.other]);
    story.commit("m1", 1, 1);
  };
  finds([], tell);
  finds(["stale-commit"], (story) => {
    tell(story);
    story.join("m2", 3);
    story.commit("m1", 1, 2);
  });
});

test("where members of both protocols meet a generation may come again, and says nothing", () =>
  finds([], (story) => {
    story.group = story.history.group("mixed", { protocol: "both" });
    story.join("m1", 1);
    story.join("m2", 5);
    story.join("m3", 1);
    story.commit("m3", 1, 0);
  }));

test("a commit must not pass a record that no handler has finished", () =>
  finds(["commit-ahead"], (story) => {
    story.join("m1", 1);
    story.handle("m1", [0, 2]);
    story.commit("m1", 1, 1);
    story.commit("m1", 1, 3);
    story.handle("m1", [1]);
    story.commit("m1", 1, 3);
  }));

test("what another member has finished may be passed, and what a reset skipped", () =>
  finds([], (story) => {
    story.handle("m1", [0, 1]);
    story.commit("m2", 2, 2);
    story.reset(4);
    story.handle("m2", [4]);
    story.commit("m2", 2, 5);
    story.end("m2");
  }));

test("what a reset skipped is asked for again when the group is set back before it", () =>
  finds(["commit-ahead"], (story) => {
    story.reset(4);
    story.reset(0);
    story.handle("m1", [0, 1, 4]);
    story.commit("m1", 1, 5);
  }));

test("a commit of unknown fate must not pass anything either, but for a member that has not heard of a reset", () => {
  finds(["commit-ahead"], (story) => {
    story.join("m1", 1);
    story.commit("m1", 1, 2, "unknown");
  });
  finds([], (story) => {
    story.join("m1", 1);
    story.handle("m1", [2, 3]);
    story.reset(0);
    story.commit("m1", 1, 4, "unknown");
  });
});

test("what is committed must not go back by itself", () => {
  const handledAll = (story: GroupStory): void => {
    story.handle("m1", [0, 1, 2]);
    story.commit("m1", 1, 3);
  };
  for (const offset of [2, 0, -1]) {
    finds(["committed-offset-went-back"], (story) => {
      handledAll(story);
      story.fetch("m2", offset);
    });
  }
  finds(["commit-went-back"], (story) => {
    handledAll(story);
    story.commit("m1", 1, 2);
  });
  finds([], (story) => {
    handledAll(story);
    story.fetch("m2", 3);
    story.commit("m1", 1, 2, "fail");
    story.reset(1);
    story.fetch("m2", 1);
    story.commit("m1", 1, 2);
    story.fetch("m2", 2);
  });
});

test("a reset while a commit was on its way may have come after it", () =>
  finds([], (story) => {
    story.handle("m1", [0, 1, 2]);
    const commit = story.open("m1", "commit").inGroup(story.group, 1);
    commit.commits(story.orders, 3);
    story.reset(1);
    story.close(commit);
    story.fetch("m2", 1);
  }));

test("a reset that may yet come excuses what is committed after it", () =>
  finds([], (story) => {
    story.handle("m1", [0, 1, 2]);
    story.reset(1, "unknown");
    story.commit("m1", 1, 3);
    story.fetch("m2", 1);
  }));

test("at its end a group has handled every record that was acknowledged", () => {
  finds(["unprocessed"], (story) => {
    story.handle("m1", [0, 1, 3, 4]);
    story.end("m1");
  });
  finds([], (story) => {
    story.handle("m1", [4, 3, 2]);
    story.end("m1");
    story.handle("m2", [0, 1]);
    const late = story.open("p", "send");
    story.end("m2");
    late.stored(late.sends(story.orders, "v5"), 5);
    story.close(late);
  });
});

test("a commit within a transaction may pass what was handled while it was open", () =>
  finds([], (story) => {
    const transaction = story.open("m1", "transaction").inGroup(story.group, 1);
    story.handle("m1", [0, 1]);
    transaction.commits(story.orders, 2);
    story.close(transaction);
  }));
