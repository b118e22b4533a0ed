/**
 * A reader of the XML that an S3 store answers with: elements and text, nothing else. It is strict: what does not
 * follow is an error, never a guess, since a listing that was cut or misread must not look like a short one.
 * Attributes are passed over; document types, comments and sections of raw text are refused.
 */
import { MalformedError } from "../../base/errors.ts";

export interface Element {
  readonly name: string;
  /** The text between its tags, where there are no elements. */
  readonly text: string;
  readonly children: readonly Element[];
}

const depthMax = 8;
const elementsMax = 100_000;
const namePattern = /[A-Za-z_][A-Za-z0-9._:-]*/y;
const attributePattern = /\s+[A-Za-z_][A-Za-z0-9._:-]*\s*=\s*(?:"[^"<]*"|'[^'<]*')/y;
const entities: { readonly [name: string]: string } = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** The one element of a document. Throws `MalformedError`. */
export function readXml(text: string): Element {
  const reader = new XmlReader(text);
  return reader.document();
}

export const childrenOf = ({ children }: Element, name: string): readonly Element[] =>
  children.filter((child) => child.name === name);

/** The text of the first such child. */
export const textOf = (element: Element, name: string): string | undefined =>
  element.children.find((child) => child.name === name)?.text;

class XmlReader {
  readonly #text: string;
  #at = 0;
  #elements = 0;

  constructor(text: string) {
    // A byte order mark may come first.
    this.#text = text.startsWith("\uFEFF") ? text.slice(1) : text;
  }

  document(): Element {
    this.#blanks();
    if (this.#text.startsWith("<?xml", this.#at)) {
      const end = this.#text.indexOf("?>", this.#at);
      if (end < 0) this.#fail("its declaration has no end");
      this.#at = end + 2;
    }
    this.#blanks();
    const root = this.#element(1);
    this.#blanks();
    if (this.#at !== this.#text.length) this.#fail("something follows its end");
    return root;
  }

  #element(depth: number): Element {
    if (depth > depthMax) this.#fail("it is too deep");
    if (++this.#elements > elementsMax) this.#fail("it has too many elements");
    this.#expect("<");
    const name = this.#match(namePattern, "a name");
    while (this.#take(attributePattern) !== null);
    this.#blanks();
    if (this.#text.startsWith("/>", this.#at)) {
      this.#at += 2;
      return { name, text: "", children: [] };
    }
    this.#expect(">");
    const children: Element[] = [];
    let text = "";
    for (;;) {
      const next = this.#text.indexOf("<", this.#at);
      if (next < 0) this.#fail(`${name} has no end`);
      text += this.#decoded(this.#text.slice(this.#at, next));
      this.#at = next;
      if (this.#text.startsWith("</", next)) break;
      children.push(this.#element(depth + 1));
    }
    this.#at += 2;
    if (this.#match(namePattern, "a name") !== name) this.#fail(`${name} ends with another name`);
    this.#blanks();
    this.#expect(">");
    if (children.length > 0 && text.trim() !== "") this.#fail(`${name} has text beside its elements`);
    return { name, text: children.length > 0 ? "" : text, children };
  }

  #decoded(text: string): string {
    return text.replace(/&([^;&]{0,10});?/g, (whole, name: string) => {
      const named = Object.hasOwn(entities, name) ? entities[name] : undefined;
      if (named !== undefined && whole.endsWith(";")) return named;
      const number = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name);
      const code = number === null ? NaN : parseInt((number[1] ?? number[2]) as string, number[1] ? 16 : 10);
      if (!whole.endsWith(";") || !(code <= 0x10ffff)) this.#fail(`${whole} stands for nothing`);
      return String.fromCodePoint(code);
    });
  }

  #blanks(): void {
    while (" \t\r\n".includes(this.#text[this.#at] ?? "none")) this.#at++;
  }

  #expect(text: string): void {
    if (!this.#text.startsWith(text, this.#at)) this.#fail(`"${text}" is missing`);
    this.#at += text.length;
  }

  #take(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return null;
    this.#at = pattern.lastIndex;
    return found[0];
  }

  #match(pattern: RegExp, what: string): string {
    return this.#take(pattern) ?? this.#fail(`${what} is missing`);
  }

  #fail(why: string): never {
    throw new MalformedError(`the answer is not the XML of an S3 store: ${why}, at character ${this.#at}`);
  }
}
