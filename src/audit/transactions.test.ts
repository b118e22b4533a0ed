import assert from "node:assert/strict";
import { test } from "node:test";
import { Story } from "../../test/story.ts";
import { describeReport } from "./check.ts";
import { History } from "./history.ts";
import type { Operation } from "./operation.ts";
import type { GroupNumber, Outcome } from "./words.ts";

/** Five records in `orders` that a group transforms into `other`, in transactions of producers that take over from one another. */
class TransactionStory extends Story {
  readonly group: GroupNumber = this.history.group("g");

  constructor(history?: History) {
    super(history);
    for (let offset = 0; offset < 5; offset++) this.send("p", this.orders, [[offset, `in${offset}`]]);
    this.poll(
      "seer",
      this.orders,
      [0, 1, 2, 3, 4].map((offset) => [offset, `in${offset}`] as const),
    );
  }

  init(client: string, outcome: Outcome = "ok"): void {
    this.close(this.open(client, "init").takesOver("t"), outcome);
  }

  /** Handles the input at these offsets, sends one output, and commits behind the last. */
  begin(client: string, offsets: readonly number[], output: string, at = -1): Operation {
    const operation = this.open(client, "transaction").inGroup(this.group);
    for (const offset of offsets) operation.handled(this.orders, offset, `in${offset}`);
    const step = operation.sends(this.other, output);
    if (at >= 0) operation.stored(step, at);
    operation.commits(this.orders, Math.max(...offsets) + 1);
    return operation;
  }

  transform(
    client: string,
    offsets: readonly number[],
    output: readonly [offset: number, value: string],
    outcome: Outcome = "ok",
  ): void {
    this.close(this.begin(client, offsets, output[1], output[0]), outcome);
  }

  fetch(client: string, offset: number): void {
    const operation = this.open(client, "fetch-offsets").inGroup(this.group);
    operation.committed(this.orders, offset);
    this.close(operation);
  }

  reset(offset: number): void {
    const operation = this.open("admin", "reset").inGroup(this.group);
    operation.resets(this.orders, offset);
    this.close(operation);
  }

  watermarks(lastStable: number, highWatermark: number): void {
    const operation = this.open("c", "look");
    operation.watermarks(this.orders, { lastStable, highWatermark });
    this.close(operation);
  }
}

function finds(bugs: readonly string[], tell: (story: TransactionStory) => void, history?: History): void {
  const story = new TransactionStory(history);
  tell(story);
  assert.deepEqual(story.found().bugs, bugs, describeReport({ ...story.check(), allowed: [] }));
}

test("what a committed transaction made and where it had got to are there together", () => {
  finds([], (story) => {
    story.transform("t1", [0, 1], [0, "a"]);
    story.fetch("t1", 2);
    story.transform("t1", [2], [2, "b"], "fail");
    story.fetch("t1", 2);
    story.transform("t1", [2, 3], [4, "c"]);
    story.poll("c", story.other, [
      [0, "a"],
      [4, "c"],
    ]);
    story.fetch("t2", 4);
  });
  // Its offsets are not: they were committed outside of it, or not at all.
  finds(["torn-transaction"], (story) => {
    story.transform("t1", [0, 1], [0, "a"]);
    story.poll("c", story.other, [[0, "a"]]);
    story.fetch("t2", -1);
  });
  // The same of one whose end nobody heard, and whose output was read.
  finds(["torn-transaction"], (story) => {
    story.transform("t1", [0, 1], [-1, "a"], "unknown");
    story.poll("c", story.other, [[0, "a"]]);
    story.fetch("t2", -1);
  });
  // The reverse: its offsets are there, and its output is not.
  finds(["lost-prefix", "unseen"], (story) => {
    story.transform("t1", [0, 1], [0, "a"]);
    story.fetch("t2", 2);
    story.readAll("c", story.other, []);
  });
});

test("of unknown fate, a transaction binds nobody until something of it was read", () =>
  finds([], (story) => {
    story.transform("t1", [0, 1], [-1, "a"], "unknown");
    story.fetch("t2", -1);
    story.transform("t2", [0, 1], [2, "b"]);
    story.poll("c", story.other, [[2, "b"]]);
    story.fetch("t2", 2);
  }));

test("offsets of an aborted transaction are not shown, nor any that nobody committed", () => {
  finds(["aborted-commit"], (story) => {
    story.transform("t1", [0, 1], [0, "a"], "fail");
    story.fetch("t2", 2);
  });
  finds(["phantom-commit"], (story) => {
    story.transform("t1", [0, 1], [0, "a"]);
    story.poll("c", story.other, [[0, "a"]]);
    story.fetch("t2", 3);
  });
});

