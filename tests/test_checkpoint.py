"""Checkpoints: whatever moment the power fails at, what is trusted is whole, and a good one remains."""

import builtins
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made import environment

from so8t_engine import checkpoint, disk
from so8t_engine.errors import CheckpointError


def filler(step):
    def fill(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "weights.bin").write_bytes(bytes([step % 256]) * 1000)
        (folder / "state.json").write_text(json.dumps({"step": step}))

    return fill


def save(folder, step, keep=10):
    return checkpoint.save(folder, step, filler(step), {"settings": "x"}, keep)


def test_newest_good_is_found_by_step_and_reads_back(tmp_path):
    for step in (9, 10, 100):
        save(tmp_path, step)
    found, faults = checkpoint.newest_good(tmp_path)
    assert (found.step, faults) == (100, [])
    assert json.loads((found.folder / "state.json").read_text()) == {"step": 100}


DAMAGE = {
    "flipped bit": lambda f: (f / "state.json").write_bytes((f / "state.json").read_bytes()[:-1] + b"!"),
    "cut file": lambda f: os.truncate(f / "inner" / "weights.bin", 10),
    "lost file": lambda f: (f / "state.json").unlink(),
    "no manifest": lambda f: (f / "MANIFEST.json").unlink(),
    "half a manifest": lambda f: os.truncate(f / "MANIFEST.json", 20),
    "empty manifest": lambda f: (f / "MANIFEST.json").write_text("{}"),
    "manifest of another kind": lambda f: (f / "MANIFEST.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_checkpoint_is_put_aside_with_its_reason(tmp_path, damage):
    good = save(tmp_path, 1)
    bad = save(tmp_path, 2)
    DAMAGE[damage](bad.folder)
    found, faults = checkpoint.newest_good(tmp_path)
    assert found.folder == good.folder
    assert len(faults) == 1 and faults[0].where.startswith(str(bad.folder))
    assert not bad.folder.exists()
    assert checkpoint.newest_good(tmp_path) == (found, [])


@settings(max_examples=25, deadline=None)
@example(keep=2, steps=[1, 1, 0], bad=set())
@given(keep=st.integers(2, 5), steps=st.lists(st.integers(0, 50), min_size=1, max_size=8), bad=st.sets(st.integers(0, 7)))
def test_rotation_keeps_at_most_that_many_and_never_drops_the_last_two_good_ones(tmp_path_factory, keep, steps, bad):
    folder = tmp_path_factory.mktemp("rotation")
    saved = []
    for i, step in enumerate(steps):
        item = save(folder, step, keep)
        saved.append(item)
        assert item.folder.exists()
        if i in bad and i < len(steps) - 1:
            (item.folder / "state.json").write_text("damaged")
    left = [item for item in saved if item.folder.exists()]
    good = [item for item in left if (item.folder / "state.json").read_text() != "damaged"]
    whole = len(steps) - len([i for i in bad if i < len(steps) - 1])
    assert len(good) >= min(2, whole)
    assert len(left) <= (keep + 2 if bad else keep)


def test_rotation_goes_by_the_manifest_not_by_name_or_time(tmp_path):
    for step in (5, 3, 8, 1):
        save(tmp_path, step, keep=10)
    save(tmp_path, 9, keep=3)
    assert sorted(int(p.name[5:13]) for p in tmp_path.glob("step-*")) == [5, 8, 9]


def test_old_checkpoint_that_another_program_holds_does_not_fail_the_new_one(tmp_path, monkeypatch):
    def held(path):
        raise PermissionError(13, "held")

    monkeypatch.setattr(checkpoint, "delete_folder", held)
    for step in (1, 2, 3):
        save(tmp_path, step, keep=2)
    assert checkpoint.newest_good(tmp_path)[0].step == 3
    monkeypatch.undo()
    save(tmp_path, 4, keep=2)
    checkpoint.newest_good(tmp_path)
    assert sorted(int(p.name[5:13]) for p in tmp_path.glob("step-*") if (p / "MANIFEST.json").exists()) == [3, 4]


class Failing:
    """Lets the n-th write to disk fail, as a full disk does."""

    def __init__(self, monkeypatch, at):
        self.left = at
        for owner, name in ((os, "fsync"), (os, "replace")):
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name)))

    def wrap(self, original):
        def call(*arguments, **more):
            self.left -= 1
            if self.left == 0:
                raise OSError(28, "No space left on device")
            return original(*arguments, **more)

        return call


