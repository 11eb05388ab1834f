"""The audit log: whatever happens to it is found, whatever happens to us costs no record, and it holds no text."""

import io
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time

import pytest
from made import environment

from so8t_engine import audit as audit_module
from so8t_engine import audit_verdict, disk
from so8t_engine.__main__ import main
from so8t_engine.audit import Audit, verify
from so8t_engine.audit_chain import Keys, canonical, keys_in, seal
from so8t_engine.errors import EngineError

CLASSES = ("ALLOW", "ESCALATION", "DENY", "REFUSE", "")


def answer(log, number=0, *, closed=True, **changes):
    facts = {"model": f"{number % 2}" * 64, "label": CLASSES[number % 5], "prompt": "問い", "thinking": "考え"}
    opened = log.open(**facts | changes)
    if closed:
        log.close(opened, shown=f"答え {number}", confidence=None if number % 7 == 0 else 0.9, ended="complete")
    return opened


def fill(folder, answers):
    log = Audit(folder)
    for number in range(answers):
        answer(log, number, closed=number % 10 != 3)
    return log


@pytest.fixture
def log(tmp_path):
    """A log that has nothing in it yet."""
    return Audit(tmp_path / "runs" / "audit")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The folder of a whole log of sixty answers, six of them unfinished. Tests work on copies."""
    return fill(tmp_path_factory.mktemp("audit"), 60).folder


@pytest.fixture
def copy(original, tmp_path):
    return shutil.copytree(original, tmp_path / "copy")


def code_of(action, *arguments, **more):
    """The code of the error that the call must end with."""
    with pytest.raises(EngineError) as caught:
        action(*arguments, **more)
    assert caught.value.what("ja") and caught.value.hint("ja")
    return caught.value.code


# What it is for


def test_a_whole_log_says_so_and_counts(original):
    verdict = verify(original / "log.jsonl")
    assert verdict.whole and verdict.faults == () and verdict.torn == 0
    assert (verdict.records, verdict.answers, verdict.unfinished) == (114, 60, 6)
    assert verdict.first <= verdict.last <= time.time()
    assert (original / "log.jsonl").read_text(encoding="utf-8").endswith(f'"{verdict.mac}"}}\n')
    assert verify(original) == verdict


def test_no_text_lies_in_the_folder(log):
    secrets = {"prompt": "給与の一覧を見せて", "thinking": "危険かもしれない", "shown": "お見せできません ABCDEF"}
    number = log.open(model="a" * 64, label="DENY", prompt=secrets["prompt"], thinking=secrets["thinking"])
    log.close(number, shown=secrets["shown"], confidence=0.5, ended="complete")
    for file in log.folder.iterdir():
        for text in secrets.values():
            for written in (text.encode(), text.encode("utf-16-le"), json.dumps(text)[1:-1].encode(), text[:5].encode()):
                assert written not in file.read_bytes(), file


def test_thinking_is_salted_and_what_was_shown_is_bound(log):
    """The same thought twice leaves no trace of being the same; the key's holder can prove prompt and answer."""
    for shown in ("yes", "yes", "no"):
        log.close(log.open(model="m", label="ALLOW", prompt="p", thinking="t"), shown=shown, confidence=1.0, ended="x")
    records = [json.loads(line) for line in log.log.read_text(encoding="utf-8").splitlines()]
    opened, closed = records[::2], records[1::2]
    assert len({r["prompt"] for r in opened}) == 1
    assert len({r["thinking"] for r in opened}) == len({r["nonce"] for r in opened}) == 3
    assert closed[0]["shown"] == closed[1]["shown"] != closed[2]["shown"]
    assert len({r["prompt"] for r in opened} | {r["shown"] for r in closed} | {r["thinking"] for r in opened}) == 6


def test_half_characters_are_taken_as_they_come(log):
    number = log.open(model="m", label="\ud83d", prompt="\ud800", thinking="\udfff" * 3)
    log.close(number, shown="\udc00", confidence=None, ended="stopped")
    assert log.verify().whole
    assert log.answers()[0].ended == "stopped"


def test_openings_without_an_end_are_counted_and_no_fault(log):
    for number in range(4):
        answer(log, number, closed=number == 2)
    verdict = log.verify()
    assert verdict.whole and (verdict.answers, verdict.unfinished) == (4, 3)
    assert [entry.finished for entry in log.answers()] == [False, True, False, False]


