"""The report as headless Chromium shows it."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from sbi_clustermass.estimator.run_report import sections_of_run
from sbi_clustermass.report import html, write

PHONE = 390  # [CSS pixels]
WIDER = """[...document.querySelectorAll("body *")]
    .filter(e => !e.closest(".scroll > *, pre > *") && e.getBoundingClientRect().right > innerWidth + 0.5)
    .map(e => e.outerHTML.slice(0, 200))"""
COLUMN = """[...document.querySelector("table.sortable").tBodies[0].rows].map(row => row.cells[%d].textContent)"""
CLICK = """document.querySelector("table.sortable").tHead.rows[0].cells[%d].querySelector("button").click()"""
SORTED = """document.querySelector("table.sortable").tHead.rows[0].cells[%d].getAttribute("aria-sort")"""
LUMINANCE = """(() => {
    const light = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const paper = e => {
        for (; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (colour !== "rgba(0, 0, 0, 0)") return light(colour);
        }
        return 1;
    };
    const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    return [...document.querySelectorAll("body *")].filter(e => own(e) && e.tagName !== "SCRIPT").map(e => {
        const pair = [light(getComputedStyle(e).color), paper(e)].sort((a, b) => b - a);
        return [(pair[0] + 0.05) / (pair[1] + 0.05), e.outerHTML.slice(0, 100)];
    }).sort((a, b) => a[0] - b[0])[0];
})()"""


@pytest.fixture(scope="module")
def report(run_folder, tmp_path_factory) -> Path:
    """The report of a run."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write(path, "A run", sections_of_run(run_folder))
    return path


def test_the_page_opens_without_errors_and_asks_for_nothing_but_itself(browser, report):
    page = browser.open(report)
    assert page.errors == []
    assert [url for url in page.requests if not url.startswith("data:")] == [report.resolve().as_uri()]


def test_every_picture_is_drawn_at_its_size_and_has_an_alternative_text(browser, report):
    pictures = browser.open(report).evaluate(
        "[...document.images].map(i => [i.naturalWidth, i.clientWidth, i.clientHeight, i.width, i.height, i.alt])"
    )
    assert len(pictures) == 4  # residuals, masses, history, prior
    for natural, width, height, *_, alt in pictures:
        assert natural >= width > 100  # sharp, and to be seen
        assert height > 100
        assert len(alt) > 20


@pytest.mark.parametrize("width", [320, PHONE, 768, 1280])
def test_the_page_is_not_wider_than_the_window(browser, report, width):
    page = browser.open(report, width=width)
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER) == []


def test_a_wide_table_scrolls_in_its_own_box(browser, report):
    box = "document.querySelector('table.wide').parentElement"
    page = browser.open(report, width=PHONE)
    assert page.evaluate(f"{box}.scrollWidth > 2 * {box}.clientWidth")
    assert page.evaluate(f"({box}.scrollLeft = 200, {box}.scrollLeft)") == 200
    assert page.evaluate("scrollX") == 0


def test_a_click_on_a_heading_sorts_by_number_and_a_third_restores_the_order(browser, report):
    page = browser.open(report)
    before = page.evaluate(COLUMN % 2)
    numbers = [float(cell.split()[0]) for cell in before if cell]
    found = []
    for _ in range(3):
        page.evaluate(CLICK % 2)
        found.append((page.evaluate(SORTED % 2), page.evaluate(COLUMN % 2)))
    (up, rising), (down, falling), (none, after) = found
    assert (up, down, none) == ("ascending", "descending", None)
    assert [float(cell.split()[0]) for cell in rising[:-1]] == sorted(numbers)  # -10 before -9: not as text
    assert [float(cell.split()[0]) for cell in falling[:-1]] == sorted(numbers, reverse=True)
    assert (rising[-1], falling[-1]) == ("", "")  # empty cells stay last
    assert after == before


def test_headings_descend_one_level_at_a_time_and_tables_have_scoped_headers(browser, report):
    page = browser.open(report)
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert page.evaluate("document.documentElement.lang") == "en"
    scopes = page.evaluate("[...document.querySelectorAll('th')].map(h => h.scope)")
    assert set(scopes) == {"col", "row"}
    assert page.evaluate("[...document.querySelectorAll('tr')].every(r => r.querySelector('th'))")


def test_every_link_within_the_page_leads_somewhere_and_no_anchor_is_there_twice(browser, report):
    page = browser.open(report)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    targets = page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => decodeURIComponent(a.hash))")
    assert {target[1:] for target in targets} <= set(ids)
    labels = page.evaluate(
        "[...document.querySelectorAll('[aria-labelledby]')].map(e => e.getAttribute('aria-labelledby'))"
    )
    assert set(labels) <= set(ids)


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_paper(browser, report, dark):
    page = browser.open(report, dark=dark)
    contrast, where = page.evaluate(LUMINANCE)
    assert contrast >= 4.5, where  # WCAG 2.1, level AA
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (min(map(int, re.findall(r"\d+", paper))) < 64) is dark


def test_the_page_prints_in_light_colours_with_no_picture_cut_off(browser, report):
    page = browser.open(report, dark=True)
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    browser.call("Emulation.setEmulatedMedia", page.session, media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    breaks = page.evaluate("[...document.querySelectorAll('figure')].map(f => getComputedStyle(f).breakInside)")
    assert set(breaks) == {"avoid"}
    heights = page.evaluate("[...document.images].map(i => i.clientHeight)")
    assert max(heights) <= 20 / 2.54 * 96 + 1  # 20 cm: the height of a page less its caption


def test_a_script_in_a_text_is_shown_and_does_not_run(browser, tmp_path):
    from sbi_clustermass.report import Section

    evil = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
    path = tmp_path / "evil.html"
    path.write_text(html("Safe", [Section(evil, [evil, f"`{evil}`"], commands=[evil])]), encoding="utf-8")
    page = browser.open(path)
    assert page.evaluate("document.title") == "Safe"
    assert page.evaluate("document.querySelector('h2').textContent") == evil
    assert page.evaluate("document.querySelector('pre').textContent") == evil
    assert page.errors == []


def test_a_script_that_got_into_the_page_all_the_same_is_not_run(browser, tmp_path):
    page_text = html("Safe", []).replace("</main>", "<script>document.title = 'taken'</script></main>")
    path = tmp_path / "broken.html"
    path.write_text(page_text, encoding="utf-8")
    page = browser.open(path)
    assert page.evaluate("document.title") == "Safe"
    assert any("Content Security Policy" in error for error in page.errors)  # so the test can tell errors at all
