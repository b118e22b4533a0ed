/** For `node --import`: what `holdfast/…` names is taken from the sources, as if the package were installed. */
import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const entries = join(import.meta.dirname, "..", "src", "entry");

registerHooks({
  resolve(specifier, context, next) {
    const [, entry] = /^holdfast\/([a-z]+)$/.exec(specifier) ?? [];
    return entry === undefined
      ? next(specifier, context)
      : next(pathToFileURL(join(entries, `${entry}.ts`)).href, context);
  },
});
