// node fill_mask.mjs BUNDLE TEXT [--runtime node|web] [--top-k N]

import { parseArgs } from "node:util";
import { load } from "./node.mjs";

const USAGE = 'usage: node fill_mask.mjs BUNDLE "She drank a cup of [MASK] in the kitchen." [--runtime node|web] [--top-k 5]';

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { runtime: { type: "string", default: "node" }, "top-k": { type: "string", default: "5" } },
  });
  if (positionals.length !== 2) throw new Error(USAGE);
  const [folder, text] = positionals;
  const bert = await load(folder, values.runtime);
  for (const [place, fills] of (await bert.fillMask(text, Number(values["top-k"]))).entries()) {
    if (place) console.log();
    for (const { token, probability } of fills) console.log(`${probability.toFixed(4)}  ${token}`);
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 2;
}