# The viewer


def test_answers_come_newest_first_and_joined(log, monkeypatch):
    clock = iter(range(1000, 2000))
    monkeypatch.setattr(audit_module.time, "time", lambda: next(clock))
    for number in range(10):
        answer(log, number)
    entries = log.answers()
    assert [entry.number for entry in entries] == list(range(19, 0, -2))
    newest = entries[0]
    assert (newest.label, newest.model, newest.confidence, newest.ended) == ("", "1" * 64, 0.9, "complete")
    assert entries[-1].confidence is None
    assert [entry.number for entry in log.answers(label="DENY")] == [15, 5]
    assert {entry.model for entry in log.answers(model="0" * 64)} == {"0" * 64}
    assert [entry.number for entry in log.answers(since=newest.time)] == [19]
    assert log.answers(label="DENY", model="1" * 64, since=newest.time) == []


def test_what_others_add_is_seen_and_a_new_log_is_no_longer_the_old_one(log):
    viewer, seen = Audit(log.folder), log.revision()
    assert viewer.answers() == [] and viewer.condition().records == 0
    for number in range(5):
        answer(log, number)
        assert viewer.answers() == Audit(log.folder).answers()
        assert log.revision() != seen
        seen = log.revision()
    assert len(viewer.answers()) == 5 and viewer.condition().mac == log.verify().mac
    shutil.move(log.folder, log.folder.with_name("aside"))
    for number in range(6):
        answer(log, number, label="ALLOW")
    assert [entry.label for entry in viewer.answers()] == ["ALLOW"] * 6
    shutil.move(log.folder, log.folder.with_name("aside too"))
    assert viewer.answers() == []
    answer(log, 1, label="REFUSE")
    assert [entry.label for entry in viewer.answers()] == ["REFUSE"]


def test_the_viewer_survives_any_rubbish(copy):
    file = copy / "log.jsonl"
    junk = b'{"kind":"closed"}\n[]\n{"kind":"opened","seq":"x"}\n\xff\xfe\n' + b"[" * 5000 + b"\n\n"
    file.write_bytes(junk + file.read_bytes() + junk + b'{"half')
    assert len(Audit(copy).answers()) == 60
    assert Audit(copy).condition().fault.code == "audit.broken"


# Tampering


def flip(lines, chance):
    line = chance.randrange(len(lines))
    data = bytearray(lines[line])
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    lines[line] = bytes(data)


def change_a_field(lines, chance):
    """Valid JSON of the right form with another value, the old MAC under it."""
    line = chance.randrange(len(lines))
    record = json.loads(lines[line])
    mac = record.pop("mac")
    name = chance.choice(sorted(record))
    others = {"kind": "opened", "label": "ALLOW", "ended": "sealed", "confidence": 0.123}
    record[name] = others.get(name, record[name] + 1 if isinstance(record[name], int | float) else "0" * 64)
    lines[line] = canonical(record)[:-1] + f',"mac":"{mac}"}}\n'.encode()


def delete(lines, chance):
    first = chance.randrange(len(lines))
    del lines[first : first + chance.choice((1, 1, 2, 10))]


def swap(lines, chance):
    one, other = chance.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]


def double(lines, chance):
    line = chance.randrange(len(lines))
    lines.insert(chance.randrange(line, len(lines) + 1), lines[line])


def cut(lines, chance):
    data = b"".join(lines)
    lines[:] = data[: chance.randrange(len(data))].splitlines(keepends=True)


def forge(lines, chance):
    """A record with the right links, by somebody who does not have the key."""
    line = chance.randrange(len(lines) + 1)
    previous = bytes.fromhex(json.loads(lines[line - 1])["mac"]) if line else bytes(32)
    record = {"seq": line + 1, "kind": "closed", "of": 1, "time": 0.0, "confidence": 1.0, "ended": "complete"}
    lines.insert(line, seal(Keys.of(b"guessed" * 5), previous, record)[0])


def insert_text(lines, chance):
    lines.insert(chance.randrange(len(lines) + 1), chance.choice((b"\n", b"{}\n", b"# checked\n", b'{"seq":1}\n')))


