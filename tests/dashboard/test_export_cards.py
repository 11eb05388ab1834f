"""The Export tab's cards: what is said before, while and after an export runs; nothing from outside is markup."""

from dataclasses import replace
from html import escape

import pytest
from test_cards import NASTY, Tags

from dashboard import export_cards, export_progress
from dashboard.header import header
from dashboard.log import sentence
from so8t_engine import config, events

BEGUN = events.JobStarted(time=100.0, job="j", command="ExportModel")
OPENED = events.ExportOpened(
    folder="/x", model="run:a", name=NASTY, quantizations=("f16", "q8_0"), push="m:q8", gate=True, resumed=False
)
HALF = events.ConversionProgressed(stage="write", done=500_000_000, total=1_000_000_000, seconds=2.0)
WHOLE = [
    events.GgufWritten(file=f"/x/{NASTY}-{kind}.gguf", quantization=kind, bytes=2**30, tensors=9, sha256="ab" * 32)
    for kind in ("f16", "q8_0")
]
SENT = events.UploadProgressed(file="a.gguf", sent=30_000_000, total=90_000_000, seconds=1.0)


def measured(kind: str, passed: bool = True, **changes) -> events.FidelityMeasured:
    facts = {
        "file": f"/x/{kind}.gguf", "quantization": kind, "prompts": 100, "agreement": (0.91, 0.84, 0.95),
        "kl": (0.2, 0.1, 0.3), "greedy": (0.8, 0.7, 0.9), "greedy_tokens": 16, "perplexity": None, "drifted": 9,
        "lines": (3, 14), "passed": passed, "needed_agreement": 0.99, "largest_kl": 0.05, "seconds": 3.0,
    }  # fmt: skip
    return events.FidelityMeasured(**facts | changes)


BOTH = [measured("f16"), measured("q8_0")]


@pytest.fixture
def told(replayed):
    """`told(*events, state)`: the snapshot of an export with these events."""

    def fold(*more, state="running"):
        return replace(replayed([BEGUN, *more]), state=state)

    return fold


def lines_of(html: str) -> list[str]:
    """The state of each stage, in order."""
    return [part.split('"')[0] for part in html.split("so-export-line so-export-")[1:]]


def test_before_the_first_export_everything_is_named_and_consent_is_never_preselected(page, replayed):
    html = export_cards.form(page)
    Tags(html)
    for kind in ("f16", "q8_0", "bf16"):
        assert escape(page.t(f"export.kind.{kind}.help")) in html
    consent = html[html.index('name="consent"') :].split(">")[0]
    assert "checked" not in consent and escape(page.t("export.thinking.unknown")) in html
    head = export_cards.head(replayed([]), page)
    assert 'data-do="start"' in head and "disabled" not in head
    assert export_progress.situation(replayed([]), page) == ""


def test_the_button_is_off_with_a_reason(page, replayed, story):
    head = export_cards.head(replace(replayed(story(3)), state="running"), page)
    assert "disabled" in head and escape(page.t("export.form.busy", command=page.t("command.StartTraining"))) in head
    page.bridge.draft.edit("train: {epochs: -1}\n")
    head = export_cards.head(replayed([]), page)
    assert "disabled" in head and escape(page.t("export.form.faults", count=1)) in head


@pytest.mark.parametrize(
    ("more", "states"),
    [
        ([HALF], "now waiting waiting waiting waiting"),
        ([HALF.model_copy(update={"stage": "check"})], "done now waiting waiting waiting"),
        ([HALF, *WHOLE], "done done now waiting waiting"),
        (
            [*WHOLE, events.FidelityProgressed(quantization="f16", done=2, total=4, seconds=1.0)],
            "done done now waiting waiting",
        ),
        ([*WHOLE, *BOTH], "done done done now waiting"),
        ([*WHOLE, events.FidelitySkipped(code="export.gate_off")], "done done done now waiting"),
        ([*WHOLE, *BOTH, SENT], "done done done now waiting"),
        ([*WHOLE, *BOTH, SENT.model_copy(update={"sent": 90_000_000})], "done done done done now"),
        ([*WHOLE, *BOTH, SENT, events.ModelCreated(candidate="m:c")], "done done done done now"),
    ],
)
def test_the_stages_fill_in(page, told, more, states):
    html = export_progress.situation(told(OPENED, *more), page)
    assert "img" not in Tags(html).seen
    assert lines_of(html) == states.split()


def test_only_the_stages_that_were_asked_for_are_shown(page, told):
    html = export_progress.situation(told(OPENED.model_copy(update={"push": "", "gate": False}), HALF), page)
    assert lines_of(html) == ["now", "waiting"]


def test_speed_size_and_time_left_are_told(page, told):
    html = export_progress.situation(told(OPENED, HALF), page)
    assert "250 MB/s" in html and "476.8 MiB / 953.7 MiB" in html
    assert page.t("header.left", time="2秒" if page.language == "ja" else "2 s") in html
    html = export_progress.situation(told(OPENED, *WHOLE, *BOTH, SENT), page)
    assert "30 MB/s" in html and 'aria-valuenow="33"' in html


