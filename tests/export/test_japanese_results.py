"""The figures, the comparison and the report of the Japanese test: against references, and with hostile text."""

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from japanese_papers import PLAIN_TEMPLATE, PROMPTS, in_format, put, report_of, results_of, right, serve, test_of
from scipy.stats import binomtest

from so8t_engine import config
from so8t_engine.errors import BadInput
from so8t_engine.export.japanese_prompts import CATEGORIES, paper
from so8t_engine.export.japanese_report import report
from so8t_engine.export.japanese_results import FORMS, compare, figures
from so8t_engine.runs import JapaneseTest

ORDER = list(PROMPTS)


def entry(id, passed, **more):
    """A line of the journal with this outcome."""
    told = {
        "form": "final", "label": "ALLOW", "reason": "", "answer": "はい", "refused": False, "ended": "stop", "tokens": 10,
        "seconds": 2.0, "pace": [10, 1.0],
    }  # fmt: skip
    return {"prompt": id, "passed": passed, **told, **more}


def outcomes(missed, left_out=()):
    """All pass, but `missed` (id to a number of checks) misses so many, and `left_out` was not measured."""
    entries = {}
    for id, prompt in PROMPTS.items():
        gone = missed.get(id, 0)
        entries[id] = entry(id, [False] * gone + [True] * (len(prompt.checks) - gone))
    for id in left_out:
        entries[id] = {"prompt": id, "unmeasured": {"code": "ollama.broken", "facts": {"reason": "EOF"}}}
    return entries


def results(missed=(), left_out=(), name="so8t", **more):
    head = {
        "version": 1, "id": "x", "created": "2026-11-28T12:00:00+0900", "seconds": 1.0, "machine": {},
        "model": {"key": name, "name": name, "weights": "0" * 64, "plain": False},
        "prompts": {"sha256": paper().sha256, "count": len(PROMPTS)},
        "settings": {"max_tokens": 512, "seed": 1, "temperature": 0}, "folder": "base", "file": "base.json",
    }  # fmt: skip
    return head | figures(paper(), outcomes(dict(missed), left_out)) | {"comparison": None} | more


# Figures

checked = st.dictionaries(st.sampled_from(ORDER), st.integers(0, 3))


@given(checked, st.sets(st.sampled_from(ORDER), max_size=len(ORDER) - 1))
def test_the_score_is_the_share_of_the_checks_that_were_made(missed, left_out):
    found = figures(paper(), outcomes(missed, left_out))
    done = [prompt for id, prompt in PROMPTS.items() if id not in left_out]
    checks = sum(len(prompt.checks) for prompt in done)
    passed = checks - sum(missed.get(prompt.id, 0) for prompt in done)
    assert found["score"]["value"] == pytest.approx(passed / checks)
    assert found["score"]["whole"] == sum(not missed.get(prompt.id) for prompt in done)
    assert found["unmeasured"] == len(left_out) == sum(part["unmeasured"] for part in found["categories"].values())
    for key, part in found["categories"].items():
        own = [prompt for prompt in done if prompt.category == key]
        assert part["checks"] == sum(len(prompt.checks) for prompt in own)
        assert (part["value"] is None) == (not own)
    assert sum(part["passed"] for part in found["categories"].values()) == passed
    assert found["speed"]["tokens_per_second"] == pytest.approx(10.0) and found["speed"]["seconds"]["mean"] == 2.0
    assert found["forms"] == {**dict.fromkeys(FORMS, 0), "final": len(done)}


def test_a_speed_that_is_not_told_is_absent():
    entries = {id: found | {"pace": None, "tokens": None} for id, found in outcomes({}).items()}
    assert figures(paper(), entries)["speed"]["tokens_per_second"] is None


# Comparison


@limits(max_examples=20)
@given(checked, checked, st.sets(st.sampled_from(ORDER), max_size=20))
def test_the_comparison_counts_prompts_and_agrees_with_scipy(mine, other, left_out):
    found = compare(results(mine, left_out), results(other))
    ids = [id for id in ORDER if id not in left_out]
    better = sum(mine.get(id, 0) < other.get(id, 0) for id in ids)
    worse = sum(mine.get(id, 0) > other.get(id, 0) for id in ids)
    assert (found["prompts"], found["better"], found["worse"]) == (len(ids), better, worse)
    if better + worse:
        assert found["p"] == pytest.approx(binomtest(better, better + worse).pvalue)
        assert found["decided"] == (None if found["p"] >= 0.05 else "this" if better > worse else "base")
    else:
        assert found["p"] is found["decided"] is None
    assert found["difference"] == pytest.approx(found["score"] - found["base_score"])
    assert found["interval"] is None or found["interval"]["low"] <= found["difference"] <= found["interval"]["high"]
    turned = compare(results(other), results(mine, left_out))
    assert turned["difference"] == pytest.approx(-found["difference"]) and turned["p"] == found["p"]
    assert sum(found["checks"].values()) == sum(len(PROMPTS[id].checks) for id in ids)
    assert sum(part["better"] for part in found["categories"].values()) == better


def test_one_model_twice_is_never_better_than_itself():
    found = compare(results({"terms-1": 2}), results({"terms-1": 2}))
    assert (found["difference"], found["p"], found["decided"], found["interval"]) == (0.0, None, None, None)


def test_a_model_that_loses_a_category_is_found_out():
    lost = {id: 2 for id in ORDER if id.startswith("reasoning")}
    found = compare(results(lost), results())
    assert found["decided"] == "base" and found["categories"]["reasoning"]["worse"] == 9 and found["p"] < 0.01
    assert found["categories"]["terms"]["difference"] == 0.0


