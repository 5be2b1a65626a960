// node serve.mjs BUNDLE [node|web]: inputs of its model on stdin, a JSON object a line; outputs on stdout.
// A tensor is [dims, base64 of its values].

import { createInterface } from "node:readline";
import { load } from "./node.mjs";

const [folder, runtime] = process.argv.slice(2);
const { ort, session } = await load(folder, runtime);

function decoded([dims, text]) {
  const bytes = Buffer.from(text, "base64");
  const values = new BigInt64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  return new ort.Tensor("int64", values, dims);
}

function encoded({ dims, data }) {
  return [dims, Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64")];
}

function eachOf(object, change) {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]));
}

for await (const line of createInterface({ input: process.stdin })) {
  const outputs = await session.run(eachOf(JSON.parse(line), decoded));
  console.log(JSON.stringify(eachOf(outputs, encoded)));
}