def test_time_left_of_the_comparison_counts_the_files_that_come_after(page, told):
    half = events.FidelityProgressed(quantization="", done=50, total=100, seconds=10.0)
    html = export_progress.situation(told(OPENED, *WHOLE, half), page)
    assert page.t("header.left", time="50秒" if page.language == "ja" else "50 s") in html
    assert 'aria-valuenow="17"' in html


def test_the_header_tells_the_stage_and_how_far_it_is(page, told):
    snapshot = told(OPENED, *WHOLE, *BOTH, SENT)
    html = header(snapshot, page)
    assert page.t("export.stage.upload") in html and page.t("command.ExportModel") in html
    assert 'data-percent="67"' in html


def failed(code: str, /, **facts) -> events.JobFailed:
    return events.JobFailed(job="j", code=code, facts=facts, where=NASTY)


FAILURES = [
    failed("ollama.silent", reason="refused"), failed("push.too_old", version="0.5.1", oldest="0.5.5"),
    failed("push.disk_full", reason=NASTY), failed("push.digest", reason="digest mismatch"),
    failed("push.no_class", name="m:q8", ended="stop"), failed("push.cut", sent="3 MiB", reason="reset"),
    failed("push.create_failed", reason="bad"), failed("push.create_unfinished", status="writing"),
    failed("push.shown_differs", name="m:q8", what="system"), failed("push.unreadable", reason="x"),
    failed("push.file_changed"), failed("export.disk_short", needed="9 GiB", free="1 GiB"),
    failed("export.unwritten", reason="x"), failed("export.damaged", reason="SHA-256"), failed("export.locked"),
    failed("export.not_finite", limit="65504"), failed("export.runner_died", status="-9"), failed("export.unproven", name="m"),
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.code)
def test_every_failure_is_a_card_with_the_next_step_and_a_way_on(page, told, failure):
    html = export_progress.situation(told(OPENED, failure, state="failed"), page)
    assert "img" not in Tags(html).seen and 'role="alert"' in html
    hint = page.error(failure.code, "hint", failure.facts)
    assert hint and escape(hint) in html and escape(page.error(failure.code, "what", failure.facts)) in html
    assert 'data-do="go_on"' in html
    assert "{" not in html


def test_a_failed_gate_has_no_button_that_would_fail_again(page, told):
    failure = failed("export.drifted", files="q8_0 91.0 %", lines="3, 14")
    html = export_progress.situation(told(OPENED, *WHOLE, *BOTH, failure, state="failed"), page)
    assert 'data-do="go_on"' not in html and "3, 14" in html


def test_a_stopped_export_can_go_on(page, told):
    html = export_progress.situation(told(OPENED, HALF, state="stopped"), page)
    assert escape(page.t("export.progress.stopped")) in html and 'data-do="go_on"' in html
    assert export_progress.situation(told(OPENED, *WHOLE, *BOTH, state="finished"), page) == ""


def test_ollama_stands_in_one_line_whose_height_does_not_change(page):
    asking, ready = export_cards.ollama_asking(page), export_cards.ollama_ready(NASTY, page)
    old, silent = export_cards.ollama_too_old("0.5.1", "0.5.5", page), export_cards.ollama_silent(page)
    for html in (asking, ready, old, silent):
        assert "img" not in Tags(html).seen and html.count("<p") == 1
    assert "data-ask-ollama" in old and "data-ask-ollama" in silent and "data-ask-ollama" not in ready


def test_the_log_tells_each_event_of_an_export(page):
    skipped = events.FidelitySkipped(code="export.no_llama")
    pushed = events.ModelPushed(name="m:q8", version="0.12.6", label="ALLOW", thinking="field", seconds=1.0)
    over = events.ExportFinished(folder="/x/e1", files=(), modelfile="", passed=None, pushed="m:q8", seconds=1.0)
    kept = events.GgufKept(file="/x/a.gguf", quantization="f16", bytes=9, sha256="ab")
    for event in (OPENED, kept, *WHOLE, *BOTH, skipped, events.ModelCreated(candidate="c"), pushed, over):
        words = sentence(event, page)
        assert words and "{" not in words


def test_sizes_are_those_of_the_model(page, bridge):
    voice = bridge.engine.voices(config.Settings())[0]
    weights = sum(file.stat().st_size for file in voice.base.glob("*.safetensors"))
    sizes = bridge.engine.export_sizes(voice)
    assert sizes["f16"] == pytest.approx(weights, rel=0.01) and sizes["q8_0"] / sizes["f16"] == pytest.approx(
        17 / 32, rel=0.01
    )
    assert export_cards.sizes(sizes, page).keys() == {"f16", "q8_0", "bf16"}
