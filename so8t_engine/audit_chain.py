"""The audit log's form: its key, its records linked by MACs, and its head.

A line is a record as canonical JSON (ASCII, sorted names, no blanks) with its MAC put in as the last field:

    MAC = HMAC-SHA256(chain key, MAC of the line before + the JSON without the MAC)

The head, rewritten after each record, counts lines and bytes and repeats the last MAC under a MAC of its own: without
it a log that was cut off between two lines would look whole.
"""

import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from so8t_engine.disk import retried
from so8t_engine.errors import EngineError

LOG, HEAD, KEY = "log.jsonl", "head.json", "key"

KEY_BYTES = 32

_BEFORE_MAC, _AFTER_MAC = b',"mac":"', b'"}\n'
MAC_DIGITS = 64


@dataclass(frozen=True)
class Keys:
    """One key for each purpose, all derived from the secret in the key file."""

    prompt: bytes
    thinking: bytes
    shown: bytes
    chain: bytes
    head: bytes

    @classmethod
    def of(cls, secret: bytes) -> "Keys":
        names = ("prompt", "thinking", "shown", "chain", "head")
        return cls(*(_mac(secret, b"so8t audit 1: " + name.encode("ascii")) for name in names))

    @property
    def genesis(self) -> bytes:
        """What stands for the MAC of the line before the first one."""
        return _mac(self.chain, b"genesis")


@dataclass(frozen=True)
class Head:
    """What was committed: lines, bytes, and the last line's MAC."""

    count: int
    size: int
    last: bytes

    def to_bytes(self, keys: Keys) -> bytes:
        """The content of head.json."""
        fields = {"count": self.count, "size": self.size, "last": self.last.hex()}
        return _sealed(canonical(fields), _mac(keys.head, canonical(fields)))


def canonical(fields: dict[str, Any]) -> bytes:
    """The one way to write a record down."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def seal(keys: Keys, previous: bytes, record: dict[str, Any]) -> tuple[bytes, bytes]:
    """The line of `record` behind the line with the MAC `previous`, and its own MAC."""
    body = canonical({**record, "previous": previous.hex()})
    mac = _mac(keys.chain, previous + body)
    return _sealed(body, mac), mac


def unseal(line: bytes) -> tuple[bytes, bytes]:
    """The JSON and the MAC that a line claims. Raises ValueError for anything that `seal` would not write."""
    cut = len(line) - len(_AFTER_MAC) - MAC_DIGITS
    start = cut - len(_BEFORE_MAC)
    digits = line[cut : -len(_AFTER_MAC)]
    mac = bytes.fromhex(digits.decode("ascii"))
    if start < 1 or line[start:cut] != _BEFORE_MAC or not line.endswith(_AFTER_MAC) or mac.hex().encode() != digits:
        raise ValueError("no sealed line")
    return line[:start] + b"}", mac


def follows(keys: Keys, previous: bytes, line: bytes) -> bytes | None:
    """The MAC of `line` when it is genuine and stands behind the line with the MAC `previous`, else None."""
    try:
        body, mac = unseal(line)
    except ValueError:
        return None
    return mac if hmac.compare_digest(mac, _mac(keys.chain, previous + body)) else None


def is_torn(line: bytes) -> bool:
    """Whether a write that never came to its end left this: no end of line, or blocks that were never filled."""
    return not line.endswith(b"\n") or b"\0" in line


def keys_in(folder: Path) -> Keys:
    """The keys of the log in `folder`. Raises EngineError when the key is missing or none."""
    file = folder / KEY
    try:
        secret = bytes.fromhex(retried(file.read_bytes, file).decode("ascii"))
    except FileNotFoundError:
        raise EngineError("audit.key_missing", where=str(file)) from None
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise EngineError("audit.key_bad", where=str(file))
    return Keys.of(secret)


def head_in(folder: Path, keys: Keys) -> Head:
    """The head of the log in `folder`. Raises EngineError when it is missing or was changed."""
    file = folder / HEAD
    try:
        body, mac = unseal(retried(file.read_bytes, file))
        if not hmac.compare_digest(mac, _mac(keys.head, body)):
            raise ValueError("changed")
    except FileNotFoundError:
        raise EngineError("audit.head_missing", where=str(file)) from None
    except ValueError:
        raise EngineError("audit.head_bad", where=str(file)) from None
    fields = json.loads(body)
    return Head(fields["count"], fields["size"], bytes.fromhex(fields["last"]))


def ends_with(log: Path, head: Head) -> bool:
    """Whether the last committed line stands where `head` says. A look at a few bytes; `verify` reads all."""
    if not head.count:
        return True
    end = head.last.hex().encode("ascii") + _AFTER_MAC
    try:
        with log.open("rb") as file:
            file.seek(max(0, head.size - len(end)))
            return file.read(len(end)) == end
    except FileNotFoundError:
        return False


def _sealed(body: bytes, mac: bytes) -> bytes:
    return body[:-1] + _BEFORE_MAC + mac.hex().encode("ascii") + _AFTER_MAC


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