@pytest.mark.parametrize("at", range(1, 9))
def test_full_disk_at_any_point_leaves_the_older_checkpoint_in_force(tmp_path, monkeypatch, at):
    save(tmp_path, 1)
    with monkeypatch.context() as patched:
        Failing(patched, at)
        try:
            save(tmp_path, 2)
            failed = False
        except CheckpointError as error:
            failed = True
            assert error.code == "checkpoint.unwritten" and "No space" in str(error)
    found, _ = checkpoint.newest_good(tmp_path)
    assert found.step in ((1, 2) if failed else (2,))
    checkpoint.verify(found.folder)
    assert save(tmp_path, 3).step == 3


KIND = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
PROCESSES = multiprocessing.get_context(KIND)  # a child is there at once, where the system can


def dies(folder: Path, point: int) -> None:
    """Save a third checkpoint, in a process of its own, and die at its n-th call of the file system."""
    left = point

    def deadly(original):
        def call(*arguments, **options):
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            return original(*arguments, **options)

        return call

    def fill(to: Path) -> None:
        for name in ("a.bin", "b.bin"):
            (to / name).write_bytes(b"new" * 1000)

    for name in ("fsync", "replace", "open", "unlink", "rmdir", "mkdir"):
        setattr(os, name, deadly(getattr(os, name)))
    checkpoint.save(folder, 3, fill, {}, keep=2)
    os._exit(0)


def test_killed_at_every_point_of_a_save_there_is_always_a_good_one(tmp_path):
    """The process dies at its n-th call of the file system, for every n up to a whole save with rotation."""
    for point in range(1, 60):
        folder = tmp_path / str(point)
        save(folder, 1), save(folder, 2)
        process = PROCESSES.Process(target=dies, args=(folder, point))
        process.start()
        process.join()
        assert process.exitcode in (0, 9), point
        found, _ = checkpoint.newest_good(folder)
        assert found is not None and found.step in (2, 3), point
        assert save(folder, 4).step == checkpoint.newest_good(folder)[0].step
        if process.exitcode == 0:
            break
    assert process.exitcode == 0 and point > 10


def test_sharing_violation_is_waited_out_then_named(tmp_path, monkeypatch):
    def held_until(calls):
        def action():
            calls[0] -= 1
            if calls[0] >= 0:
                error = PermissionError(13, "held")
                error.winerror = 32
                raise error
            return "done"

        return action

    assert disk.retried(held_until([3]), tmp_path) == "done"
    monkeypatch.setattr(disk, "_PATIENCE_SECONDS", 0.1)
    with pytest.raises(Exception, match="Another program holds"):
        disk.retried(held_until([1000]), tmp_path)


def test_two_processes_cannot_hold_one_run(tmp_path):
    holder = "import sys; from pathlib import Path; from so8t_engine.disk import FolderLock\nwith FolderLock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as other:
        assert other.stdout.readline().strip() == b"held"
        with pytest.raises(Exception, match="Another process"), disk.FolderLock(tmp_path):
            pass
        other.kill()
    with disk.FolderLock(tmp_path):  # the system frees the lock of a dead process
        pass


def test_write_whole_never_leaves_half_a_file(tmp_path, monkeypatch):
    target = tmp_path / "file.json"
    target.write_bytes(b"old")
    real = builtins.open
    with monkeypatch.context() as patched:
        Failing(patched, 1)
        with pytest.raises(OSError):
            disk.write_whole(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]
    assert real is builtins.open
