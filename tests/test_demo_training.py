"""The demo teaches: a shortened retraining moves decisions on rows of unseen wording, in both languages."""

from bench.demo_training import DEMO, HELD_OUT, measure
from so8t_engine import Engine, StartTraining, config
from so8t_engine.data.sources import read


def test_shortened_demo_learns_the_classes(tmp_path):
    """The full demo's bar is macro-F1 0.85 (bench/demo_training.py); a quarter of it must reach 0.55 from below 0.40."""
    settings = config.load(DEMO, ["train.epochs=0.5", f"runs={tmp_path}", "train.validate_every=1000"])
    engine = Engine(tmp_path)
    engine.submit(StartTraining(settings=settings, output=str(tmp_path / "run")))
    engine.wait()
    assert engine.snapshot().state == "finished", engine.snapshot().failure
    samples = list(read(HELD_OUT).samples)[::4]
    assert {s.language for s in samples} == {"ja", "en"}
    results = measure(tmp_path / "run", samples)
    assert results["before"]["all"] <= 0.40
    assert results["after"]["all"] >= 0.55
    assert results["after"]["unparseable"] <= 0.05
