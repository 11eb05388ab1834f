"""The frame: what it loads, whom it answers, what it sends, and that it is silent when nothing changes."""

import re
import subprocess
import sys
from dataclasses import replace

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from dashboard.app import changes, create_app
from dashboard.draft import Draft
from dashboard.served import page_words
from so8t_engine import Engine, config
from so8t_engine.snapshot import fold

HERE = "http://127.0.0.1:7860"
OWN = re.compile(r"https?://(127\.0\.0\.1|www\.w3\.org/2000/svg)")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The whole application, asked from this process."""
    engine, draft = Engine(tmp_path_factory.mktemp("runs")), Draft(config.CONFIGS / "demo.yaml")
    with TestClient(create_app(engine, draft), base_url=HERE, follow_redirects=False) as client:
        yield client


def test_building_the_page_loads_nothing_heavy(tmp_path):
    code = (
        "import sys; from pathlib import Path; from dashboard.app import create_app; "
        "from fastapi.testclient import TestClient; from dashboard.draft import Draft; "
        "from so8t_engine import Engine, config; "
        f"app = create_app(Engine(Path({str(tmp_path)!r})), Draft(config.CONFIGS / 'demo.yaml')); "
        "assert TestClient(app, base_url='http://127.0.0.1').get('/ja/').status_code == 200; "
        "print([m for m in ('torch', 'transformers', 'peft', 'accelerate', 'bitsandbytes', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=config.ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.5:7860", "0.0.0.0:7860"])
def test_a_foreign_host_header_gets_400(client, host):
    assert client.get("/ja/", headers={"host": host}).status_code == 400


def test_another_sites_page_is_refused(client):
    assert client.get("/alive", headers={"origin": "https://evil.example"}).status_code == 403
    assert client.post("/ja/gradio_api/queue/join", headers={"origin": "null"}).status_code == 403
    assert client.get("/alive", headers={"origin": HERE}).status_code == 200


@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_page_names_no_other_host(client, language):
    answer = client.get(f"/{language}/")
    assert answer.status_code == 200
    assert f'lang="{language}"' in answer.text
    addresses = re.findall(r"https?://[^\s\"'<>)]*", answer.text)
    assert [address for address in addresses if not OWN.match(address)] == []
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy
    assert "googleapis" not in answer.text and "cdnjs" not in answer.text


def test_styles_and_scripts_name_no_other_host(client):
    for name in ("dashboard/style.css", "dashboard/page.js", "dashboard/charts.js"):
        text = client.get(f"/static/{name}").text
        assert [found for found in re.findall(r"https?://[^\s\"'`)]*", text) if not OWN.match(found)] == []
    for font in re.findall(r'url\("(/static/fonts/[^"]+)"\)', client.get("/static/dashboard/style.css").text):
        assert client.get(font).status_code == 200
    assert client.get("/static/plotly.js").status_code == 200


def test_the_root_leads_to_the_language_and_keeps_the_question(client):
    def lands(headers):
        client.cookies.clear()
        return client.get("/?tab=train", headers=headers).headers["location"]

    assert lands({"accept-language": "en-US,en;q=0.9,ja;q=0.8"}) == "/en/?tab=train"
    assert lands({"accept-language": "fr, ja;q=0.5"}) == "/ja/?tab=train"
    assert lands({"accept-language": ""}) == "/ja/?tab=train"
    assert lands({"accept-language": "ja", "cookie": "language=en"}) == "/en/?tab=train"
    assert lands({"cookie": "language=../evil"}) == "/ja/?tab=train"


def test_the_full_curves_can_be_had(client):
    answer = client.get("/curves.csv")
    assert answer.text.startswith("step,epoch,loss")
    assert "attachment" in answer.headers["content-disposition"]


def test_no_api_page(client):
    for path in ("/docs", "/openapi.json", "/redoc"):
        assert client.get(path).status_code == 404
    named = client.get("/ja/gradio_api/info").json()["named_endpoints"]
    assert [name for name in named if "update" in name or "obey" in name or "stop" in name] == []


def test_browser_words_are_complete():
    assert set(page_words("ja")) == set(page_words("en")) >= {"age.now", "header.offline", "chart.png"}


def test_an_unchanged_page_is_skipped_as_a_whole(bridge, story):
    skip = gr.skip()
    drawn = []

    def draw(snapshot):
        drawn.append(snapshot.version)
        return [f"step {snapshot.step}", snapshot.run]

    seen, *first = changes(bridge, draw, 3, None)
    assert first == ["step 0", ""]
    assert changes(bridge, draw, 3, seen) == [skip] * 3
    assert len(drawn) == 1, "nothing is drawn while nothing changes"

    snapshot = bridge.engine.snapshot()
    for event in story(2):
        snapshot = fold(snapshot, event)
    bridge.engine._worker.show(replace(snapshot, state="stopped"))
    seen, step, run = changes(bridge, draw, 3, seen)
    assert step == "step 2" and run != skip

    bridge.engine._worker.show(fold(bridge.engine.snapshot(), story(3)[-1]))
    seen, step, run = changes(bridge, draw, 3, seen)
    assert step == "step 3" and run == skip, "only what has changed is sent"

    bridge.draft.edit(bridge.draft.text + "\n# a note\n")
    assert changes(bridge, draw, 3, seen)[0] != skip, "the draft is on the page too"
