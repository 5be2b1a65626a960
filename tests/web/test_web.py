"""The same bundles through onnxruntime's packages for JavaScript: in Node, and in a headless Chromium.

The packages come from ``npm install`` in ``benchmarks/web``; where something is missing, the tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tokenizers

import bertedge
from bertedge.bundle import Bundle
from bertedge.predictor import Row
from bertedge.probabilities import softmax
from bertedge.quantization import export, quantize
from bertedge.runtime.bert_runtime import BertRuntime
from bertedge.runtime.golden import tolerance_of
from tests.conftest import FLOAT, KINDS

PAGE = Path(__file__).parents[2] / "benchmarks" / "web"
PACKAGES = {"node": "onnxruntime-node", "web": "onnxruntime-web"}
OLDEST_NODE = 20
#: Of a float model's logits; another order of summing floats.
FLOAT_TOLERANCE = 1e-4
TEXTS: list[tuple[str, str | None]] = [
    ("The cat [MASK] on the mat.", None),
    ("A ship [MASK] the port, and by [MASK] it was far from land.", None),
    ("Bread needs flour, water, [MASK] and time.", "Bake it until the crust is dark."),
    ("It was a warm day.", "The judge gave no answer that day."),
]
TRICKY = [
    "Hello, World!",
    "  spaces \t tabs\nlines\r\nand\u00a0others\u2003too\u3000 ",
    "caf\u00e9 cafe\u0301 \u00c5ngstr\u00f6m na\u00efve \u0130stanbul STRASSE stra\u00dfe",
    "\u03a3\u03a3 \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03c2",  # the last sigma of a word
    "\u4e2d\u6587\u5b57 and \u65e5\u672c\u8a9e, \ud55c\uad6d\uc5b4 \U00020000\U0002a700 \uf900",
    "soft\u00adhyphen zero\u200bwidth \u200fmark bell\x07 nul\x00 \ufffd \ue000 \x0b\x0c\x85",
    "a+b=c ^_^ `quoted` $5 ~x| <tag> {json: [1, 2]} e-mail@example.org http://x.y/z?q=1#f",
    "\u00ab\u201cquotes\u201d\u00bb \u2013 \u2014 \u2026 \u20ac5 \u00a9 \u2122 \u00bd",
    "\U0001f600 \U0001f469\u200d\U0001f680 \u2764\ufe0f \U0001d504",
    "x" * 100,
    "x" * 101,
    "unbelievablyuncharacteristically antidisestablishmentarianism",
    "[MASK][MASK] a[MASK]b [mask] [ MASK ] [CLS] and [SEP] [UNK] [PAD] [[MASK]]",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0627\u0644\u0639\u064e\u0631\u064e\u0628\u0650\u064a\u0651\u0629",
    "\u0e44\u0e17\u0e22 \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u05e9\u05dc\u05d5\u05dd",
]
#: Characters whose class has changed since the library's tables were made.
RECLASSED = set("\u166d\u1734\u1885\u1886")


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the packages."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node is not installed")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node is {version}, {OLDEST_NODE} or newer is needed")
    return found


def require_package(runtime: str) -> None:
    if not (PAGE / "node_modules" / PACKAGES[runtime] / "package.json").is_file():
        pytest.skip(f"{PACKAGES[runtime]} is not installed: npm install in benchmarks/web")


@pytest.fixture(scope="module", params=PACKAGES)
def runtime(request: pytest.FixtureRequest, node: str) -> str:
    require_package(request.param)
    return request.param


def asked(node: str, **question: Any) -> Any:
    """The answer of ``outputs.mjs``."""
    script = Path(__file__).with_name("outputs.mjs")
    done = subprocess.run([node, script], input=json.dumps(question), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def expected_outputs(bert: BertRuntime) -> list[dict[str, Any]]:
    """What Python makes of :data:`TEXTS`."""
    found = []
    for text, pair in TEXTS:
        encoding = bert.tokenizer.encode(text, pair)
        ids = np.asarray(encoding.input_ids)
        positions = np.flatnonzero(ids == bert.tokenizer.id_of("mask"))
        segments = np.asarray(encoding.token_type_ids)
        row = Row(input_ids=ids, token_type_ids=segments, masked_positions=positions)
        (values,) = bert.runner.run([row], lambda outputs: {name: value.copy() for name, value in outputs.items()})
        found.append({"ids": encoding.input_ids, "mlm": values["mlm"], "nsp": values["nsp"]})
    return found


def check_outputs(got: list[dict[str, Any]], bundle: Bundle) -> None:
    """The same ids; logits of a float model within its tolerance, else probabilities as ``verify`` forgives them.

    A float that is summed in another order may tip an int8 activation over the edge to its next step. How far the
    probabilities of this very bundle go then was measured where it was made.
    """
    expected = expected_outputs(bertedge.load(bundle.folder, threads=1))
    for one, other in zip(got, expected, strict=True):
        assert one["ids"] == other["ids"]
        for head in ("mlm", "nsp"):
            logits = np.asarray(one[head], dtype=np.float32).reshape(other[head].shape)
            if bundle.manifest.recipe is None:
                np.testing.assert_allclose(logits, other[head], rtol=0, atol=FLOAT_TOLERANCE)
            elif logits.size:
                np.testing.assert_allclose(softmax(logits), softmax(other[head]), rtol=0, atol=tolerance_of(bundle))


@pytest.mark.parametrize("positions", ["masked", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_node_gives_what_python_gives(
    node: str, runtime: str, kind: str, positions: str, bundle_of: Callable[..., Bundle]
) -> None:
    bundle = bundle_of(kind, positions=positions)
    check_outputs(asked(node, what="outputs", folder=str(bundle.folder), runtime=runtime, texts=TEXTS), bundle)


def test_weights_in_a_file_of_their_own(node: str, runtime: str, bundle_of: Callable[..., Bundle]) -> None:
    bundle = bundle_of("static", layout="split")
    check_outputs(asked(node, what="outputs", folder=str(bundle.folder), runtime=runtime, texts=TEXTS), bundle)


@pytest.mark.parametrize("kind", [FLOAT, "static"])
def test_an_ort_file_runs_too(
    node: str, runtime: str, kind: str, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    if kind == FLOAT:
        bundle = export(model_folder, tmp_path / "b", format="ort")
    else:
        bundle = quantize(model_folder, tmp_path / "b", target="portable", calibration=corpus_file, format="ort")
    check_outputs(asked(node, what="outputs", folder=str(bundle.folder), runtime=runtime, texts=TEXTS), bundle)


def test_sums_of_full_range_weights_are_exact_in_webassembly(node: str, tmp_path: Path) -> None:
    """255 * 127 * 3072 is the most that a feed-forward layer of BERT-base can add up."""
    require_package("web")
    rng = np.random.default_rng(0)
    weights = rng.choice([-127, 127], size=(3072, 24)).astype(np.int8)
    weights[:, :8], weights[:, 8:16] = 127, -127
    rows = rng.integers(0, 256, size=(7, 3072))
    rows[0] = 255
    integer, byte = onnx.TensorProto.INT32, onnx.TensorProto.UINT8
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMulInteger", ["input", "weights"], ["sums"])],
        "sums",
        [onnx.helper.make_tensor_value_info("input", byte, [None, 3072])],
        [onnx.helper.make_tensor_value_info("sums", integer, [None, 24])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "sums.onnx")
    got = asked(node, what="sums", model=str(tmp_path / "sums.onnx"), runtime="web", rows=rows.tolist())
    assert np.array_equal(np.reshape(got, (7, 24)), rows @ weights.astype(np.int64))


def old_characters() -> Iterator[str]:
    """Every character of Unicode 3.2 (2002), private and reclassed ones apart; Python keeps that version's tables."""
    for character in map(chr, range(0x110000)):
        unassigned = unicodedata.ucd_3_2_0.category(character) in ("Cn", "Cs", "Co")
        if not unassigned and character not in RECLASSED:
            yield character


