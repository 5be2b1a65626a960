// A bundle on onnxruntime's packages for JavaScript, the same in a browser and in Node.

import { WordPiece } from "./wordpiece.mjs";

export class Bert {
  /**
   * @param {object} ort onnxruntime-web or onnxruntime-node
   * @param {(name: string) => Promise<Uint8Array>} read a file of the bundle
   * @param {object} options of onnxruntime's session
   */
  static async load(ort, read, options = {}) {
    const parsed = async (name) => JSON.parse(new TextDecoder().decode(await read(name)));
    const manifest = await parsed("manifest.json");
    const words = new WordPiece(await parsed("tokenizer.json"), await parsed("tokenizer_config.json"));
    const model = await read("model.onnx" in manifest.files ? "model.onnx" : "model.ort");
    // errors only: onnxruntime warns about each input that has a default
    const settings = { graphOptimizationLevel: "basic", logSeverityLevel: 3, ...options };
    const weights = "model.onnx_data"; // of a larger model
    if (weights in manifest.files) settings.externalData = [{ path: weights, data: await read(weights) }];
    return new Bert(ort, await ort.InferenceSession.create(model, settings), manifest, words);
  }

  constructor(ort, session, manifest, words) {
    Object.assign(this, { ort, session, manifest, words });
  }

  /**
   * One text, or a pair of texts.
   *
   * @returns ids, positions of the masks, and the logits of both heads: mlm has one Float32Array a mask.
   */
  async run(text, pair) {
    const { ids, segments } = this.words.encode(text, pair);
    const most = this.manifest.config.max_position_embeddings;
    if (ids.length > most) throw new Error(`the text has ${ids.length} tokens, the model reads ${most}`);
    const positions = ids.flatMap((id, place) => (id === this.words.mask ? [place] : []));
    const everywhere = this.manifest.positions === "all";
    const feed = { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: segments };
    if (!everywhere) feed.masked_positions = positions;
    const tensors = Object.entries(feed).map(([name, values]) => [name, this.tensor(values)]);
    const outputs = await this.session.run(Object.fromEntries(tensors));
    const logits = everywhere ? outputs.logits : outputs.mlm_logits;
    const width = logits?.dims.at(-1);
    const mlm = logits && positions.map((position, index) => {
      const row = everywhere ? position : index;
      return logits.data.subarray(row * width, (row + 1) * width);
    });
    return { ids, positions, mlm, nsp: outputs.nsp_logits?.data };
  }

  /** The most probable tokens for every mask: [[{ token, probability }, ...], ...]. */
  async fillMask(text, count = 5) {
    const { mlm, positions } = await this.run(text);
    if (!positions.length) throw new Error(`no ${this.words.pieces.get(this.words.mask)} in the text`);
    if (!mlm) throw new Error("the model has no head for masked words");
    return mlm.map((logits) => {
      const probabilities = softmax(logits);
      const best = largest(probabilities, count);
      return best.map((id) => ({ token: this.words.pieces.get(id), probability: probabilities[id] }));
    });
  }

  tensor(values) {
    return new this.ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  }
}

function softmax(logits) {
  const most = logits.reduce((one, other) => Math.max(one, other));
  const exponents = Float64Array.from(logits, (value) => Math.exp(value - most));
  const sum = exponents.reduce((one, other) => one + other);
  return exponents.map((value) => value / sum);
}

/** Indices of the largest values, largest first; equal values in order of index. */
function largest(values, count) {
  const best = [];
  for (let index = 0; index < values.length; index++) {
    if (best.length === count && values[index] <= values[best.at(-1)]) continue;
    const place = best.findIndex((other) => values[index] > values[other]);
    best.splice(place < 0 ? best.length : place, 0, index);
    best.length = Math.min(best.length, count);
  }
  return best;
}
