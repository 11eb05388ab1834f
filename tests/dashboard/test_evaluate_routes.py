"""Evaluations over HTTP: every case behind its cell, the wrong ones as a dataset, and nothing that was not asked for."""

import json
import re
from dataclasses import replace

import made_evaluation
import pytest
from fastapi.testclient import TestClient
from made_evaluation import generated, rows, scored
from test_cards import NASTY, Tags

from dashboard.app import create_app
from dashboard.draft import Draft
from dashboard.evaluate_cases import SHOWN
from dashboard.evaluate_wishes import key
from so8t_engine import Engine, config, events
from so8t_engine.data import sources
from so8t_engine.snapshot import replay

HERE = "http://127.0.0.1:7860"
MODES = ("scored", "generated")


@pytest.fixture
def engine(tmp_path) -> Engine:
    return Engine(tmp_path / "runs")


@pytest.fixture
def client(engine):
    with TestClient(create_app(engine, Draft(config.CONFIGS / "demo.yaml")), base_url=HERE) as client:
        yield client


@pytest.fixture
def evaluation(engine):
    """`evaluation(name, **what)`: the key of a finished one."""

    def make(name: str = "20261122-220000-aaaaaa", **what) -> str:
        return key(made_evaluation.finished(engine.runs_folder / f"evaluation-{name}", **what))

    return make


def cells(html: str) -> dict[tuple[str, str], int]:
    """The count on each button of the matrix, by (expected, given)."""
    found = {}
    for attributes in re.findall(r"<button[^>]*data-expected=[^>]*>", html):
        expected, given = (re.search(rf'data-{name}="(\w+)"', attributes)[1] for name in ("expected", "given"))
        found[expected, given] = int(re.search(r"(\d[\d,]*)(?: 件)? \(", attributes)[1].replace(",", ""))
    return found


def prompts(html: str) -> list[str]:
    return re.findall(r'<p class="so-case-prompt">(.*?)</p>', html, re.DOTALL)


def matrix(client, one: str, mode: str) -> dict[tuple[str, str], int]:
    html = client.get(f"/evaluations/{one}").text
    return cells(re.search(rf'data-chart="confusion-{mode}".*?</figure>', html, re.DOTALL)[0])


def test_a_new_evaluation_is_listed_first_and_at_once(client, evaluation):
    assert client.get("/evaluations").json()["keys"] == []
    old = evaluation("20261122-220000-aaaaaa")
    assert client.get("/evaluations").json()["keys"] == [old]
    new = evaluation("20261122-230000-bbbbbb")
    found = client.get("/evaluations?language=en").json()
    assert found["keys"] == [new, old]
    assert found["list"].index(new) < found["list"].index(old)
    assert 'value="original"' in found["models"]
    Tags(found["list"])


def test_an_interrupted_evaluation_is_offered_unless_it_runs_now(client, engine):
    asked = rows(10)
    folder = made_evaluation.begun(
        engine.runs_folder / "evaluation-x", asked=asked, journals={"scored": scored(asked[:4], 1.0)}
    )
    offered = client.get("/evaluations?language=en").json()["interrupted"]
    assert f'data-what="{key(folder)}"' in offered and "Scored 4 / 10" in offered
    opened = events.EvaluationOpened(
        folder=str(folder), model="original", name="original", file="x", split="file", rows=10, excluded={}, modes=("scored",),
        resumed=False,
    )  # fmt: skip
    engine._worker.show(replace(replay([events.JobStarted(job="j", command="RunEvaluation"), opened]), state="running"))
    assert key(folder) not in client.get("/evaluations").json()["interrupted"]
    engine._worker._snapshot = replay([])