@pytest.mark.parametrize("edit", [flip, change_a_field, delete, swap, double, cut, forge, insert_text])
def test_every_edit_is_found_at_its_first_line(original, copy, edit):
    """Whatever is done: the lines before the first one that differs are genuine, and that one is named."""
    file, chance = copy / "log.jsonl", random.Random(edit.__name__)
    before = (original / "log.jsonl").read_bytes().splitlines(keepends=True)
    found = 0
    while found < 200:
        lines = list(before)
        edit(lines, chance)
        tampered = b"".join(lines)
        if tampered == b"".join(before):
            continue  # a swap of a line with itself, or a field that held that value
        file.write_bytes(tampered)
        after = io.BytesIO(tampered).readlines()
        same = next((i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), None)
        same = min(len(before), len(after)) if same is None else same
        verdict = verify(file)
        assert not verdict.whole
        assert verdict.records == same
        fault = verdict.faults[0]
        assert fault.where == f"{file}:{same + 1}" and fault.facts["line"] == str(same + 1)
        found += 1


def test_the_reason_fits_the_deed(original, copy):
    file = copy / "log.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    deeds = {
        "audit.edited": [*lines[:4], lines[4].replace(b'"time":1', b'"time":2'), *lines[5:]],
        "audit.out_of_place": [*lines[:4], *lines[5:]],
        "audit.not_a_record": [*lines[:4], b"hello\n", *lines[4:]],
        "audit.cut_short": lines[:4],
    }
    for code, changed in deeds.items():
        file.write_bytes(b"".join(changed))
        assert [fault.code for fault in verify(file).faults] == [code]


def test_an_edit_of_the_head_is_found(original, copy):
    head = (original / "head.json").read_bytes()
    for place in range(len(head)):
        changed = bytearray(head)
        changed[place] ^= 1 << place % 8
        (copy / "head.json").write_bytes(changed)
        verdict = verify(copy)
        assert [fault.code for fault in verdict.faults] == ["audit.head_bad"] and verdict.records == 114
    assert code_of(Audit(copy).open, model="m", label="", prompt="", thinking="") == "audit.head_bad"


def test_without_its_head_nothing_is_called_whole(copy):
    (copy / "head.json").unlink()
    verdict = verify(copy / "log.jsonl")
    assert [fault.code for fault in verdict.faults] == ["audit.head_missing"] and verdict.records == 114
    assert code_of(answer, Audit(copy)) == "audit.head_missing"
    assert Audit(copy).condition().fault.code == "audit.head_missing"
    assert not (copy / "head.json").exists()


