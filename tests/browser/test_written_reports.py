"""The reports of an evaluation and of an A/B test as a browser shows them: from a disk, without a network, in both
languages, with their own fonts."""

import ab_sample
import pytest
import report_sample
from playwright.sync_api import Page, expect

from so8t_engine.evaluate import ab_page
from so8t_engine.evaluate.page import page as page_of

HOSTILE = (
    "</pre><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"
    '<style>body{display:none}</style><iframe src="https://example.org/"></iframe><a href="javascript:alert(1)">x</a>'
)


def evaluation() -> str:
    """With a hostile prompt in it, as the other one."""
    cases = report_sample.rows(160)
    cases[3] |= {"prompt": HOSTILE, "domain": HOSTILE}
    cases[3]["scored"] |= {"given": "ALLOW"}
    results = report_sample.results(cases)
    results["model"] |= {"name": f"再学習 {HOSTILE}", "base": HOSTILE}
    return page_of(results, cases)


def ab_test() -> str:
    results, cases = ab_sample.made(160)
    cases["generated"][3] |= {"prompt": HOSTILE, "domain": HOSTILE, "change": "broken"}
    cases["generated"][3]["retrained"] |= {"given": "ALLOW"}
    cases["generated"][3]["index"] = -1  # the first of the most harmful ones
    results["models"]["base"] |= {"name": f"再学習 {HOSTILE}", "base": HOSTILE}
    return ab_page.page(results, cases)


REPORTS = {
    evaluation: ("#lead h2", "危険な許可と過剰な拒否", "Unsafe ALLOW and over-refusal"),
    ab_test: ("#verdict h2", "判定", "Verdict"),
}
"""A title of each, in both languages."""


@pytest.fixture(scope="module", params=REPORTS, ids=lambda made: made.__name__)
def report(request, tmp_path_factory):
    """(file, a title's place and words)."""
    file = tmp_path_factory.mktemp("report") / "試し & <report>.html"
    file.write_text(request.param(), encoding="utf-8")
    return file, *REPORTS[request.param]


@pytest.fixture
def opened(chromium, report):
    """Opens the report. What it asks for, or complains of, fails the test."""
    file = report[0]
    complaints: list[str] = []
    contexts = []

    def open_report(**options) -> Page:
        contexts.append(chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | options)))
        page = contexts[-1].new_page()
        page.on(
            "request",
            lambda request: (
                request.url != file.as_uri() and request.url[:5] != "data:" and complaints.append(request.url)
            ),
        )
        page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(file.as_uri())
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("script", [True, False], ids=["script", "no_script"])
def test_the_switch_shows_one_language(opened, report, script):
    _, place, japanese, english = report
    page = opened(java_script_enabled=script)
    title = page.locator(place)
    expect(title).to_have_text(japanese, use_inner_text=True)
    page.locator("label[for=en]").click()
    expect(title).to_have_text(english, use_inner_text=True)
    expect(page.locator("body [lang=ja]:visible")).to_have_count(0)
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text(japanese, use_inner_text=True)
    expect(page.locator("body [lang=en]:visible")).to_have_count(0)


def test_markup_in_a_prompt_stays_a_text(opened, report):
    page = opened()
    assert page.locator("#cases pre, #changed pre").first.inner_text() == HOSTILE
    assert page.title().startswith("再学習 </pre>")
    assert page.locator("script, img, iframe, a, style:not(head style)").count() == 0
    expect(page.locator(report[1])).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_runs_over_the_edge(opened, width):
    page = opened(viewport={"width": width, "height": 900})
    for language in ("ja", "en"):
        page.locator(f"label[for={language}]").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        cut = page.evaluate(
            "[...document.querySelectorAll('#lead ~ #classes .wide, #confusion .wide, #change .wide, .differences')]"
            ".filter(e => e.scrollWidth > e.clientWidth).length"
        )
        assert cut == 0, "these tables are seen in whole"


def test_light_and_dark_follow_the_system_and_paper_is_light(opened):
    colours = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    page = opened(color_scheme="dark")
    assert page.evaluate(colours) == ["rgb(17, 19, 21)", "rgb(232, 234, 237)"]
    page.emulate_media(media="print")
    assert page.evaluate(colours) == ["rgb(250, 250, 249)", "rgb(28, 30, 33)"]
    expect(page.locator(".languages")).to_be_hidden()
    assert opened(color_scheme="light").evaluate(colours)[0] == "rgb(250, 250, 249)"


def test_japanese_is_shown_by_the_font_in_the_file(opened):
    """A machine without any Japanese font shows the report all the same."""
    page = opened()
    devtools = page.context.new_cdp_session(page)
    devtools.send("DOM.enable")
    devtools.send("CSS.enable")
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    found = devtools.send("DOM.querySelectorAll", {"nodeId": root, "selector": "h1, h2, h3, h4, th, p, dt, text"})
    fonts = [
        font
        for node in found["nodeIds"]
        for font in devtools.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    ]
    assert len(fonts) > 200
    assert {font["familyName"] for font in fonts if not font["isCustomFont"]} == set()


def test_the_policy_holds_even_where_a_script_got_in(chromium, tmp_path):
    """Should an escape ever be forgotten: nothing runs, nothing is asked for."""
    cases = report_sample.rows(8)
    html = page_of(report_sample.results(cases), cases)
    file = tmp_path / "report.html"
    file.write_text(html.replace("</body>", f"{HOSTILE}</body>"), encoding="utf-8")
    page = chromium.new_page()
    asked: list[str] = []
    page.on("response", lambda response: asked.append(response.url))
    page.on("requestfinished", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert page.locator("script").count() == 1
    assert page.title().endswith("Evaluation")
    assert {url for url in asked if url[:5] not in ("file:", "data:")} == set()
    page.close()
