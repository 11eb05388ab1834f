"""A GGUF file that has its name is whole, whatever happens."""

import errno
import mmap
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from gguf_bases import NEVER, export, names, outputs, refused, sha256

from so8t_engine import disk
from so8t_engine.errors import Busy, EngineError
from so8t_engine.events import ConversionProgressed, GgufWritten
from so8t_engine.export import gguf, output, stream, tensors
from so8t_engine.export.gguf import convert
from so8t_engine.export.metadata import Facts, named
from so8t_engine.export.output import Output

# What is told, and where it goes


def test_progress_counts_the_bytes_and_the_files_are_told_with_their_hashes(base, adapter, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(tensors, "PIECE", 4096)
    folder = tmp_path / "出力 (1) & 100%"
    events = list(convert(base, adapter, outputs(folder), Facts(), NEVER))
    moved = [event for event in events if isinstance(event, ConversionProgressed)]
    for stage in ("write", "check"):
        done = [event.done for event in moved if event.stage == stage]
        assert done == sorted(done) and done[-1] == moved[-1 if stage == "check" else 0].total
    assert len([event for event in moved if event.stage == "write"]) > 20
    files = [event for event in events if isinstance(event, GgufWritten)]
    assert [event.quantization for event in files] == ["f16", "q8_0"]
    for event in files:
        file = folder / f"model-{event.quantization}.gguf"
        assert (event.file, event.sha256, event.bytes) == (str(file), sha256(file), file.stat().st_size)
    assert names(folder) == {"model-f16.gguf", "model-q8_0.gguf"}


@pytest.mark.parametrize("past_the_cache", ["there", "refused", "refused later", "missing"])
def test_small_pieces_blocks_and_stretches_make_the_same_files(base, tmp_path, monkeypatch, past_the_cache):
    whole = export(base, None, tmp_path / "whole", "f16", "q8_0", "bf16")
    monkeypatch.setattr(tensors, "PIECE", 1024)  # the same memory many times over
    monkeypatch.setattr(stream, "STRETCH", 7)
    monkeypatch.setattr(disk, "PASSING", 1000)
    monkeypatch.setattr(disk, "BLOCK", 2 * mmap.PAGESIZE)
    if past_the_cache == "missing":  # as on Windows
        monkeypatch.delattr(os, "O_DIRECT", raising=False)
    elif past_the_cache == "refused":
        monkeypatch.setattr(os, "O_DIRECT", 2**14, raising=False)
        monkeypatch.setattr(os, "open", refusing(os.open))
    elif past_the_cache == "refused later":
        monkeypatch.setattr(disk._Direct, "_tried", refusing_later(disk._Direct._tried))
    pieces = export(base, None, tmp_path / "pieces", "f16", "q8_0", "bf16")
    for kind, event in pieces.items():
        assert sha256(Path(event.file)) == event.sha256 == whole[kind].sha256


def refusing(system):
    """The system's `open`, on a file system that can't pass its cache by."""

    def call(path, flags, *rest, **named):
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument", path)
        return system(path, flags, *rest, **named)

    return call


def refusing_later(tried):
    """`_Direct._tried`, on a file system that opens a file so, but neither writes nor reads it."""
    fcntl = pytest.importorskip("fcntl")

    def call(file, action, data):
        def system(data):
            if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
                raise OSError(errno.EINVAL, "Invalid argument")
            return action(data)

        return tried(file, system, data)

    return call


def test_every_byte_is_synced_before_it_is_read_again_and_the_first_while_others_are_written(
    base, tmp_path, monkeypatch
):
    monkeypatch.setattr(tensors, "PIECE", 1024)
    monkeypatch.setattr(stream, "STRETCH", 7)
    monkeypatch.setattr(disk, "BLOCK", mmap.PAGESIZE)
    sync, opened, finish = disk.DirectFile.sync, disk.open_direct, Output.finish
    parts = {tmp_path / f"model-{kind}.gguf.part": kind for kind in ("f16", "q8_0")}
    synced, read, begun = dict.fromkeys(parts, 0), dict.fromkeys(parts, 0), {part: threading.Event() for part in parts}

    def synchronized(self):
        written = self.written
        sync(self)
        synced[Path(self._file.name)] = written

    class Watched:
        def __init__(self, path, mode):
            self.path, self.file = path, opened(path, mode)
            self.close = self.file.close

        def readinto(self, block):
            count = self.file.readinto(block)
            read[self.path] += count
            assert read[self.path] <= synced[self.path]
            begun[self.path].set()
            return count

    def finished(self):
        assert begun[self.part].wait(20)
        finish(self)

    monkeypatch.setattr(disk.DirectFile, "sync", synchronized)
    monkeypatch.setattr(output, "open_direct", Watched)
    monkeypatch.setattr(Output, "finish", finished)
    written = export(base, None, tmp_path, *parts.values())
    assert read == {part: written[kind].bytes for part, kind in parts.items()}


def test_pieces_are_computed_on_one_thread_each_and_all_others_as_before():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with stream.single_threaded(2) as pool:
            pool.submit(torch.matmul, torch.ones(2, 2), torch.ones(2, 2)).result()
            assert [pool.submit(torch.get_num_threads).result() for _ in range(8)] == [1] * 8
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_the_file_says_where_it_comes_from(base, tmp_path):
    facts = {"name": "my guard", "base": "AXCXEPT/Borea-Phi-3.5-mini-Instruct-Jp", "dataset": "rows.jsonl", "dataset_sha256": "ab" * 32,
             "run": "20261122-220000-abcdef", "license": "mit"}  # fmt: skip
    export(base, None, tmp_path, "f16", **facts)
    found = {name: field.contents() for name, field in GGUFReader(tmp_path / "model-f16.gguf").fields.items()}
    expected = {
        "general.name": "my guard Phi-3", "general.license": "mit", "so8t.run": facts["run"],
        "general.base_model.0.name": "Borea-Phi-3.5-mini-Instruct-Jp", "general.base_model.0.organization": "AXCXEPT",
        "general.base_model.0.repo_url": f"https://huggingface.co/{facts['base']}",
        "general.dataset.0.name": "rows.jsonl", "general.dataset.0.version": "sha256:" + "ab" * 32,
    }  # fmt: skip
    assert expected.items() <= found.items()


@pytest.mark.parametrize(
    ("given", "expected"),
    [("Borea Phi 3.5 mini", "Borea Phi-3.5 mini"), ("x-phi-3", "x-phi-3"), ("phi3", "phi-3"), ("PHI_3.5", "PHI-3.5"),
     ("my guard", "my guard Phi-3"), ("phi 4", "phi 4 Phi-3"), ("", "Phi-3")],
)  # fmt: skip
def test_every_name_says_phi_3(given, expected):
    assert named(given) == expected


# Killed, stopped, refused by the system


class Killed(BaseException):
    """Stands for the death of the process: nothing of ours runs after it. A true one dies in test_export_command.py."""


STEPS = ("begin", "write", "finish", "check", "verify", "publish")


def die_at(monkeypatch, moment):
    """The process dies at the `moment`th step of any file, before or after it. Gives a function that counts them."""
    count, lock = [0], threading.Lock()

    def pass_one():
        with lock:
            count[0] += 1
            if count[0] >= moment:
                raise Killed

    def dying(method):
        def call(self, *rest):
            pass_one()
            result = method(self, *rest)
            pass_one()
            return result

        return call

    for step in STEPS:
        monkeypatch.setattr(Output, step, dying(getattr(Output, step)))
    # What a dead process has not handed to the system is lost: nothing is written later.
    monkeypatch.setattr(Output, "discard", Output._close)
    monkeypatch.setattr(stream, "STRETCH", 10)
    return lambda: count[0]


@pytest.mark.parametrize("replacing", [False, True])
def test_killed_at_every_step_no_named_file_is_partial_and_a_repeat_succeeds(
    base, adapter, tmp_path, monkeypatch, replacing
):
    export(base, None, tmp_path, "f16", "q8_0")
    old = {name: sha256(tmp_path / name) for name in names(tmp_path)}
    with monkeypatch.context() as patch:
        steps = die_at(patch, 10**9)
        new = {Path(event.file).name: event.sha256 for event in export(base, adapter, tmp_path, "f16", "q8_0").values()}
        last = steps()
    assert last > 60
    moments = {1, 2, 3, 4, *range(5, last, 17), *range(last - 12, last + 1)}
    for moment in sorted(moments):
        folder = tmp_path / str(moment)
        folder.mkdir()
        if replacing:
            export(base, None, folder, "f16", "q8_0")
        with monkeypatch.context() as patch:
            die_at(patch, moment)
            with pytest.raises(Killed):
                export(base, adapter, folder, "f16", "q8_0")
        for name in old:
            if replacing or (folder / name).exists():
                assert sha256(folder / name) in ({old[name], new[name]} if replacing else {new[name]}), moment
        export(base, adapter, folder, "f16", "q8_0")
        assert {name: sha256(folder / name) for name in names(folder)} == new
        shutil.rmtree(folder)


@pytest.mark.parametrize("stage", ["write", "check"])
def test_a_stop_leaves_what_was_there_before(base, adapter, tmp_path, monkeypatch, stage):
    monkeypatch.setattr(gguf, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(tensors, "PIECE", 4096)
    export(base, None, tmp_path, "f16", "q8_0")
    before = {name: sha256(tmp_path / name) for name in names(tmp_path)}
    cancel = threading.Event()
    for event in convert(base, adapter, outputs(tmp_path), Facts(), cancel):
        assert not isinstance(event, GgufWritten)
        assert not cancel.is_set() or stage == "check", "it went on"
        if event.stage == stage:
            cancel.set()
    assert cancel.is_set()
    assert {name: sha256(tmp_path / name) for name in names(tmp_path)} == before


def test_a_closed_generator_leaves_no_file_and_no_thread(base, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "PROGRESS_SECONDS", 0.0)
    threads = torch.get_num_threads()
    events = convert(base, None, outputs(tmp_path), Facts(), NEVER)
    next(events)
    found = []
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    events.close()
    assert not names(tmp_path)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("export")]
    assert torch.get_num_threads() == threads and found == [threads]  # nobody else computes more slowly


def test_a_full_disk_is_told_and_what_was_written_goes(base, tmp_path, monkeypatch):
    write = Output.write

    def full(self, data, last):
        if self.kind == "q8_0" and self._written > 200_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data, last)

    monkeypatch.setattr(Output, "write", full)
    error = refused(EngineError, "export.unwritten", base, None, tmp_path / "out")
    assert "No space left" in error.facts["reason"]