@pytest.mark.parametrize("lowercase", [True, False])
def test_texts_are_split_as_in_python(node: str, lowercase: bool, built_in: Bundle, tmp_path: Path) -> None:
    """Tricky texts, and characters one by one."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        raw = json.loads((built_in.folder / name).read_text(encoding="utf-8"))
        if "normalizer" in raw:
            raw["normalizer"]["lowercase"] = lowercase
        (tmp_path / name).write_text(json.dumps(raw), encoding="utf-8")
    texts = [*TRICKY, *(f"a{one}b" for one in old_characters())]
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    got = asked(node, what="words", folder=str(tmp_path), texts=texts)
    for text, answer in zip(texts, got, strict=True):
        assert answer["ids"] == backend.encode(text).ids, text
        normalized = backend.normalizer.normalize_str(text)
        assert answer["words"] == [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normalized)], text


@pytest.fixture(scope="module")
def built_in(built_in_of: Callable[[str], Bundle]) -> Bundle:
    return built_in_of("portable")


def test_the_command_prints_the_words_of_fill_mask(node: str, runtime: str, built_in: Bundle) -> None:
    text = "World [MASK] II ended in [MASK]."
    arguments = [node, PAGE / "fill_mask.mjs", built_in.folder, text, "--runtime", runtime]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    got = [[line.split() for line in block.splitlines()] for block in done.stdout.split("\n\n")]
    for lines, fills in zip(got, bertedge.load(built_in.folder).fill_mask(text), strict=True):
        assert lines[0][1] == fills[0].token
        assert [float(line[0]) for line in lines] == pytest.approx([fill.probability for fill in fills], abs=0.01)


def test_a_mistake_gets_one_line(node: str, built_in: Bundle) -> None:
    require_package("node")
    for arguments, said in (
        ([built_in.folder, "no mask"], "no [MASK] in the text"),
        ([built_in.folder], "usage: node fill_mask.mjs"),
        ([built_in.folder, "a [MASK]" * 600], "the text has 1202 tokens, the model reads 512"),
        ([built_in.folder, "a [MASK]", "--runtime", "gpu"], "runtime gpu is not known: node or web"),
        (["nowhere", "a [MASK]"], "nowhere/manifest.json"),
    ):
        done = subprocess.run([node, PAGE / "fill_mask.mjs", *arguments], capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


class _Files(SimpleHTTPRequestHandler):
    """The page, and below ``/bundles/`` the bundles, wherever they lie."""

    def __init__(self, *args: Any, bundles: dict[str, Path], **options: Any) -> None:
        self._bundles = bundles
        super().__init__(*args, directory=str(PAGE), **options)

    def translate_path(self, path: str) -> str:
        parts = path.split("/")
        return str(self._bundles[parts[2]] / parts[3]) if parts[1] == "bundles" else super().translate_path(path)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def bundles() -> dict[str, Path]:
    """Name in the address -> folder."""
    return {}


@pytest.fixture(scope="module")
def address(bundles: dict[str, Path]) -> Iterator[str]:
    require_package("web")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, bundles=bundles)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def opened(browser: Any, address: str, bundles: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Open the page with a bundle, once its first answer is there, or its problem."""
    context = browser.new_context(viewport={"width": 390, "height": 800})

    def open_page(bundle: Bundle, name: str) -> Any:
        bundles[name] = bundle.folder
        page = context.new_page()
        page.goto(f"{address}/?bundle=bundles/{name}")
        page.wait_for_function("window.bert && !document.querySelector('button').disabled || problem.textContent")
        return page

    yield open_page
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_chromium_gives_what_python_gives(
    opened: Callable[..., Any], kind: str, bundle_of: Callable[..., Bundle]
) -> None:
    page = opened(bundle_of(kind), kind)
    code = """async ([text, pair]) => {
        const { ids, mlm, nsp } = await bert.run(text, pair ?? undefined);
        return { ids, mlm: mlm.map(row => [...row]), nsp: [...nsp] };
    }"""
    check_outputs([page.evaluate(code, [text, pair]) for text, pair in TEXTS], bundle_of(kind))


