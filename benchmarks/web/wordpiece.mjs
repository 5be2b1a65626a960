// BERT's WordPiece, from a bundle's tokenizer.json. Steps and their order are those of the `tokenizers` library, whose
// tables of characters are older than a browser's, so a recent character may count as a letter there.

const WHITESPACE = /\p{White_Space}/u;
const DROPPED = /(?![\t\n\r])[\ufffd\p{Cc}\p{Cf}\p{Co}]/u;
const ACCENTS = /\p{Mn}/gu;
const PUNCTUATION = /[!-/:-@[-`{-~\p{P}]/u; // of ASCII, symbols too
const IDEOGRAPHS = [
  [0x4e00, 0x9fff], [0x3400, 0x4dbf], [0x20000, 0x2a6df], [0x2a700, 0x2b73f],
  [0x2b740, 0x2b81f], [0x2b920, 0x2ceaf], [0xf900, 0xfaff], [0x2f800, 0x2fa1f],
];

export class WordPiece {
  /**
   * @param {object} tokenizer what tokenizer.json holds
   * @param {object} settings what tokenizer_config.json holds: the names of the special tokens
   */
  constructor(tokenizer, settings) {
    const { model, normalizer } = tokenizer;
    const splitter = tokenizer.pre_tokenizer?.type;
    if (model.type !== "WordPiece" || normalizer?.type !== "BertNormalizer" || splitter !== "BertPreTokenizer") {
      throw new Error("tokenizer.json is not BERT's WordPiece");
    }
    this.model = model;
    this.normalizer = normalizer;
    this.ids = new Map(Object.entries(model.vocab));
    const added = tokenizer.added_tokens ?? [];
    added.forEach(({ content, id }) => this.ids.set(content, id));
    this.pieces = new Map([...this.ids].map(([piece, id]) => [id, piece]));
    this.special = new Set(added.map(({ content }) => content));
    const longestFirst = [...this.special].sort((one, other) => other.length - one.length);
    const escaped = longestFirst.map((token) => token.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.boundary = new RegExp(`(${escaped.join("|") || "(?!)"})`);
    this.cls = this.ids.get(settings.cls_token ?? "[CLS]");
    this.sep = this.ids.get(settings.sep_token ?? "[SEP]");
    this.mask = this.ids.get(settings.mask_token ?? "[MASK]");
  }

  /** `[CLS] text [SEP]`, or `[CLS] text [SEP] pair [SEP]`: ids, and 0 or 1 for each. */
  encode(text, pair) {
    const first = [this.cls, ...this.idsOf(text), this.sep];
    const second = pair === undefined ? [] : [...this.idsOf(pair), this.sep];
    return { ids: [...first, ...second], segments: [...first.map(() => 0), ...second.map(() => 1)] };
  }

  idsOf(text) {
    return text.split(this.boundary).flatMap((part) =>
      this.special.has(part) ? [this.ids.get(part)] : this.words(part).flatMap((word) => this.split(word)));
  }

  /** Normalized words; every punctuation mark and every ideograph is one. */
  words(text) {
    const { clean_text, handle_chinese_chars, lowercase, strip_accents } = this.normalizer;
    let spaced = "";
    for (const char of text) {
      if (clean_text && DROPPED.test(char)) continue;
      spaced += handle_chinese_chars && isIdeograph(char) ? ` ${char} ` : char;
    }
    if (strip_accents ?? lowercase) spaced = spaced.normalize("NFD").replace(ACCENTS, "");
    const words = [""];
    for (const char of spaced) {
      // one character at a time: a final sigma in a whole word would become another letter
      const lower = lowercase ? char.toLowerCase() : char;
      if (WHITESPACE.test(char)) words.push("");
      else if (PUNCTUATION.test(lower)) words.push(lower, "");
      else words[words.length - 1] += lower;
    }
    return words.filter((word) => word);
  }

  /** The longest token at the start of the word, then the longest at the start of the remainder; [UNK] if none fits. */
  split(word) {
    const { unk_token, continuing_subword_prefix, max_input_chars_per_word } = this.model;
    const chars = [...word];
    const found = [];
    for (let start = 0, end; start < chars.length; start = end) {
      const prefix = start ? continuing_subword_prefix : "";
      end = chars.length;
      while (end > start && !this.ids.has(prefix + chars.slice(start, end).join(""))) end--;
      if (end === start || chars.length > max_input_chars_per_word) return [this.ids.get(unk_token)];
      found.push(this.ids.get(prefix + chars.slice(start, end).join("")));
    }
    return found;
  }
}

function isIdeograph(char) {
  const code = char.codePointAt(0);
  return IDEOGRAPHS.some(([first, last]) => first <= code && code <= last);
}
