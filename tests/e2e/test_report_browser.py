"""The report in a real headless Chromium: at desktop and phone width, in both themes, by mouse and by keyboard."""

import json

import pytest

from lineal.audit.report import write_report
from tests.e2e.browser import CHROMIUM, Browser
from tests.unit.audit_project import made_project
from tests.unit.test_stored_episodes import made_project as played_project

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")
MEASURE = """(() => {
  if (OPEN) document.querySelectorAll('details').forEach(element => { element.open = true; });
  const root = document.documentElement, shown = element => element.checkVisibility();
  const inside = element => element.closest('.scroll, nav');
  const wide = [...document.querySelectorAll('body *')].filter(element => shown(element) && !inside(element)
    && element.getBoundingClientRect().right > root.clientWidth + 0.5).map(element => element.outerHTML.slice(0, 120));
  const texts = [...document.querySelectorAll('svg text')].filter(shown);
  const small = texts.map(text => parseFloat(getComputedStyle(text).fontSize)
    * text.ownerSVGElement.getBoundingClientRect().width / text.ownerSVGElement.viewBox.baseVal.width);
  const cut = texts.filter(text => {
    const own = text.getBoundingClientRect(), all = text.ownerSVGElement.getBoundingClientRect();
    return own.right > all.right + 1 || own.left < all.left - 1 || own.bottom > all.bottom + 1; }).map(text => text.textContent);
  const over = [...document.querySelectorAll('.lineage .step')].filter(shown).filter(step => {
    const box = step.querySelector('.box').getBoundingClientRect();
    return [...step.querySelectorAll('text')].some(text => text.getBoundingClientRect().right > box.right); })
    .map(step => step.textContent);
  return {scroll: root.scrollWidth, client: root.clientWidth, wide, cut, over, smallest: Math.min(...small)};
})()"""
ROW = "details[open] > div > details[open] > div > details.row"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("browser")
    write_report(made_project(root / "project"), root / "report.html")
    return root / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
        assert opened.complaints == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("opened", [True, False])
def test_report_fits_its_width_and_its_pictures_can_be_read(browser, report, width, opened):
    browser.show(report, width)
    found = browser.ask(MEASURE.replace("OPEN", json.dumps(opened)))
    assert found["wide"] == []
    assert found["scroll"] <= found["client"] == width
    assert found["cut"] == []
    assert found["over"] == []
    assert found["smallest"] >= 9


@pytest.mark.parametrize("width", [390, 1280])
def test_ancestry_opens_and_closes_by_a_click(browser, report, width):
    browser.show(report, width)
    way = f"document.querySelector('{ROW} .way').checkVisibility()"
    assert not browser.ask(way)
    browser.click(f"{ROW} > summary")
    assert browser.ask(way)
    text = browser.ask(f"document.querySelector('{ROW} .way').innerText")
    for word in (
        "Judged",
        "Sampled",
        "By the model",
        "start/checkpoint",
        "base",
        "From prompt",
        "tiny/tasks/train",
    ):
        assert word in text
    browser.click(f"{ROW} > summary")
    assert not browser.ask(way)


def test_ancestry_opens_by_keyboard_alone(browser, report):
    browser.show(report, 1280)
    for _ in range(60):
        browser.press("Tab", 9)
        if browser.ask("document.activeElement.matches('details.row > summary')"):
            break
    browser.press("Enter", 13, "\r")
    assert browser.ask("document.activeElement.parentElement.open")
    assert browser.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_rows_are_filtered_by_verdict_and_decision(browser, report):
    browser.show(report, 1280)
    words = f"[...document.querySelectorAll('{ROW}')].filter(row => row.checkVisibility()).map(row => row.className)"
    every = browser.ask(words)
    browser.click("label:has(#verdict-fail)")
    assert browser.ask(words) == [name for name in every if "v-fail" in name]
    browser.click("label:has(#decision-kept)")
    assert browser.ask(words) == [name for name in every if "v-fail" in name and "d-kept" in name]
    browser.click("label:has(#verdict-all)")
    assert browser.ask(words) == [name for name in every if "d-kept" in name] != []


def test_a_step_of_the_lineage_leads_to_its_artifact_though_that_is_folded_away(browser, report):
    browser.show(report, 390)
    card = "document.getElementById('tiny/round_02/filtered')"
    assert not browser.ask(f"{card}.checkVisibility()")
    browser.click("svg.lineage a[href='#tiny/round_02/filtered']")
    assert browser.ask(f"{card}.checkVisibility()")
    assert browser.ask("location.hash") == "#tiny/round_02/filtered"


def test_report_runs_no_script_even_one_that_slipped_in(browser, report, tmp_path):
    page = report.read_text()
    injected = page.replace(
        "<main>", '<main><script>window.ran = true</script><img src="x" onerror="window.ran = true">'
    )
    assert injected != page
    (tmp_path / "injected.html").write_text(injected)
    browser.show(tmp_path / "injected.html", 1280)
    assert browser.ask("window.ran === undefined")
    assert browser.complaints
    assert all("Content Security Policy" in json.dumps(entry) for entry in browser.complaints)
    browser.complaints.clear()


def test_report_follows_the_dark_theme_and_stays_readable(browser, report):
    colours = """['body', '.line', 'details.row', '.heat td', '.label'].map(name => {
      const own = getComputedStyle(document.querySelector(name)); return [own.backgroundColor, own.color, own.stroke]; })"""
    browser.show(report, 1280)
    light = browser.ask(colours)
    browser.show(report, 1280, dark=True)
    dark = browser.ask(colours)
    assert all(one != other for one, other in zip(light, dark, strict=True))


@pytest.mark.parametrize("width", [390, 1280])
def test_report_picture_is_not_blank(browser, report, tmp_path, width):
    browser.show(report, width)
    browser.picture(tmp_path / "shot.png")
    assert len((tmp_path / "shot.png").read_bytes()) > 20_000


def test_turn_of_a_training_example_is_a_click_away_though_it_is_folded_away(browser, tmp_path):
    write_report(played_project(tmp_path / "played"), tmp_path / "report.html")
    for width in (390, 1280):
        browser.show(tmp_path / "report.html", width)
        link = "document.querySelector('#episodes .examples a').getAttribute('href').slice(1)"
        assert not browser.ask(f"document.getElementById({link}).checkVisibility()")
        browser.click("#episodes .examples a")
        assert browser.ask("document.querySelector('#episodes li:target').checkVisibility()")
        top, head = browser.ask(
            "[document.querySelector('li:target'), document.querySelector('nav')]"
            ".map((e, i) => e.getBoundingClientRect()[i ? 'bottom' : 'top'])"
        )
        assert top >= head, "the turn is not behind the navigation"
        found = browser.ask(MEASURE.replace("OPEN", "true"))
        assert found["scroll"] <= found["client"] == width
