/**
 * An object under `seg/`: a segment, a pack of several partitions, or a folded list of references. Everything
 * is checked that the object itself can prove; a list's checksum stands in the journal only.
 */
import { Reader } from "../../base/bytes.ts";
import { HoldfastError } from "../../base/errors.ts";
import {
  blockPosition,
  decodeObjectHeader,
  ObjectKind,
  objectHeaderBytes,
  objectKey,
  SEGMENT_FORMAT,
  type SectionIdentity,
} from "../../log/segment-format.ts";
import { type InspectedSection, inspectObject } from "../../log/segment-inspect.ts";
import { decodeList, ListBody, type SegmentList } from "../../log/segment-list.ts";
import type { ListPointer, SegmentRef } from "../../log/segment-ref.ts";
import { batchesIn } from "../../record/batch.ts";
import { compile } from "../../schema/compile.ts";
import { formatBytes, formatCount } from "../table.ts";
import { batchFindings } from "./batches.ts";
import { damage, type Depth, type Finding, timeText, type TopicNames } from "./finding.ts";

/** What the journal says of a list. */
export interface KnownList extends SectionIdentity {
  readonly pointer: ListPointer;
}

const listCodec = compile(ListBody, SEGMENT_FORMAT, { flexible: false });

/** `key` is null where the path does not tell it; the object's own name counts then. */
export function* objectFindings(
  object: { readonly key: string | null; readonly bytes: Uint8Array; readonly list: KnownList | null },
  depth: Depth,
  topicName: TopicNames,
): Generator<Finding, void, void> {
  const { bytes } = object;
  let key = object.key ?? "object";
  try {
    const header = decodeObjectHeader(bytes);
    const own = objectKey(header.epoch, header.counter);
    key = object.key ?? own;
    const type = header.kind === ObjectKind.list ? "list" : "segment";
    const { format, clusterId, epoch, counter } = header;
    yield {
      facts: { kind: "object", key, type, format, clusterId, epoch, counter, bytes: bytes.byteLength },
      text: `object ${key}: ${type}, ${formatBytes(bytes.byteLength)}, written in epoch ${epoch}, format ${format}, cluster ${clusterId}`,
    };
    if (header.kind === ObjectKind.list) {
      if (own !== key) yield damage(key, `it is ${own} by its own header`);
      yield* listFindings(key, bytes, object.list, topicName);
      return;
    }
  } catch (cause) {
    // What follows says why; the sections may be sound all the same.
    if (!(cause instanceof HoldfastError)) throw cause;
  }
  const { sections, damage: wrong } = inspectObject(key, bytes);
  for (const section of sections) {
    yield sectionFinding(section, topicName);
    if (depth.batches) yield* blockFindings(key, bytes, section, depth, topicName);
  }
  for (const sentence of wrong) yield damage(key, sentence.slice(key.length + 2, -1));
}

function sectionFinding({ start, footer }: InspectedSection, topicName: TopicNames): Finding {
  const { topicId, partition, base, end, recordCount, batchCount, maxTimestamp, blocks, state } = footer;
  const topic = topicName(topicId);
  const { producers, leaderEpochs, aborted } = state;
  return {
    facts: { ...footer, kind: "section", topic, start },
    text:
      `section ${topic}-${partition} at byte ${formatCount(start)}: ` +
      (base === end ? `no records, state at offset ${end}` : `offsets ${base} to ${end - 1}`) +
      `, ${formatCount(recordCount)} records in ${formatCount(batchCount)} batches and ${formatCount(blocks.length)} blocks` +
      `, newest ${timeText(maxTimestamp)}, ${producers.length} producers, ${leaderEpochs.length} leader epochs, ${aborted.length} aborted transactions`,
  };
}

function* blockFindings(
  key: string,
  bytes: Uint8Array,
  { start, footerBytes, footer }: InspectedSection,
  depth: Depth,
  topicName: TopicNames,
): Generator<Finding, void, void> {
  const topic = topicName(footer.topicId);
  const { partition } = footer;
  for (const block of footer.blocks) {
    const at = blockPosition({ sectionStart: start, footerBytes }, block);
    const where = `${key}, block at byte ${at}`;
    yield {
      facts: { ...block, kind: "block", topic, partition, at },
      text: `  block ${topic}-${partition} from offset ${block.base} at byte ${formatCount(at)}, ${formatBytes(block.bytes)}`,
    };
    try {
      for (const batch of batchesIn(bytes.subarray(at, at + block.bytes))) {
        yield* batchFindings(batch, { topic, partition }, depth, { where, indent: "    " });
      }
    } catch (cause) {
      if (!(cause instanceof HoldfastError)) throw cause;
      yield damage(where, cause.message);
    }
  }
}

function* listFindings(
  key: string,
  bytes: Uint8Array,
  known: KnownList | null,
  topicName: TopicNames,
): Generator<Finding, void, void> {
  try {
    const body = listCodec.read(new Reader(bytes.subarray(objectHeaderBytes)));
    const list: SegmentList = known === null ? body : decodeList(bytes, known, known.pointer);
    const topic = topicName(body.topicId);
    const checked = known !== null;
    yield {
      facts: {
        kind: "list",
        topic,
        topicId: body.topicId,
        partition: body.partition,
        previous: list.previous,
        checked,
      },
      text:
        `list ${topic}-${body.partition}: ${formatCount(list.segments.length)} segments` +
        (list.previous === null ? "" : `, goes on from ${list.previous.object}`) +
        (checked
          ? ""
          : ", not checked: its checksum stands in the journal, which does not name it as the newest"),
    };
    for (const ref of list.segments) yield referenceFinding(ref, topic, body.partition);
  } catch (cause) {
    if (!(cause instanceof HoldfastError)) throw cause;
    yield damage(key, cause.message);
  }
}

function referenceFinding(ref: SegmentRef, topic: string, partition: number): Finding {
  const offsets =
    ref.base === ref.end ? `state at offset ${ref.end}` : `offsets ${ref.base} to ${ref.end - 1}`;
  return {
    facts: { ...ref, kind: "reference", topic, partition },
    text: `  ${offsets}, ${formatCount(ref.recordCount)} records, ${formatBytes(ref.sectionBytes)}, ${ref.object} at byte ${formatCount(ref.sectionStart)}`,
  };
}