def test_room_is_looked_for_before_anything_is_written(base, tmp_path, monkeypatch):
    monkeypatch.setattr(Output, "begin", lambda *_: pytest.fail("written"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**40, 2**40, 2**20))
    error = refused(EngineError, "export.disk_short", base, None, tmp_path / "out")
    assert error.facts["free"] == "0.00 GiB"


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-32], lambda data: data[:5000] + b"\x99" + data[5001:], lambda data: b"XXXX" + data[4:], lambda _: b""]
)  # fmt: skip
def test_a_file_that_reads_otherwise_than_written_gets_no_name(base, tmp_path, monkeypatch, damage):
    finish = Output.finish

    def finished(self):
        finish(self)
        if self.kind == "q8_0":
            self.part.write_bytes(damage(self.part.read_bytes()))

    monkeypatch.setattr(Output, "finish", finished)
    refused(EngineError, "export.damaged", base, None, tmp_path / "out")


def test_a_file_that_lacks_a_part_gets_no_name(base, tmp_path, monkeypatch):
    """What was streamed is read back as it was, but it is not what the head promises."""
    write, wrote = Output.write, []

    def losing(self, data, last):
        wrote.append(None)
        write(self, data[: 0 if len(wrote) == 20 else None], last)

    monkeypatch.setattr(Output, "write", losing)
    error = refused(EngineError, "export.damaged", base, None, tmp_path / "out")
    assert "bytes" in error.facts["reason"]


def test_a_file_held_by_another_program_is_named(base, adapter, tmp_path, monkeypatch):
    export(base, None, tmp_path, "f16")
    before = sha256(tmp_path / "model-f16.gguf")

    def held(*_):
        error = PermissionError(13, "in use")
        error.winerror = 32
        raise error

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(disk, "_PATIENCE_SECONDS", 0.1)
    with pytest.raises(EngineError) as caught:
        export(base, adapter, tmp_path, "f16")
    assert caught.value.code == "disk.held" and caught.value.where.endswith("model-f16.gguf")
    assert names(tmp_path) == {"model-f16.gguf"} and sha256(tmp_path / "model-f16.gguf") == before


def test_two_exports_into_one_folder_do_not_meet(base, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "PROGRESS_SECONDS", 0.0)
    first = convert(base, None, outputs(tmp_path), Facts(), NEVER)
    next(first)
    with pytest.raises(Busy) as caught:
        export(base, None, tmp_path, "f16")
    assert caught.value.code == "export.locked"
    assert len([event for event in first if isinstance(event, GgufWritten)]) == 2