def test_without_its_key_nothing_is_proved_and_none_is_made_up(copy):
    (copy / "key").unlink()
    assert [fault.code for fault in verify(copy).faults] == ["audit.key_missing"]
    before = (copy / "log.jsonl").read_bytes()
    assert code_of(answer, Audit(copy)) == "audit.key_missing"
    assert not (copy / "key").exists() and (copy / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize(("key", "code"), [("0" * 64, "audit.key_wrong"), ("abc", "audit.key_bad"), ("", "audit.key_bad")])
def test_another_key_is_called_that(copy, key, code):
    (copy / "key").write_text(key, encoding="ascii")
    assert [fault.code for fault in verify(copy).faults] == [code]
    code_of(answer, Audit(copy))
    assert (copy / "key").read_text(encoding="ascii") == key


def test_nothing_is_added_to_a_log_that_was_cut_or_forged(copy):
    file = copy / "log.jsonl"
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for damage in (b"".join(lines[:-1]), whole[:-1], b"", whole + b'{"forged":1}\n', b"".join([*lines[:-2], lines[-1], lines[-2]])):
        file.write_bytes(damage)
        assert code_of(answer, Audit(copy)) == "audit.broken"
        assert code_of(Audit(copy).close, 1, shown="", confidence=None, ended="complete") == "audit.broken"
        assert file.read_bytes() == damage
    file.unlink()
    assert code_of(answer, Audit(copy)) == "audit.broken"
    assert [fault.code for fault in verify(file).faults] == ["audit.cut_short"]
    file.write_bytes(whole)
    answer(Audit(copy))
    assert verify(copy).whole


def test_an_older_copy_is_told_by_a_mac_that_was_noted(original, copy):
    noted = [json.loads(line)["mac"] for line in (copy / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    answer(Audit(copy))
    newest = verify(copy).mac
    for mac in (noted[0], noted[-1].upper(), newest):
        assert verify(copy, mac).whole
    assert verify(original).whole  # nothing in it tells that it is old
    assert [fault.code for fault in verify(original, newest).faults] == ["audit.not_met"]


def test_log_and_head_of_different_copies_do_not_fit(original, copy):
    answer(Audit(copy))
    shutil.copytree(original, copy.with_name("fork"))
    fork = copy.with_name("fork")
    answer(Audit(fork), closed=False), answer(Audit(fork), 1)
    shutil.copy(copy / "head.json", fork / "head.json")
    assert [fault.code for fault in verify(fork).faults] == ["audit.head_differs"]
    assert code_of(answer, Audit(fork)) == "audit.broken"


# Crashes


def test_a_record_torn_at_any_byte_is_cut_off_and_a_whole_one_adopted(original, copy):
    """The power fails between log and head: everything between no byte and all bytes of the last record."""
    head, committed = (copy / "head.json").read_bytes(), (copy / "log.jsonl").read_bytes()
    answer(Audit(copy), closed=False)
    line = (copy / "log.jsonl").read_bytes()[len(committed) :]
    for length in range(len(line) + 1):
        torn = [line[:length]] + ([line[:length] + bytes(40), bytes(length) + line[length:]] if 0 < length < len(line) else [])
        for left in torn if length % 16 == 0 else torn[:1]:
            (copy / "head.json").write_bytes(head), (copy / "log.jsonl").write_bytes(committed + left)
            adopted = left == line
            verdict = verify(copy)
            assert verdict.whole and verdict.torn == (0 if adopted else len(left))
            assert verdict.records == 114 + adopted
            assert answer(Audit(copy), closed=False) == 115 + adopted
            verdict = verify(copy)
            assert verdict.whole and (verdict.records, verdict.torn) == (115 + adopted, 0)
            assert (copy / "log.jsonl").read_bytes().startswith(committed)


def test_the_records_of_several_crashes_are_all_adopted(copy):
    head = (copy / "head.json").read_bytes()
    for _ in range(3):
        answer(Audit(copy))
    (copy / "head.json").write_bytes(head)
    assert verify(copy).records == 120
    assert answer(Audit(copy)) == 121
    assert verify(copy).whole and Audit(copy).condition().records == 122


class Dead(BaseException):
    """The process is gone: nothing that it does afterwards reaches the disk."""


CALLS = ((os, ("open", "fsync", "replace", "rename", "unlink", "mkdir", "truncate")), (io, ("open",)))


class Failing:
    """Lets the n-th call of the file system fail with `error`, and with `for_good` every later one too."""

    def __init__(self, monkeypatch, at, error, for_good):
        self.left, self.error, self.for_good = at, error, for_good
        for owner, names in CALLS:
            for name in names:
                monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name)))

    def wrap(self, original):
        def call(*arguments, **more):
            self.left -= 1
            if self.left == 0 or (self.for_good and self.left < 0):
                raise self.error
            return original(*arguments, **more)

        return call


@pytest.mark.parametrize("start", ["empty", "filled"])
@pytest.mark.parametrize("moment", ["open", "close"])
def test_dying_at_any_call_loses_no_record_and_the_next_one_works(tmp_path, monkeypatch, start, moment):
    for point in range(1, 100):
        log = fill(tmp_path / str(point), 3) if start == "filled" else Audit(tmp_path / str(point))
        numbers = [answer(log, closed=False)] if moment == "close" else []
        before = log.verify().records if log.log.exists() else 0
        try:
            with monkeypatch.context() as patched:
                calls = Failing(patched, point, Dead(), for_good=True)
                numbers.append(answer(log, closed=False)) if moment == "open" else log.close(
                    numbers[0], shown="", confidence=None, ended="complete"
                )
        except Dead:
            pass
        new = answer(log, closed=False)
        verdict = log.verify()
        assert verdict.whole and verdict.torn == 0
        assert before + 1 <= verdict.records <= before + 2
        assert {*numbers, new} <= {entry.number for entry in log.answers()}
        if calls.left > 0:
            break
    assert point > (15 if start == "empty" and moment == "open" else 8)


