import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MalformedError } from "../../base/errors.ts";
import { readError, readListPage } from "./listing.ts";
import { readXml } from "./xml.ts";

const page = (inner: string): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inner}</ListBucketResult>`;
const object = (key: string, size: string): string =>
  `<Contents><Key>${key}</Key><ETag>&#34;00&#34;</ETag><Size>${size}</Size><Owner><ID>1</ID></Owner></Contents>`;

test("a page of a listing is read, as AWS and as others write it", () => {
  const last = readListPage(
    page(
      `<Name>b</Name><Prefix/><IsTruncated>false</IsTruncated>${object("a/1", "3")}${object("a&amp;&#x41;", "0")}`,
    ),
  );
  assert.deepEqual(last, {
    objects: [
      { key: "a/1", bytes: 3 },
      { key: "a&A", bytes: 0 },
    ],
    next: undefined,
  });
  const encoded = readListPage(
    page(
      `\n  <EncodingType>url</EncodingType>\n  <IsTruncated>true</IsTruncated><NextContinuationToken>t/+=</NextContinuationToken>${object("a%2F1+x", "3")}\n`,
    ),
  );
  assert.deepEqual(encoded, { objects: [{ key: "a/1 x", bytes: 3 }], next: "t/+=" });
});

test("a listing that was cut, or leaves out what matters, is no short listing", () => {
  const whole = page(`<IsTruncated>false</IsTruncated>${object("a/1", "3")}${object("a/2", "3")}`);
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => readListPage(whole.slice(0, length)), MalformedError, whole.slice(0, length));
  }
  for (const inner of [
    object("a", "3"),
    `<IsTruncated>true</IsTruncated>${object("a", "3")}`,
    `<IsTruncated>maybe</IsTruncated>`,
    `<IsTruncated>false</IsTruncated>${object("a", "x")}`,
    `<IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents>`,
    `<IsTruncated>false</IsTruncated>${object("a&nbsp;", "1")}`,
    `<IsTruncated>false</IsTruncated><!-- -->`,
  ]) {
    assert.throws(() => readListPage(page(inner)), MalformedError, inner);
  }
  assert.throws(() => readListPage(whole + whole), MalformedError);
  assert.throws(() => readListPage(`<!DOCTYPE x>${whole}`), MalformedError);
});

test("only the words of an S3 store are an error of one", () => {
  const said = (text: string) => readError(Buffer.from(text));
  assert.deepEqual(said("<Error><Code>NoSuchKey</Code><Message>no</Message></Error>"), {
    code: "NoSuchKey",
    message: "no",
    region: undefined,
    endpoint: undefined,
  });
  for (const text of ["", "<html><body>404</body></html>", "<Error/>", "{}", "<Error><Code>x</Code>"]) {
    assert.equal(said(text), null, text);
  }
});

test("whatever arrives is read or refused, in time that grows with its length", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), fc.boolean(), (text, inside) => {
      try {
        readXml(inside ? `<a>${text}</a>` : text);
      } catch (error) {
        assert.ok(error instanceof MalformedError, String(error));
      }
    }),
  );
  for (const text of [
    "<a ".repeat(100_000),
    "<".repeat(1_000_000),
    "<a>".repeat(10_000),
    `<a${" ".repeat(1_000_000)}`,
    "&".repeat(100_000),
  ]) {
    const begun = performance.now();
    assert.throws(() => readXml(text.startsWith("&") ? `<a>${text}</a>` : text), MalformedError);
    assert.ok(performance.now() - begun < 2_000);
  }
});
