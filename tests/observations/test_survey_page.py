"""The page of a survey as headless Chromium shows it: ten thousand rows, hostile names, sorting, filter, pictures."""

from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from sbi_clustermass.estimator.verdict import Grade, Reason
from sbi_clustermass.observations import MassResult, NoMassResult, mass_row
from sbi_clustermass.observations.survey_page import survey_page, warning_kind

EVIL = "</script><script>document.title='bad'</script><img src=x onerror=\"document.title='bad'\">"
MANY = 10_000
ROWS = "[...document.querySelectorAll('#rows tbody tr')]"
NAMES = ROWS + ".map(row => row.cells[0].textContent)"
SORT = "document.querySelector('#rows th[data-column=\"%s\"] button').click()"


def column(name):
    at = f"[...document.querySelector('#rows thead tr').cells].findIndex(h => h.dataset.column === '{name}')"
    return f"{ROWS}.map(row => row.cells[{at}].textContent)"


@pytest.fixture(scope="module")
def masses(results) -> list[MassResult]:
    """Forty masses with different names and numbers."""
    return [result for result in results if isinstance(result, MassResult)]


@pytest.fixture(scope="module")
def many(masses, stamp, tmp_path_factory):
    """Ten thousand rows, one of them hostile, one without a mass, ten with pictures."""
    folder = tmp_path_factory.mktemp("page")
    picture = BytesIO()
    Image.new("RGB", (40, 20), "red").save(picture, format="png")
    with survey_page(folder / "survey.html", f"Survey {EVIL}", stamp, inline=3) as add:
        add(replace(masses[0], cluster=replace(masses[0].cluster, name=EVIL), reasons=(Reason(EVIL),)), None)
        add(NoMassResult("nothing", "nothing.csv: no such file.\n  try: another"), None)
        for i in range(MANY - 2):
            mass = masses[i % len(masses)]
            path = None
            if i < 10:
                path = folder / "pictures of it" / f"C{i}#.png"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(picture.getvalue())
            grade = Grade.CARE if i % 4 == 0 else Grade.USE
            reasons = (Reason(f"{i} galaxies; the training clusters had 10 to 628", grade, 0.1),)
            add(replace(mass, cluster=replace(mass.cluster, name=f"Abell {i}"), reasons=reasons), path)
    return folder / "survey.html"


@pytest.fixture(scope="module")
def page(browser, many):
    return browser.open(many)


def test_ten_thousand_rows_open_without_errors_and_only_a_page_of_them_is_drawn(page, many):
    assert page.errors == []
    assert [url for url in page.requests if not url.startswith("data:")] == [many.resolve().as_uri()]
    assert page.evaluate(ROWS + ".length") == 100
    assert page.evaluate("document.getElementById('count').textContent") == f"{MANY} of {MANY} clusters"
    slow = page.evaluate("(() => { const t = performance.now(); arrange(); return performance.now() - t; })()")
    assert slow < 2000  # [ms]: 10 or so on an idle machine


def test_hostile_names_stay_text(page):
    assert page.evaluate("document.title").startswith("Survey </script>")
    assert page.evaluate(NAMES)[0] == EVIL
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


def test_a_heading_sorts_all_rows_by_number_and_a_third_click_restores_the_order(page, masses):
    medians = sorted(f"{result.percentiles[1]:.3f}" for result in masses)
    page.evaluate(SORT % "log10_mass_p50")
    assert page.evaluate(column("log10_mass_p50"))[0] == medians[0]
    page.evaluate(SORT % "log10_mass_p50")
    assert page.evaluate(column("log10_mass_p50"))[0] == medians[-1]
    state = "document.querySelector('#rows th[data-column=log10_mass_p50]').getAttribute('aria-sort')"
    assert page.evaluate(state) == "descending"
    page.evaluate(SORT % "log10_mass_p50")
    assert page.evaluate(NAMES)[:2] == [EVIL, "nothing"]
    assert page.evaluate(state) is None


def test_names_sort_as_people_count_and_rows_without_a_number_stay_last(page):
    page.evaluate(SORT % "name")
    names = [name for name in page.evaluate(NAMES) if name.startswith("Abell")]
    assert names[:12] == [f"Abell {i}" for i in range(12)]  # 10 after 9
    page.evaluate(SORT % "log10_mass_p50")
    page.evaluate("document.getElementById('last').click()")
    assert page.evaluate(NAMES)[-1] == "nothing"
    page.evaluate(SORT % "log10_mass_p50")
    page.evaluate(SORT % "log10_mass_p50")