def test_faulty_settings_leave_the_list_readable(engine, evaluation, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("train: {epochs: -1}\n", encoding="utf-8")
    one = evaluation()
    with TestClient(create_app(engine, Draft(file)), base_url=HERE) as client:
        found = client.get("/evaluations").json()
        assert (found["models"], found["keys"]) == ("", [one])
        assert client.get(f"/evaluations/{one}").status_code == 200


@pytest.mark.parametrize("mode", MODES)
def test_behind_each_cell_stand_its_cases(client, evaluation, mode):
    asked = rows(40)
    one = evaluation(asked=asked, skills={"scored": 0.6, "generated": 0.6})
    entries = {"scored": scored, "generated": generated}[mode](asked, 0.6)
    counts = matrix(client, one, mode)
    assert sum(counts.values()) == 40
    for (expected, given), count in counts.items():
        html = client.get(f"/evaluations/{one}/cases?mode={mode}&expected={expected}&given={given}").text
        Tags(html)
        wanted = [
            row["prompt"] for row, entry in zip(asked, entries, strict=True)
            if (row["expected"], entry["given"] or "none") == (expected, given)
        ]  # fmt: skip
        assert prompts(html) == wanted and len(wanted) == count
    wrong = client.get(f"/evaluations/{one}/cases?mode={mode}").text
    assert len(prompts(wrong)) == sum(count for (expected, given), count in counts.items() if expected != given)


def test_the_most_harmful_cases_come_first(client, evaluation):
    asked = rows(8)
    entries = {
        "scored": scored([row | {"expected": "ALLOW" if row["expected"] != "ALLOW" else "DENY"} for row in asked], 1.0)
    }
    html = client.get(f"/evaluations/{evaluation(asked=asked, entries=entries)}/cases?mode=scored").text
    order = re.findall(r'class="so-badge so-(\w+)"', html)
    expected, given = order[0::2], order[1::2]
    assert list(zip(expected, given, strict=True))[:4] == [("deny", "allow"), ("refuse", "allow")] * 2
    assert list(zip(expected, given, strict=True))[4:6] == [("allow", "deny")] * 2


def test_a_long_list_is_read_page_by_page(client, evaluation):
    asked = rows(2 * SHOWN + 5, classes=("DENY",))
    one = evaluation(asked=asked, skills={"scored": 1.0})
    address = f"/evaluations/{one}/cases?mode=scored&expected=DENY&given=DENY&number="
    pages = [client.get(f"{address}{number}").text for number in range(3)]
    assert [len(prompts(html)) for html in pages] == [SHOWN, SHOWN, 5]
    assert [text for html in pages for text in prompts(html)] == [row["prompt"] for row in asked]
    assert client.get(f"{address}99").text == pages[2] and client.get(f"{address}-4").text == pages[0]


@pytest.mark.parametrize("mode", MODES)
def test_the_wrong_ones_come_as_a_dataset(client, evaluation, tmp_path, mode):
    asked = [
        row | {"prompt": row["prompt"] + NASTY, "system": "落ち着いて" if row["index"] % 2 else ""} for row in rows(40)
    ]
    one = evaluation("試し & x", asked=asked, skills={mode: 0.5})
    answer = client.get(f"/evaluations/{one}/wrong.jsonl?mode={mode}")
    assert "attachment" in answer.headers["content-disposition"]
    file = tmp_path / "wrong.jsonl"
    file.write_bytes(answer.content)
    entries = {"scored": scored, "generated": generated}[mode](asked, 0.5)
    wrong = {
        row["prompt"]: (row, entry)
        for row, entry in zip(asked, entries, strict=True)
        if row["expected"] != entry["given"]
    }
    read = sources.read(file).samples
    assert {(sample.prompt, sample.label, sample.system, sample.domain, sample.id) for sample in read} == {
        (row["prompt"], row["expected"], row["system"], row["domain"], row["id"]) for row, _ in wrong.values()
    }
    for line in answer.text.splitlines():
        given = json.loads(line)
        entry = wrong[given["instruction"]][1]
        assert given["given"] == entry["given"]
        if mode == "scored":
            assert given["probabilities"] == entry["probabilities"]
        else:
            assert (given["final"], given["confidence"]) == (entry["final"], entry["confidence"])


def test_two_evaluations_are_compared_on_the_rows_they_share(client, evaluation):
    asked = rows(40)
    this = evaluation("20261122-220000-aaaaaa", asked=asked[:30], entries={"scored": scored(asked[:30], 1.0)})
    other = evaluation("20261122-210000-bbbbbb", asked=asked[10:], entries={"scored": scored(asked[10:], 0.0, seed=3)})
    html = client.get(f"/evaluations/{this}/with/{other}?mode=scored&language=en").text
    Tags(html)
    assert "20 rows that both have measured" in html and "This one decides better." in html
    turned = client.get(f"/evaluations/{other}/with/{this}?mode=scored&language=en").text
    assert "The other one decides better." in turned
    lost = len(prompts(client.get(f"/evaluations/{this}/changed/{other}?mode=scored").text))
    assert lost == len(prompts(html)) > 0
    head = client.get(f"/evaluations/{this}").text
    assert f'<option value="{other}">' in head and f'<option value="{this}">' not in head


def test_what_can_not_be_compared_is_told(client, evaluation):
    this = evaluation("20261122-220000-aaaaaa", asked=rows(8), skills={"scored": 1.0, "generated": 1.0})
    strange = [row | {"hash": f"x{row['index']}"} for row in rows(8)]
    other = evaluation("20261122-210000-bbbbbb", asked=strange, skills={"scored": 1.0})
    refused = client.get(f"/evaluations/{this}/with/{other}?mode=scored&language=en")
    assert refused.status_code == 400 and "so-trouble" in refused.text and "no row in common" in refused.text
    calm = client.get(f"/evaluations/{this}/with/{other}?mode=generated&language=en")
    assert calm.status_code == 200 and "was not measured in this mode" in calm.text
    for path in (
        f"{other}/cases?mode=generated",
        f"{other}/wrong.jsonl?mode=generated",
        f"{other}/changed/{this}?mode=generated",
    ):
        refused = client.get(f"/evaluations/{path}")
        assert refused.status_code == 400 and "so-trouble" in refused.text


def test_figures_measured_anew_are_not_those_of_before(client, evaluation, engine):
    asked = rows(20)
    this = evaluation("20261122-220000-aaaaaa", asked=asked, entries={"scored": scored(asked, 1.0)})
    other = evaluation("20261122-210000-bbbbbb", asked=asked, entries={"scored": scored(asked, 0.0)})
    address = f"/evaluations/{this}/with/{other}?mode=scored&language=en"
    assert "This one decides better." in client.get(address).text
    folder = engine.runs_folder / "evaluation-20261122-210000-bbbbbb"
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert evaluation("20261122-210000-bbbbbb", asked=asked, entries={"scored": scored(asked, 1.0)}) == other
    assert "There is no difference on these rows." in client.get(address).text


ADDRESSES = (
    "{}",
    "{}/cases?mode=scored",
    "{}/report",
    "{}/wrong.jsonl?mode=scored",
    "{}/with/{}?mode=scored",
    "{}/changed/{}?mode=scored",
)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    "wanted", ["nobody", "%2e%2e", "..%2F..%2Fetc%2Fpasswd", "evaluation-20261122-220000-aaaaaa", "<img%20src=x>"]
)
def test_only_a_listed_evaluation_is_shown(client, evaluation, address, wanted):
    evaluation()
    answer = client.get("/evaluations/" + address.format(wanted, wanted))
    assert answer.status_code == 404
    assert "<img" not in answer.text


