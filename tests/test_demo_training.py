"""The demo teaches: a shortened retraining moves decisions on rows of unseen wording, in both languages."""

from bench.demo_training import DEMO, HELD_OUT, measure
from so8t_engine import Engine, StartTraining, config
from so8t_engine.data.sources import read


def test_shortened_demo_learns_the_classes(tmp_path, several_threads):
    """The full demo's bar is macro-F1 0.85 (bench/demo_training.py); an eighth of it must reach 0.50 from below 0.30."""
    shorter = ["train.epochs=0.25", "train.validate_every=1000", "evaluate.every_minutes=0", f"runs={tmp_path}"]
    settings = config.load(DEMO, shorter)
    engine = Engine(tmp_path)
    engine.submit(StartTraining(settings=settings, output=str(tmp_path / "run")))
    engine.wait()
    assert engine.snapshot().state == "finished", engine.snapshot().failure
    samples = list(read(HELD_OUT).samples)[::8]
    assert {s.language for s in samples} == {"ja", "en"}
    results = measure(tmp_path / "run", samples)
    assert results["before"]["all"] <= 0.30
    assert results["after"]["all"] >= 0.50
    assert results["after"]["unparseable"] <= 0.05