@pytest.mark.parametrize("start", ["empty", "filled"])
def test_a_disk_that_refuses_at_any_call_changes_nothing(tmp_path, monkeypatch, start):
    for point in range(1, 100):
        log = fill(tmp_path / str(point), 3) if start == "filled" else Audit(tmp_path / str(point))
        files = {name: (log.folder / name).read_bytes() for name in ("log.jsonl", "head.json") if (log.folder / name).exists()}
        with monkeypatch.context() as patched:
            calls = Failing(patched, point, OSError(28, "No space left on device"), for_good=False)
            try:
                answer(log, closed=False)
            except EngineError as error:
                assert error.code == "audit.unwritable" and "No space left" in error.what("en")
                failed = True
            else:
                failed = False
        if failed and files and (log.folder / "head.json").read_bytes() == files["head.json"]:
            assert log.log.read_bytes() == files["log.jsonl"]
        before = log.verify().records if log.log.exists() else 0
        answer(log, closed=False)
        verdict = log.verify()
        assert verdict.whole and verdict.torn == 0 and verdict.records == before + 1
        assert not list(log.folder.glob("*.tmp"))
        if calls.left > 0:
            break
    assert point > (15 if start == "empty" else 8)


def test_a_record_is_on_the_disk_when_open_returns(log, monkeypatch):
    """The log first, then the head, each with the folder that names it: a power failure keeps what was promised."""
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (fsync(handle), done.append(os.fstat(handle).st_ino))[0])
    monkeypatch.setattr(os, "replace", lambda old, new: (replace(old, new), done.append(str(new)))[0])
    answer(log, closed=False)
    head = log.folder / "head.json"
    folder = [] if os.name == "nt" else [log.folder.stat().st_ino]
    expected = [log.log.stat().st_ino, *folder, head.stat().st_ino, str(head), *folder]
    assert done[-len(expected) :] == expected


@pytest.mark.skipif(os.name == "nt", reason="a limit on file sizes is what only POSIX has")
def test_a_disk_that_fills_up_within_a_record_changes_nothing(log):
    import resource

    answer(log)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 1, 100, 400):
        files = (log.log.read_bytes(), (log.folder / "head.json").read_bytes())
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(files[0]) + room, hard))
        try:
            assert code_of(answer, log) == "audit.unwritable"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (log.log.read_bytes(), (log.folder / "head.json").read_bytes()) == files
    answer(log)
    assert log.verify().whole and log.verify().records == 4


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file", encoding="utf-8")
    log = Audit(tmp_path / "runs" / "audit")
    assert code_of(answer, log) == "audit.unwritable"
    (tmp_path / "runs").unlink()
    answer(log)
    assert log.verify().whole


APPEND = """
import sys, threading
from pathlib import Path
from so8t_engine.audit import Audit
def work(thread):
    log = Audit(Path(sys.argv[1]))
    for i in range(int(sys.argv[3])):
        number = log.open(model="m", label="DENY", prompt=f"{thread} {i}", thinking="")
        print(f"{number}\\n", end="", flush=True)  # in one piece: other threads print too
        log.close(number, shown="x", confidence=0.5, ended="complete")
threads = [threading.Thread(target=work, args=(n,)) for n in range(int(sys.argv[2]))]
[t.start() for t in threads]
[t.join() for t in threads]
"""