test("within committed transactions a record is handled once, unless somebody set the group back", () => {
  finds(["handled-twice"], (story) => {
    story.transform("t1", [0, 1], [0, "a"]);
    story.transform("t2", [1, 2], [2, "b"]);
    story.poll("c", story.other, [
      [0, "a"],
      [2, "b"],
    ]);
  });
  finds(["handled-twice"], (story) => {
    story.transform("t1", [0], [-1, "a"], "unknown");
    story.poll("c", story.other, [[0, "a"]]);
    story.transform("t2", [0, 1], [2, "b"]);
    story.poll("c", story.other, [[2, "b"]]);
  });
  finds([], (story) => {
    story.transform("t1", [0, 1], [0, "a"]);
    story.reset(0);
    story.transform("t2", [0, 1], [2, "b"]);
    story.transform("t2", [2, 3], [4, "c"], "fail");
    story.transform("t2", [2, 3], [6, "d"]);
    story.poll("c", story.other, [
      [0, "a"],
      [2, "b"],
      [6, "d"],
    ]);
  });
});

test("an aborted transaction has handled nothing", () =>
  finds(["commit-ahead"], (story) => {
    story.transform("t1", [0, 1], [0, "a"], "fail");
    story.transform("t1", [2], [2, "b"]);
    story.poll("c", story.other, [[2, "b"]]);
  }));

test("who took over a transactional id fences all before: nothing that they send afterwards is taken", () => {
  const takenOver = (isLate: boolean, at: number, outcome: Outcome) => (story: TransactionStory) => {
    story.init("t1");
    if (!isLate) story.init("t2");
    const zombie = story.open("t1", "transaction");
    if (isLate) story.init("t2");
    const step = zombie.sends(story.other, "z");
    if (at >= 0) zombie.stored(step, at);
    story.close(zombie, outcome);
    if (outcome === "ok") story.poll("c", story.other, [[0, "z"]]);
  };
  // Once for the record, once for the commit.
  finds(["zombie-write"], takenOver(false, 0, "ok"));
  finds(["zombie-write"], takenOver(true, 0, "ok"));
  // Taken although it came to nothing.
  finds(["zombie-write"], takenOver(true, 0, "fail"));
  finds([], takenOver(true, -1, "fail"));
  finds([], takenOver(true, -1, "unknown"));
});

test("who takes over again is fenced no more, and of two at the same time nobody knows who was last", () => {
  finds([], (story) => {
    story.init("t1");
    story.init("t2");
    story.init("t1");
    story.transform("t1", [0], [0, "a"]);
    story.poll("c", story.other, [[0, "a"]]);
  });
  finds([], (story) => {
    const first = story.open("t1", "init").takesOver("t");
    const second = story.open("t2", "init").takesOver("t");
    story.close(first);
    story.close(second);
    story.transform("t1", [0], [0, "a"]);
    story.poll("c", story.other, [[0, "a"]]);
  });
  finds([], (story) => {
    story.init("t1");
    story.init("t2", "unknown");
    story.transform("t1", [0], [0, "a"]);
    story.poll("c", story.other, [[0, "a"]]);
  });
});

test("a transaction that is open for longer than it may keeps its readers waiting", () => {
  const stands = (laterStable: number) => (story: TransactionStory) => {
    story.watermarks(2, 5);
    for (let left = 10; left > 0; left--) story.fetch("x", -1);
    story.watermarks(laterStable, 5);
  };
  finds(["hanging-transaction"], stands(2), new History({ openMsMax: 10 }));
  finds([], stands(3), new History({ openMsMax: 10 }));
  finds([], stands(2), new History({ openMsMax: 100 }));
  finds([], stands(2));
});

test("what a reader of uncommitted records sees proves nothing, but it may not change", () => {
  const glimpse = (story: TransactionStory, offset: number, value: string): void => {
    const poll = story.open("g", "poll");
    poll.glimpsed(story.other, offset, value);
    story.close(poll);
  };
  finds([], (story) => {
    const aborted = story.open("t1", "transaction");
    aborted.sends(story.other, "x");
    glimpse(story, 0, "x");
    story.close(aborted, "fail");
    glimpse(story, 0, "x");
    story.readAll("c", story.other, []);
  });
  finds(["inconsistent-offsets"], (story) => {
    const aborted = story.open("t1", "transaction");
    aborted.sends(story.other, "x");
    aborted.sends(story.other, "y");
    glimpse(story, 0, "x");
    glimpse(story, 0, "y");
    story.close(aborted, "fail");
  });
  finds(["phantom"], (story) => glimpse(story, 0, "x"));
});
