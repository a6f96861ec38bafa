"""report.html as a browser shows it: at a phone's and a desk's width, and on paper."""

import cv2
import numpy as np
import pytest
from chromium import find_chromium, look, paint, print_pdf
from made_reports import hostile

from facekd.eval.report import write_report

PHONE, DESK = (360, 740), (1280, 900)
COLOURS = {"blue": (0xB2, 0x72, 0x00), "vermilion": (0x00, 0x5E, 0xD5)}  # BGR, models 1 and 2
MEASURE = """(page, window) => {
  const box = e => { const r = e.getBoundingClientRect();
                     return [r.left, r.top, r.width, r.height]; };
  const all = (selector, root = page) => [...root.querySelectorAll(selector)];
  return {
    width: window.innerWidth, scroll: page.documentElement.scrollWidth,
    height: page.documentElement.scrollHeight,
    scripts: page.scripts.length, loaded: window.performance.getEntriesByType("resource").length,
    wide: all("body *").filter(e => !e.closest(".scroll table, svg"))
      .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.tagName),
    tables: all(".scroll").map(e => [e.clientWidth, e.scrollWidth]),
    rows: all("tr").map(e => e.cells.length),
    figures: all("figure svg").map(svg => ({
      box: box(svg), label: svg.getAttribute("aria-label"),
      paths: all("path", svg).filter(p => !p.closest("defs"))
        .filter(p => { const b = p.getBBox(); return b.width + b.height > 0; }).length,
      texts: all("text", svg).map(t => [t.textContent, ...box(t)]),
      smallest: Math.min(...all("text", svg).map(t =>
        parseFloat(window.getComputedStyle(t).fontSize) * svg.clientWidth
          / svg.viewBox.baseVal.width)),
    })),
    headings: all("h1, h2").map(e => e.textContent),
  };
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    find_chromium()
    folder = tmp_path_factory.mktemp("page")
    write_report(hostile(), folder)
    return folder / "report.html"


@pytest.fixture(scope="module", params=[PHONE, DESK], ids=["phone", "desk"])
def seen(page, request):
    return look(page, *request.param, MEASURE)


def test_the_console_is_clean_and_nothing_is_loaded_or_run(seen):
    assert seen.console == ["measured"]  # the test's own line, so the console is heard
    assert seen.requests == ["/frame", "/report.html"]
    assert (seen.measured["scripts"], seen.measured["loaded"]) == (0, 0)


def test_the_page_does_not_overflow(seen):
    found = seen.measured
    assert found["width"] in (PHONE[0], DESK[0])
    assert found["scroll"] <= found["width"]
    assert found["wide"] == []
    assert all(client <= found["width"] for client, _ in found["tables"])
    if found["width"] == PHONE[0]:  # wide tables scroll inside their own box
        assert any(inner > client for client, inner in found["tables"])


def test_names_are_shown_as_they_are(seen):
    assert seen.measured["headings"][0].startswith('Face verification: ../<b>l/f&w</b>, "quoted"')
    texts = {text for figure in seen.measured["figures"] for text, *_ in figure["texts"]}
    assert "<script>alert(1)</script>" in texts  # over its histogram
    assert {"$b$", "<a>", "c & d"} <= texts
    assert any(text.startswith("_under|bar \\ {%}#~^: ") for text in texts)


def test_figures_are_drawn_and_their_words_stay_inside(seen):
    figures = seen.measured["figures"]
    assert len(figures) == 3 * 3 + 1 + 1  # ROC, DET and scores of three benches, reject, groups
    for figure in figures:
        left, top, width, height = figure["box"]
        assert width > 250
        assert height > 200
        assert figure["paths"] > 10
        assert figure["smallest"] >= 9  # pixels
        assert len(figure["label"]) > 40
        for text, x, y, w, h in figure["texts"]:
            inside = x >= left - 1 and x + w <= left + width + 1
            assert inside, (figure["label"][:40], text, x - left, x + w - left, width)
            assert top - 1 <= y, text
            assert y + h <= top + height + 2, text


def test_figures_are_painted(page, seen, tmp_path):
    found = seen.measured
    paint(page, found["width"], found["height"], tmp_path / "page.png")
    image = cv2.imread(str(tmp_path / "page.png")).astype(int)
    for figure in found["figures"]:
        left, top, width, height = map(round, figure["box"])
        part = image[top : top + height, left : left + width]
        assert part.size > 0
        assert part.std() > 15  # not blank
        for colour in COLOURS.values():
            assert (np.abs(part - colour).max(axis=2) < 30).sum() > 25, figure["label"][:40]


def test_dark_rooms_get_a_dark_page(page, tmp_path):
    paint(page, *DESK, tmp_path / "dark.png", "--blink-settings=preferredColorScheme=0")
    paint(page, *DESK, tmp_path / "light.png", "--blink-settings=preferredColorScheme=1")
    dark, light = (cv2.imread(str(tmp_path / f"{name}.png")).mean() for name in ("dark", "light"))
    assert dark < 60
    assert light > 200


def test_it_prints_on_a_few_pages(page, tmp_path):
    print_pdf(page, tmp_path / "page.pdf")
    pages = (tmp_path / "page.pdf").read_bytes().count(b"/Type /Page\n")
    assert 4 <= pages <= 20
