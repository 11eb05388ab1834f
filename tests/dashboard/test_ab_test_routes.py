"""A/B tests over HTTP: every case behind its filter and its cell, the cases as a dataset, and nothing that was not asked for."""

import json
import re
from dataclasses import replace
from itertools import chain

import made_ab_test
import pytest
from fastapi.testclient import TestClient
from made_ab_test import journals, rows
from test_cards import Tags

from dashboard.app import create_app
from dashboard.draft import Draft
from dashboard.evaluate_cases import SHOWN
from dashboard.evaluate_wishes import key
from so8t_engine import Engine, config, events
from so8t_engine.ab_tests import read
from so8t_engine.data import sources
from so8t_engine.snapshot import replay

HERE = "http://127.0.0.1:7860"
ROWS = rows(160)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A runs folder with one finished and one interrupted test."""
    folder = tmp_path_factory.mktemp("runs")
    made_ab_test.finished(folder / "ab_test-20261122-230000-aaaaaa", asked=ROWS, skills=(0.3, 0.9))
    half = {part: lines[:5] for part, lines in journals(ROWS, (0.5, 0.5)).items()}
    made_ab_test.begun(folder / "ab_test-20261121-230000-bbbbbb", asked=ROWS, answers=half)
    return folder


@pytest.fixture(scope="module")
def engine(root) -> Engine:
    return Engine(root)


@pytest.fixture(scope="module")
def client(engine):
    with TestClient(create_app(engine, Draft(config.CONFIGS / "demo.yaml")), base_url=HERE) as client:
        yield client


@pytest.fixture(scope="module")
def one(root):
    return read(root / "ab_test-20261122-230000-aaaaaa")


@pytest.fixture(scope="module")
def address(one) -> str:
    return f"/ab_tests/{key(one.folder)}"


def prompts(html: str) -> list[str]:
    return re.findall(r'<p class="so-case-prompt">(.*?)</p>', html, re.DOTALL)


def test_the_list_names_every_test_and_none_that_runs(client, engine, root, one, monkeypatch):
    found = client.get("/ab_tests?language=en").json()
    assert found["keys"] == [key(one.folder)]
    assert "Retrained is better" in found["list"] and "Scored 5 / 160" in found["interrupted"]
    assert "No A/B test yet" in found["empty"]
    assert "no retrained model yet" in found["no_runs"] and found["models"]["retrained"] == ""
    folder = str(root / "ab_test-20261121-230000-bbbbbb")
    opened = events.AbTestOpened(
        folder=folder, base="original", base_name="original", retrained="run:x", retrained_name="x", file="f", split="test",
        rows=160, excluded={}, modes=("scored", "generated"), resumed=True,
    )  # fmt: skip
    running = replace(replay([events.JobStarted(job="j", command="RunAbTest"), opened]), state="running")
    monkeypatch.setattr(engine, "snapshot", lambda: running)
    assert client.get("/ab_tests").json()["interrupted"] == "", "what runs is not offered to go on with"


def test_the_pages_of_a_filter_are_its_cases_each_once(client, address, one):
    for change in ("fixed", "both_wrong"):
        wanted = [case["prompt"] for case in one.cases("generated") if case["change"] == change]
        pages = range(len(wanted) // SHOWN + 1)
        found = [prompts(client.get(f"{address}/cases?mode=generated&change={change}&number={page}").text) for page in pages]
        assert [*chain.from_iterable(found)] == wanted and wanted
    beyond = prompts(client.get(f"{address}/cases?mode=generated&change={change}&number=999").text)
    assert beyond == found[-1], "a page that is no more is the last one"


def test_each_cell_of_each_matrix_leads_to_its_cases(client, address, one):
    page = client.get(f"{address}?language=en").text
    Tags(page)
    for side, which in (("base", "first"), ("retrained", "second")):
        confusion = one.results["modes"]["generated"]["pairing"][which]["confusion"]
        figure = page.split(f'data-chart="ab-generated-{side}"')[1].split("</figure>")[0]
        cells = re.findall(r'data-expected="(\w+)" data-given="(\w+)"[^>]*?: (\d+) \(', figure)
        assert [int(count) for *_, count in cells] == [count for line in confusion for count in line]
        expected, given, count = next(cell for cell in cells if cell[1] == "none" and int(cell[2]))
        html = client.get(f"{address}/cases?mode=generated&side={side}&expected={expected}&given={given}").text
        assert html.count("<li") == int(count)


def test_what_is_chosen_can_be_kept_as_a_dataset(client, address, one, tmp_path):
    answer = client.get(f"{address}/cases.jsonl?mode=generated&change=broken")
    assert "broken-generated-" in answer.headers["content-disposition"]
    file = tmp_path / "broken.jsonl"
    file.write_bytes(answer.content)
    wanted = [case for case in one.cases("generated") if case["change"] == "broken"]
    assert [(row.prompt, row.label) for row in sources.read(file).samples] == [(c["prompt"], c["expected"]) for c in wanted]
    kept = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["base"]["final"] for line in kept] == [case["base"]["final"] for case in wanted]
    assert all(line["base"]["given"] == line["four_class_label"] != line["retrained"]["given"] for line in kept)
    link = re.search(r'href="([^"]+jsonl[^"]*)"', client.get(f"{address}/cases?mode=generated&change=broken").text)[1]
    assert client.get(link.replace("&amp;", "&")).content == answer.content


@pytest.mark.parametrize("path", ["", "/cases?mode=scored", "/cases.jsonl?mode=scored", "/report"])
@pytest.mark.parametrize("wanted", ["nobody", "%2e%2e", "..%2F..%2Fetc%2Fpasswd", "ab_test-20261122-230000-aaaaaa", "<img%20src=x>"])
def test_only_a_listed_test_is_shown(client, path, wanted):
    answer = client.get(f"/ab_tests/{wanted}{path}")
    assert answer.status_code == 404 and "<img" not in answer.text


@pytest.mark.parametrize("query", ["", "?mode=alone", "?mode=scored&change=all", "?mode=scored&side=other", "?mode=scored&number=x"])
def test_only_what_can_be_asked_is_answered(client, address, query):
    assert client.get(f"{address}/cases{query}").status_code == 422


def test_a_foreign_host_or_page_learns_nothing(client, address):
    for path in ("/ab_tests", address, f"{address}/report", f"{address}/cases.jsonl?mode=scored"):
        assert client.get(path, headers={"host": "evil.example"}).status_code == 400
        assert client.get(path, headers={"origin": "https://evil.example"}).status_code == 403


def test_the_report_may_neither_run_nor_ask_for_anything(client, address):
    answer = client.get(f"{address}/report")
    assert answer.headers["content-type"].startswith("text/html") and "比較" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "script-src" not in policy and "allow-" not in policy


def test_files_that_have_gone_are_told(engine, tmp_path):
    folder = made_ab_test.finished(tmp_path / "ab_test-x", asked=rows(8))
    gone = f"/ab_tests/{key(folder)}"
    with TestClient(create_app(Engine(tmp_path), Draft(config.CONFIGS / "demo.yaml")), base_url=HERE) as client:
        for name in ("rows.jsonl", "ab_test_report.html"):
            (folder / name).unlink()
        assert client.get(gone).status_code == 200, "the figures stand on their own"
        for path in ("/cases?mode=scored", "/report?language=en"):
            answer = client.get(gone + path)
            assert answer.status_code == 400 and "so-trouble" in answer.text