def test_the_page_fills_masks(
    browser: Any, address: str, opened: Callable[..., Any], built_in: Bundle, tmp_path: Path
) -> None:
    page = opened(built_in, "built-in")
    asked_for: list[str] = []
    page.on("request", lambda request: asked_for.append(request.url))
    text = "World [MASK] II ended in [MASK]."
    page.fill("#text", text)
    page.click("button")
    page.wait_for_function("document.querySelectorAll('#fills li').length === 10")
    words = page.locator("#fills .token").all_inner_texts()
    expected = bertedge.load(built_in.folder).fill_mask(text)
    assert [words[0], words[5]] == [fills[0].token for fills in expected]
    shares = [float(share.split()[0]) / 100 for share in page.locator("#fills .number").all_inner_texts()]
    assert shares == pytest.approx([fill.probability for fills in expected for fill in fills], abs=0.01)
    assert "static, for portable" in page.inner_text("#facts")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert asked_for == []  # nothing is fetched once the page is there
    page.screenshot(path=tmp_path / "page.png")


def test_the_page_says_what_is_wrong(opened: Callable[..., Any], built_in: Bundle) -> None:
    page = opened(built_in, "built-in")
    page.fill("#text", "no mask here")
    page.click("button")
    page.wait_for_function("problem.textContent")
    assert page.inner_text("#problem") == "no [MASK] in the text"
    assert page.locator("#fills li").count() == 0


def test_the_page_names_a_file_that_is_missing(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/?bundle=nowhere")
    page.wait_for_function("problem.textContent")
    assert "nowhere/manifest.json: 404" in page.inner_text("#problem")
    assert page.locator("button").is_disabled()
    page.close()


def test_versions_are_exact_and_the_same() -> None:
    pinned = json.loads((PAGE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert set(pinned) == set(PACKAGES.values())
    (version,) = set(pinned.values())
    assert all(part.isdigit() for part in version.split("."))