def appending(log, threads, answers):
    command = [sys.executable, "-c", APPEND, str(log.folder), str(threads), str(answers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True)


def test_two_processes_with_eight_threads_each_write_one_chain(log):
    """From nothing: even the key is made once."""
    others = [appending(log, 8, 6) for _ in range(2)]
    numbers = [int(line) for other in others for line in other.communicate()[0].split()]
    assert [other.returncode for other in others] == [0, 0]
    verdict = log.verify()
    assert verdict.whole and (verdict.records, verdict.answers, verdict.unfinished) == (192, 96, 0)
    assert len(set(numbers)) == 96
    assert {entry.number for entry in log.answers()} == set(numbers)


def test_killed_in_the_middle_every_record_that_was_promised_is_there(log):
    promised = set()
    for lines in (1, 5, 12):
        with appending(log, 2, 1000) as other:
            promised |= {int(other.stdout.readline()) for _ in range(lines)}
            other.kill()
            promised |= {int(line) for line in other.stdout.read().split("\n")[:-1]}
        answer(log)
        assert log.verify().whole
    assert promised <= {entry.number for entry in log.answers()}


def test_reading_while_others_write_is_never_an_alarm(log):
    answer(log)
    faults, ended = [], threading.Event()

    def read():
        while not ended.is_set():
            verdict = log.verify()
            faults.extend(verdict.faults)
            faults.extend([log.condition().fault] if log.condition().fault else [])

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        answer(log, number)
    ended.set()
    reader.join()
    assert faults == []


def test_a_record_that_comes_while_a_torn_end_is_read_is_not_missed(copy, monkeypatch):
    with (copy / "log.jsonl").open("ab") as file:
        file.write(b'{"torn')
    lines = audit_verdict._lines

    def slowly(file):
        found = list(lines(file))
        monkeypatch.undo()
        answer(Audit(copy))
        return found

    monkeypatch.setattr(audit_verdict, "_lines", slowly)
    verdict = verify(copy)
    assert verdict.whole and (verdict.records, verdict.torn) == (116, 0)


def test_a_lock_that_is_never_given_back_is_an_error_and_not_a_wait_for_ever(log, monkeypatch):
    answer(log)
    monkeypatch.setattr(audit_module, "PATIENCE_SECONDS", 0.05)
    with disk.FolderLock(log.folder):
        assert code_of(answer, log) == "audit.locked"
        assert log.verify().whole and log.condition().records == 2  # reading waits for nobody
    answer(log)
    assert log.verify().records == 4


# The key


@pytest.mark.skipif(os.name == "nt", reason="rights are told by icacls there")
def test_the_key_is_its_owners_alone_and_never_made_again(log):
    before = os.umask(0)
    try:
        answer(log)
    finally:
        os.umask(before)
    key = log.folder / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    secret = key.read_bytes()
    assert len(bytes.fromhex(secret.decode())) == 32
    answer(log), Audit(log.folder).close(1, shown="", confidence=None, ended="stopped")
    assert key.read_bytes() == secret
    with pytest.raises(FileExistsError):
        disk.write_private(key, b"another")
    assert key.read_bytes() == secret and not list(log.folder.glob("*.tmp"))


def test_each_purpose_and_each_log_has_a_key_of_its_own(log, tmp_path):
    answer(log), answer(Audit(tmp_path / "other"))
    one, other = keys_in(log.folder), keys_in(tmp_path / "other")
    found = [key for keys in (one, other) for key in (*vars(keys).values(), keys.genesis)]
    assert len(set(found)) == 12 and (log.folder / "key").read_bytes() not in [key.hex().encode() for key in found]


# The command line


def test_the_command_line_tells_whole_from_broken_and_bad_input(original, copy, capsys):
    mac = verify(original).mac
    assert main(["audit", "verify", str(original / "log.jsonl"), "--expect", mac, "--language", "en"]) == 0
    told = capsys.readouterr().out
    assert "114 records of 60 answers, 6 of them without an end" in told and mac in told
    assert main(["audit", "verify", str(original), "--language", "ja"]) == 0
    assert "監査ログは完全です。" in capsys.readouterr().out

    lines = (copy / "log.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "log.jsonl").write_bytes(b"".join(lines[:9] + lines[10:]))
    assert main(["audit", "verify", str(copy / "log.jsonl"), "--expect", mac, "--language", "en"]) == 1
    told = capsys.readouterr()
    assert f"{copy / 'log.jsonl'}:10: Line 10 holds record 11" in told.err and "does not occur" in told.err
    assert "Genuine before it: 9 records" in told.out and "whole" not in told.out

    assert main(["audit", "verify", str(copy / "nowhere.jsonl")]) == 2
    assert main(["audit", "verify", str(original), "--expect", "abc"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_torn_end_is_told_and_no_alarm(copy, capsys):
    with (copy / "log.jsonl").open("ab") as file:
        file.write(b'{"kind":"ope')
    assert main(["audit", "verify", str(copy), "--language", "en"]) == 0
    assert "12 bytes of a record whose writing was interrupted" in capsys.readouterr().out