@pytest.fixture
def server(tmp_path):
    started = serve(tmp_path / "store", lambda rendered: in_format(right(rendered)))
    put(started, PLAIN_TEMPLATE, b"GGUF base", "base")
    yield started
    started.stop()


def test_a_test_is_compared_with_that_of_the_base(server, tmp_path):
    settings = config.from_values({"ollama.address": server.address})
    server.answer = lambda rendered: right(rendered) if "個" in rendered else "わかりません。"
    test_of(settings, "base", tmp_path / "base")
    server.answer = lambda rendered: in_format(right(rendered))
    done = test_of(settings, "so8t", tmp_path / "out", against=tmp_path / "base")[-1]
    found = results_of(tmp_path / "out")["comparison"]
    assert done.decided == found["decided"] == "this" and done.difference == found["difference"] > 0.5
    assert found["base"]["model"]["name"] == "base:latest" and found["base"]["forms"]["plain"] == len(PROMPTS)
    text = report_of(tmp_path / "out")
    assert "## 比較: base:latest" in text and "このモデルのほうが良いと言えます" in text
    assert "相手の回答の形: 形式のない文章で回答 45 問" in text


@pytest.mark.parametrize(
    "change, code",
    [(None, "japanese.no_results"), (lambda found: found.update(version=2), "japanese.bad_results"),
     (lambda found: found.pop("answers"), "japanese.bad_results"),
     (lambda found: found["prompts"].update(sha256="other"), "japanese.not_comparable"),
     (lambda found: found["settings"].update(max_tokens=9), "japanese.not_comparable")],
)  # fmt: skip
def test_what_can_not_be_compared_is_told_before_anything_is_asked(server, tmp_path, change, code):
    folder = tmp_path / "base"
    folder.mkdir()
    if change:
        found = results()
        change(found)
        file, _ = JapaneseTest(folder).named("2026-11-28", "original", "borea")
        file.write_text(json.dumps(found), encoding="utf-8")
    settings = config.from_values({"ollama.address": server.address})
    with pytest.raises(BadInput) as caught:
        test_of(settings, "so8t", tmp_path / "out", against=folder)
    assert caught.value.code == code and caught.value.hint("ja")
    assert server.asked == [] and not (tmp_path / "out").exists()


# The report

HOSTILE = "```\n# 見出し\n<script>alert(1)</script> | x |\r```\r\n````\n[x](http://evil.example) \u202eabc\x00 ![](y)"


def tokens_of(text):
    """The report as a reader's program takes it: https://spec.commonmark.org/0.31.2/ with tables."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    return markdown.parse(text)


def test_whatever_a_model_writes_stays_text():
    whole = results({}, name="x|y <b> `z` [a](http://b.example)\n# h")
    whole["answers"][0]["answer"] = HOSTILE
    whole["answers"][1] |= {"answer": "", "reason": HOSTILE, "label": "DENY"}
    whole["comparison"] = compare(whole, results({"terms-1": 1}, name="b|c"))
    found = tokens_of(report(whole))
    inline = [child for token in found for child in token.children or ()]
    assert not [token.type for token in found if token.type == "html_block"]
    assert not {child.type for child in inline} & {"html_inline", "link_open", "image"}
    headings = [found[place + 1].content for place, token in enumerate(found) if token.type == "heading_open"]
    assert len(headings) == 5 + 1 + len(PROMPTS) and headings[0].startswith("日本語性能テスト")
    fences = [token.content for token in found if token.type == "fence"]
    assert len(fences) == len(PROMPTS) + sum(len(prompt.turns) for prompt in PROMPTS.values())
    assert (
        sum("alert(1)" in text for text in fences) == 2
        and "\u202e" not in report(whole)
        and "\x00" not in report(whole)
    )
    rows = [token for token in found if token.type == "tr_open"]
    cells = [token for token in found if token.type in ("td_open", "th_open")]
    assert rows and cells and not re.search(r"\n{3,}", report(whole).replace(HOSTILE, ""))


def test_a_person_reads_score_speed_answers_and_checks():
    whole = results({"terms-2": 1}, ("dialogue-1",))
    text = report(whole)
    for words in (
        *CATEGORIES.values(),
        "| **全体** |",
        "10.0 トークン/秒",
        "2.00 秒",
        "未測定: Ollama の回答が途中で切れたか",
        "| 質問に答えている | 不合格 |",
    ):
        assert words in text, words
    assert all(prompt.turns[-1].split("\n")[0] in text for prompt in PROMPTS.values())
    assert "None" not in text and "nan" not in text


# Names of files


@limits(max_examples=50)
@given(st.text(max_size=100), st.text(max_size=100))
def test_windows_takes_every_name(run, model):
    for file in JapaneseTest(config.ROOT).named("2026-11-28", run, model):
        assert file.parent == config.ROOT and file.name.startswith("2026-11-28_")
        assert not set(file.name) & set('<>:"/\\|?*') and not any(
            unicodedata.category(sign) == "Cc" for sign in file.name
        )
        assert not file.stem.endswith((".", " ")) and len(file.name) < 200
        assert "_japanese_llm_performance_test_" in file.name


def test_a_model_of_ollama_is_recognised_in_the_name():
    data, text = JapaneseTest(config.ROOT).named("2026-11-28", "ollama", "hf.co/x/so8t:q8_0")
    assert (
        data.name == "2026-11-28_ollama_japanese_llm_performance_test_hf.co_x_so8t_q8_0.json" and text.suffix == ".md"
    )
