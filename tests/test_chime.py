"""What a sleeper hears: the right sound at the right moment, by programs that are there, and never a failed chain."""

import sys
import wave

import pytest
from scripted_chain import Script

from so8t_engine import Engine, RunPipeline, chime, config
from so8t_engine import events as e
from so8t_engine.errors import EngineError
from so8t_engine.settings import STAGES

OPENED = e.PipelineOpened(pipeline="one", folder="x", stages=STAGES, resumed=False)
ENDED = e.PipelineFinished(folder="x", winner="retrained", pushed="", seconds=1.0)


def ended(stage: str, outcome: str = "finished") -> e.StageFinished:
    return e.StageFinished(stage=stage, outcome=outcome, seconds=1.0)


@pytest.fixture
def rings(monkeypatch):
    found = []
    monkeypatch.setattr(chime, "ring", lambda kind, **facts: found.append((kind, facts)))
    return found


def test_it_rings_after_a_stage_and_at_the_end_and_only_when_no_page_does(rings):
    events = [OPENED, ended("train", "kept"), ended("evaluate", "skipped"), e.StageStarted(stage="ab_test"), ended("ab_test"), ENDED]
    assert list(chime.rung(iter(events), lambda: False)) == events
    assert rings == [("stage_done", {"stage": "ab_test", "number": 3, "count": 6}), ("all_done", {})]
    rings.clear()
    assert list(chime.rung(iter(events), lambda: True)) == events and rings == []


@pytest.mark.parametrize("begun, expected", [((OPENED, ended("export", "failed")), [("trouble", {"stage": "export"})]), ((), [])])
def test_trouble_rings_once_the_chain_has_begun_and_is_passed_on(rings, begun, expected):
    def chain():
        yield from begun
        raise EngineError("export.locked")

    with pytest.raises(EngineError):
        list(chime.rung(chain(), lambda: False))
    assert rings == expected


@pytest.mark.parametrize("sound, heard, kinds", [
    (True, False, ["stage_done"] * 6 + ["all_done"]), (True, True, []), (False, False, []),
])  # fmt: skip
def test_the_engine_rings_unless_it_is_muted_or_a_page_is_open(rings, tiny_settings, monkeypatch, sound, heard, kinds):
    settings = config.from_values(config.to_values(tiny_settings) | {"pipeline.sound": sound})
    Script(settings).install(monkeypatch)
    engine = Engine(settings.resolve(settings.runs))
    engine.heard = lambda: heard
    engine.submit(RunPipeline(settings=settings))
    engine.wait(30)
    assert engine.snapshot().pipeline_finished and [kind for kind, _ in rings] == kinds
    assert [(one.finished, one.results["tries"]) for one in engine.pipelines()] == [(True, 1)]


@pytest.mark.parametrize("system", ["win32", "darwin", "linux"])
def test_words_go_to_programs_as_words_and_never_into_code(system):
    nasty = "'; Remove-Item x; \" $(id) <b>"
    (command, environment) = chime.notifier(nasty, system, lambda name: name)
    (plain, _) = chime.notifier("other", system, lambda name: name)
    code = [part for part in command if part in plain]
    assert not any(piece in " ".join(code) for piece in ("Remove-Item x", "$(id)"))
    if system == "win32":
        assert command == plain and environment["SO8T_TEXT"] == nasty
    else:
        assert len(command) == len(plain) and command[-1].replace("&lt;", "<").replace("&gt;", ">") == nasty


@pytest.mark.parametrize("system", ["win32", "darwin", "linux"])
def test_what_a_system_lacks_stays_silent(system):
    assert chime.notifier("x", system, lambda name: None) is None
    assert chime.player(chime.FOLDER / "all_done.wav", system, lambda name: None) is None


def test_the_first_player_that_is_there_plays(tmp_path):
    (command, _) = chime.player(tmp_path / "a b.wav", "linux", {"aplay": "/usr/bin/aplay", "canberra-gtk-play": "/x"}.get)
    assert command == ["aplay", "-q", str(tmp_path / "a b.wav")]


def test_a_program_that_fails_or_is_not_there_holds_nothing_up(monkeypatch, tmp_path):
    commands = [([sys.executable, "-c", "import sys; sys.exit(3)"], {}), ([str(tmp_path / "no such program")], {})]
    monkeypatch.setattr(chime, "notifier", lambda text: commands[0])
    monkeypatch.setattr(chime, "player", lambda file: commands[1])
    chime._ring(tmp_path / "no such sound.wav", "all_done", {})


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("kind", ["stage_done", "all_done", "trouble"])
def test_every_kind_has_a_short_sound_and_words_for_every_stage(kind, language):
    file = chime.FOLDER / f"{kind}.wav"
    assert file.stat().st_size < 60_000
    with wave.open(str(file)) as sound:
        samples = memoryview(sound.readframes(sound.getnframes())).cast("h")
        assert 0.5 < sound.getnframes() / sound.getframerate() < 1.5
    assert max(map(abs, samples)) < 20_000 and abs(samples[0]) < 300 and abs(samples[-1]) < 300
    for stage in STAGES:
        told = chime.sentence(kind, language, {"stage": stage, "number": 1, "count": 6})
        assert told and not set("_{}") & set(told)
