"""How the page looks and behaves, in a headless Chromium: in both themes, from a phone to a desk, on paper."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PARTS = ("summary", "trade-off", "latency", "fidelity", "time", "bytes", "worst", "provenance")
WIDTHS = (320, 390, 768, 1280)
THEMES = ("light", "dark")


@pytest.fixture(scope="module", params=["measured_page", "hostile_page"])
def page_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(request.getfixturevalue(request.param), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def plain_file(measured_page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(measured_page, encoding="utf-8")
    return path


def opened(browser: Any, path: Path, *, theme: str = "light", width: int = 1280, **options: Any) -> Any:
    context = browser.new_context(
        color_scheme=theme, viewport={"width": width, "height": 800}, reduced_motion="reduce", **options
    )
    page = context.new_page()
    page.goto(path.as_uri())
    return page


def pixels(shot: bytes) -> np.ndarray:
    """(height, width, 3)."""
    from PIL import Image

    return np.asarray(Image.open(BytesIO(shot)).convert("RGB"))


def shades(image: np.ndarray) -> int:
    """How many colours cover at least ten pixels."""
    packed = image.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    _, counts = np.unique(packed, return_counts=True)
    return int((counts >= 10).sum())


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_no_wider_than_the_screen(browser: Any, page_file: Path, width: int) -> None:
    page = opened(browser, page_file, width=width)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """width => [...document.querySelectorAll('main *')]
            .filter(one => !one.closest('.scroll, svg') && one.getBoundingClientRect().right > width + 1)
            .map(one => one.outerHTML.slice(0, 120))""",
        width,
    )
    assert outside == []
    page.context.close()


def test_a_wide_table_scrolls_in_its_own_box(browser: Any, plain_file: Path) -> None:
    page = opened(browser, plain_file, width=320)
    box = page.locator("#fidelity .scroll").first
    assert box.evaluate("one => one.scrollWidth > one.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    for _ in range(100):  # it moves smoothly, and the page's policy forbids a script that waits for it
        if box.evaluate("one => one.scrollLeft"):
            break
        page.wait_for_timeout(20)
    assert box.evaluate("one => one.scrollLeft") > 0
    page.context.close()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [390, 1280])
def test_accessibility(browser: Any, page_file: Path, theme: str, width: int) -> None:
    """axe-core's rules: contrast of every text as it is rendered, names, roles, headings, tables, scrolling boxes."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = opened(browser, page_file, theme=theme, width=width)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    result = axe.Axe().run(page)
    found = [
        (violation["id"], node["html"][:150], node.get("failureSummary", "")[:300])
        for violation in result.response["violations"]
        for node in violation["nodes"][:3]
    ]
    assert found == []
    assert len(result.response["passes"]) > 15
    page.context.close()


def test_nothing_is_loaded_and_nothing_runs(browser: Any, page_file: Path) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(page_file.as_uri())
    assert asked == [page_file.as_uri()]
    assert said == []
    assert page.title() != "taken"
    assert page.evaluate("document.scripts.length + document.images.length") == 0
    context.close()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [390, 1280])
def test_screenshots_of_the_parts(browser: Any, plain_file: Path, theme: str, width: int, tmp_path: Path) -> None:
    page = opened(browser, plain_file, theme=theme, width=width)
    for part in PARTS:
        image = pixels(page.locator(f"#{part}").screenshot(path=tmp_path / f"{part}.png"))
        assert image.shape[0] > 100, part
        assert shades(image) > 8, part
        ground = np.median(image[::4, ::4])
        assert (ground > 200) if theme == "light" else (ground < 60), part
    for picture in page.locator(".drawing svg").all():
        image = pixels(picture.screenshot())
        assert shades(image) > 5
        heights = picture.locator("text").evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
        assert min(heights) >= 8
    page.context.close()


def test_texts_of_a_picture_do_not_touch_each_other(browser: Any, plain_file: Path) -> None:
    page = opened(browser, plain_file, width=390)
    touching = page.evaluate(
        """() => [...document.querySelectorAll('.drawing svg')].flatMap(svg => {
            const boxes = [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
            return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([b, q]) =>
                Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1 &&
                Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 5).map(([b]) => [a, b]));
        })"""
    )
    assert touching == []
    page.context.close()


def test_models_are_told_apart_without_colour(browser: Any, plain_file: Path) -> None:
    """In grey, the legend's shapes still differ from each other in many pixels."""
    page = opened(browser, plain_file, device_scale_factor=4)
    page.add_style_tag(content="html { filter: grayscale(1); }")
    shapes = [pixels(one.screenshot())[:, :, 0] for one in page.locator("#latency .legend .marker").all()]
    assert len(shapes) == 3
    inked = [shape[:56, :56] < 200 for shape in shapes]  # where one begins between pixels it is a little smaller
    for place, one in enumerate(inked):
        for other in inked[place + 1 :]:
            assert (one != other).mean() > 0.03
    page.context.close()


def test_paper(browser: Any, plain_file: Path) -> None:
    page = opened(browser, plain_file, theme="dark", width=800)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    hidden = page.locator("#worst details:not([open]) .case").first
    assert hidden.evaluate("one => one.getBoundingClientRect().height") > 20
    assert page.evaluate("document.documentElement.scrollWidth") <= 800
    paper = page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") > 2
    page.context.close()
