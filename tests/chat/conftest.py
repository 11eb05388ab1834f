"""The desk in a runs folder of its own, with models that answer by script and a stand-in for Ollama."""

import pytest
from desk_setting import Setting
from ollama_stand_in import StandIn


@pytest.fixture
def ollama():
    server = StandIn()
    server.models = {"borea:q8": "digest-of-borea"}
    yield server
    server.stop()


@pytest.fixture
def setting(tmp_path, ollama):
    return Setting(tmp_path / "runs", ollama.address)


@pytest.fixture
def desk(setting):
    return setting.desk()
