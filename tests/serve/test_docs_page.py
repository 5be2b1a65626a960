"""The page of the API, in a browser: it needs nothing from other servers, and its examples work."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from bertedge.runtime import BertRuntime


@pytest.fixture(scope="module")
def page(browser: Any, url: str) -> Any:
    """The opened page. ``asked`` are the addresses that it loaded, ``said`` what its console says."""
    opened = browser.new_page()
    opened.asked, opened.said = [], []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.goto(f"{url}/docs")
    opened.locator("details").first.wait_for()
    yield opened
    opened.close()


def send(page: Any, path: str, bundle: str | None = None) -> tuple[str, str]:
    """Send the example of a route; gives the status and what the page shows."""
    route = page.locator(f'details[id="{path}"]')
    route.locator("summary").click()
    if bundle is not None:
        route.locator("select").select_option(label=bundle)
    route.get_by_role("button", name="Send").click()
    output = route.locator("pre[data-status]")
    output.wait_for()
    return output.get_attribute("data-status"), output.inner_text()


def test_an_example_is_sent(page: Any, models: dict[str, BertRuntime]) -> None:
    status, shown = send(page, "post/embed", "tags")
    assert status == "200"
    first = re.search(r"-?\d+\.\d+(?=,)", shown.partition("ms\n")[2])
    assert first is not None
    text = "She drank a cup of coffee in the kitchen."
    assert float(first[0]) == pytest.approx(float(models["tags"].encode(text, normalize=True)[0]), rel=1e-6)


def test_a_key_is_entered_on_the_page(browser: Any, folders: dict[str, Path]) -> None:
    from bertedge.serve.asgi_app import create_app
    from bertedge.serve.serve_settings import ServeSettings
    from tests.serve.running import running

    settings = ServeSettings(bundles=(folders["tags"],), threads=1, log_requests=False, api_key="open sesame")
    with running(create_app(settings)) as url:
        opened = browser.new_page()
        opened.goto(f"{url}/docs")
        opened.get_by_text("openapi.json cannot be read: 401").wait_for()
        opened.get_by_label("API key").fill("open sesame")
        opened.get_by_label("API key").press("Enter")
        opened.locator("details").first.wait_for()
        assert send(opened, "post/tag")[0] == "200"
        opened.close()


def test_an_error_is_shown(page: Any) -> None:
    route = page.locator('details[id="post/fill-mask"]')
    route.locator("summary").click()
    route.get_by_label("Body of POST /fill-mask").fill('{"texts": "no mask"}')
    route.get_by_role("button", name="Send").click()
    route.locator('pre[data-status="422"]').wait_for()
    assert "write [MASK] where a word is to be filled in" in route.inner_text()
    page.said[:] = [line for line in page.said if "status of 422" not in line]  # the browser's own line


def test_facts_are_shown(page: Any) -> None:
    status, shown = send(page, "get/info")
    assert (status, '"model_sha256"' in shown) == ("200", True)


def test_nothing_comes_from_other_servers(page: Any, url: str) -> None:
    assert [address for address in page.asked if not address.startswith((url, "data:"))] == []
    assert page.said == []  # nor did the policy of the page stop anything
    with urllib.request.urlopen(f"{url}/docs") as response:
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_everybody_can_use_it(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found = axe.Axe().run(page)
    assert [rule["id"] for rule in found.response["violations"]] == []
