// What bertedge.mjs makes of texts, as JSON, for the tests: the question comes on stdin.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { importRuntime, load } from "../../benchmarks/web/node.mjs";
import { WordPiece } from "../../benchmarks/web/wordpiece.mjs";

async function outputs({ folder, runtime, texts }) {
  const bert = await load(folder, runtime);
  const found = [];
  for (const [text, pair] of texts) {
    const { ids, mlm, nsp } = await bert.run(text, pair ?? undefined);
    found.push({ ids, mlm: mlm.map((row) => [...row]), nsp: [...nsp] });
  }
  return found;
}

async function words({ folder, texts }) {
  const read = (name) => JSON.parse(readFileSync(join(folder, name), "utf-8"));
  const pieces = new WordPiece(read("tokenizer.json"), read("tokenizer_config.json"));
  return texts.map((text) => ({ words: pieces.words(text), ids: pieces.encode(text).ids }));
}

async function sums({ model, runtime, rows }) {
  const ort = await importRuntime(runtime);
  const session = await ort.InferenceSession.create(readFileSync(model));
  const input = new ort.Tensor("uint8", Uint8Array.from(rows.flat()), [rows.length, rows[0].length]);
  const { sums } = await session.run({ input });
  return [...sums.data];
}

const question = JSON.parse(readFileSync(0, "utf-8"));
console.log(JSON.stringify(await { outputs, words, sums }[question.what](question)));