def test_the_filter_finds_names_and_the_choice_finds_masses_of_a_verdict(page):
    find = "document.getElementById('filter').value = '%s'; arrange()"
    page.evaluate(find % "abell 99")
    expected = {f"Abell {i}" for i in range(MANY - 2) if str(i).startswith("99")}
    assert page.evaluate("document.getElementById('count').textContent") == f"{len(expected)} of {MANY} clusters"
    page.evaluate(find % "no such name")
    assert page.evaluate("document.getElementById('page').textContent") == "none"
    page.evaluate(find % "")
    for which, n in (("care", 2501), ("no mass", 1), ("use", MANY - 2502), ("do not use", 0), ("all", MANY)):
        page.evaluate(f"document.getElementById('which').value = '{which}'; arrange()")
        assert page.evaluate("document.getElementById('count').textContent") == f"{n} of {MANY} clusters"


def test_pages_turn_to_the_end_and_back(page):
    page.evaluate("document.getElementById('next').click()")
    assert page.evaluate("document.getElementById('page').textContent") == f"101 to 200 of {MANY}"
    page.evaluate("document.getElementById('last').click()")
    assert page.evaluate(NAMES)[-1] == f"Abell {MANY - 3}"
    assert page.evaluate("document.getElementById('next').disabled")
    page.evaluate("document.getElementById('first').click()")


def test_the_first_pictures_open_in_the_page_and_the_others_are_links(page, many):
    page.evaluate("document.querySelector('#rows tbody button.link').click()")
    assert page.evaluate("document.getElementById('viewer').open")
    size = (
        "(async () => { const i = document.querySelector('#viewer img'); await i.decode(); return i.naturalWidth })()"
    )
    assert page.evaluate(size) == 40
    page.evaluate("document.getElementById('viewer').close()")
    links = page.evaluate("[...document.querySelectorAll('#rows tbody a')].map(a => a.href)")
    assert len(links) == 7
    assert links[0] == (many.parent / "pictures of it" / "C3#.png").resolve().as_uri()


def test_all_that_can_be_clicked_can_be_reached_and_named_without_a_mouse(page):
    inert = "[...document.querySelectorAll('#rows thead th')].filter(h => !h.querySelector('button')).length"
    assert page.evaluate(inert) == 0
    unnamed = "[...document.querySelectorAll('button, input, select')].filter(e => !(e.textContent || e.labels.length))"
    assert page.evaluate(unnamed + ".length") == 0
    assert page.evaluate("document.querySelector('.tall').tabIndex") == 0


def test_the_page_is_not_wider_than_a_phone(browser, many):
    page = browser.open(many, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_summary_counts_masses_and_kinds_of_reasons(many):
    text = many.read_text(encoding="utf-8")
    assert f'masses</th><td class="number">{MANY - 1}</td>' in text
    assert 'masses: care</th><td class="number">2501</td>' in text
    assert '… galaxies; the training clusters had … to …</th><td class="number">2500</td>' in text
    assert 'no mass: no such file.</th><td class="number">1</td>' in text


def test_the_numbers_of_the_page_are_those_of_the_table(masses, stamp, tmp_path):
    with survey_page(tmp_path / "s.html", "A survey", stamp) as add:
        for result in masses[:3]:
            add(result, None)
    text = (tmp_path / "s.html").read_text(encoding="utf-8")
    for result in masses[:3]:
        row = mass_row(result, stamp)
        assert f'"{row["M200c"]:.2f}"' in text
        assert f'"{row["velocity_dispersion"]:.0f}"' in text


def test_an_interrupted_page_leaves_nothing(stamp, masses, tmp_path):
    def run():
        with survey_page(tmp_path / "s.html", "A survey", stamp) as add:
            add(masses[0], None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("12 galaxies around 227.791, -5.282 against 19", "… galaxies around …, … against …"),
        ("reach 0.80 h^-1 Mpc, 35% of M200c", "reach … h^-1 Mpc, … of M200c"),
        ("moves by +0.05 dex, 1.5e-3", "moves by … dex, …"),
    ],
)
def test_warnings_of_one_kind_differ_in_numbers_only(sentence, kind):
    assert warning_kind(sentence) == kind