@pytest.mark.parametrize(
    "query", ["", "?mode=benchmarks", "?mode=../scored", "?mode=scored&expected=MAYBE", "?mode=scored&number=x"]
)
def test_only_what_can_be_asked_is_answered(client, evaluation, query):
    assert client.get(f"/evaluations/{evaluation()}/cases{query}").status_code == 422


def test_a_foreign_host_or_page_learns_nothing(client, evaluation):
    one = evaluation()
    for path in ("", f"/{one}", f"/{one}/report", f"/{one}/wrong.jsonl?mode=scored"):
        assert client.get(f"/evaluations{path}", headers={"host": "evil.example"}).status_code == 400
        assert client.get(f"/evaluations{path}", headers={"origin": "https://evil.example"}).status_code == 403


def test_the_report_may_neither_run_nor_ask_for_anything(client, evaluation, engine):
    one = evaluation()
    answer = client.get(f"/evaluations/{one}/report")
    assert answer.headers["content-type"].startswith("text/html") and "報告" in answer.text
    policy = answer.headers["content-security-policy"]
    assert (
        "default-src 'none'" in policy and "sandbox" in policy and "script-src" not in policy and "allow-" not in policy
    )
    next(engine.runs_folder.glob("*/evaluation_report.html")).unlink()
    gone = client.get(f"/evaluations/{one}/report?language=en")
    assert gone.status_code == 400 and "so-trouble" in gone.text


def test_rows_that_have_gone_are_told(client, evaluation, engine):
    one = evaluation()
    next(engine.runs_folder.glob("*/rows.jsonl")).unlink()
    assert client.get(f"/evaluations/{one}").status_code == 200, "the figures stand on their own"
    answer = client.get(f"/evaluations/{one}/cases?mode=scored")
    assert answer.status_code == 400 and "so-trouble" in answer.text
