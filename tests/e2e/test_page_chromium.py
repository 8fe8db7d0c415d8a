"""The report page in a real browser: nothing fetched, no errors, no overflow, readable in light and dark."""

import contextlib
from pathlib import Path

import pytest

from ablate.report.pages import html
from ablate.report.sources import records
from tests.e2e.chromium import browser, shot

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
DEMO = Path("docs/records/pe_type-mnist5k.jsonl")  # as the page names it, on no one's machine

CONTRAST = """() => {
  const luminance = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
  };
  return [...document.querySelectorAll("p, li, td, th, dd, dt, figcaption, svg text")].map(element => {
    const style = getComputedStyle(element);
    const pair = [element.tagName === "text" ? style.fill : style.color, behind(element)].map(luminance).sort();
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  });
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    with contextlib.chdir(ROOT):
        path.write_text(html.page(records.read(DEMO)), "utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_page_in_chromium_fits_and_is_readable(file, tmp_path, width, scheme):
    with browser() as chromium:
        seen, said, failed = [], [], []
        tab = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab.on("request", lambda request: seen.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: failed.append(str(error)))
        tab.goto(file.as_uri())
        picture = shot(tab, f"report-{width}-{scheme}.png", tmp_path, full_page=True)
        assert seen == [file.as_uri()] and said == failed == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("[...document.querySelectorAll('svg')].every(s => s.getBoundingClientRect().height > 80)")
        assert min(tab.evaluate(CONTRAST)) > 4.5  # WCAG 2.2, level AA
        smallest = "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))"
        assert tab.evaluate(smallest) > 7
        assert picture.stat().st_size > 10_000
