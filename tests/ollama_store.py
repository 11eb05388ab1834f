"""The folder in which the stand-in for Ollama keeps its models, laid out like Ollama's own: blobs and manifests."""

import hashlib
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

MODEL, TEMPLATE, SYSTEM, PARAMS, LICENSE = (
    f"application/vnd.ollama.image.{kind}" for kind in ("model", "template", "system", "params", "license")
)
_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


class Refusal(Exception):
    """An answer with another status than 200 and Ollama's words for it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


@dataclass(frozen=True)
class Name:
    """A whole name: host, namespace, model, tag."""

    parts: tuple[str, str, str, str]

    @classmethod
    def parse(cls, text: str) -> "Name | None":
        """None where Ollama would call the name invalid."""
        base, _, tag = text.rpartition(":") if ":" in text.rpartition("/")[2] else (text, "", "latest")
        places = ["registry.ollama.ai", "library"]
        *before, model = base.split("/")
        if len(before) > 2:
            return None
        places[2 - len(before) :] = before
        parts = (*places, model, tag)
        good = all(_PART.fullmatch(part) for part in parts[1:]) and "." not in parts[1]
        return cls(parts) if good and re.fullmatch(r"[A-Za-z0-9_][\w.:-]{0,349}", parts[0], re.ASCII) else None

    def __str__(self) -> str:
        host, namespace, model, tag = self.parts
        if host != "registry.ollama.ai":
            return f"{host}/{namespace}/{model}:{tag}"
        return f"{model}:{tag}" if namespace == "library" else f"{namespace}/{model}:{tag}"


@dataclass
class Model:
    """What a manifest stands for. file: the weights' blob."""

    file: Path
    template: str = "{{ .Prompt }}"
    system: str = ""
    license: str = ""
    parameters: dict = field(default_factory=dict)


class Store:
    """Blobs and manifests under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs, self.manifests = folder / "blobs", folder / "manifests"
        self.blobs.mkdir(parents=True)
        self.manifests.mkdir()

    def blob(self, digest: str) -> Path:
        """Where the blob of that digest lies, or would."""
        if not _DIGEST.fullmatch(digest):
            raise Refusal(400, "invalid digest format")
        return self.blobs / digest.replace(":", "-").lower()

    def add(self, data: bytes) -> str:
        """Store a small blob; its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blob(digest).write_bytes(data)
        return digest

    def existing(self, name: Name) -> Name:
        """The name as it is written already: case does not count."""
        same = (known for known in self.names() if str(known).lower() == str(name).lower())
        return next(same, name)

    def names(self) -> list[Name]:
        """Every model, newest first."""
        files = sorted(self.manifests.glob("*/*/*/*"), key=lambda file: -file.stat().st_mtime_ns)
        return [Name(file.relative_to(self.manifests).parts) for file in files]

    def manifest(self, name: Name) -> Path:
        return self.manifests.joinpath(*name.parts)

    def write(self, name: Name, model: Model) -> None:
        """Give `name` these layers; what it had before is pruned."""
        layers = [(MODEL, "sha256:" + model.file.name.removeprefix("sha256-"))]
        for kind, text in ((TEMPLATE, model.template), (SYSTEM, model.system), (LICENSE, model.license)):
            if text:
                layers.append((kind, self.add(text.encode())))
        if model.parameters:
            layers.append((PARAMS, self.add(json.dumps(model.parameters).encode())))
        file = self.manifest(name)
        before = _digests(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        listed = [
            {"mediaType": kind, "digest": digest, "size": self.blob(digest).stat().st_size} for kind, digest in layers
        ]
        file.write_text(json.dumps({"schemaVersion": 2, "layers": listed}), encoding="utf-8")
        self._prune(before)

    def read(self, name: Name) -> Model | None:
        file = self.manifest(self.existing(name))
        if not file.is_file():
            return None
        found = {}
        for layer in json.loads(file.read_text(encoding="utf-8"))["layers"]:
            blob = self.blob(layer["digest"])
            found[layer["mediaType"]] = blob if layer["mediaType"] == MODEL else blob.read_text(encoding="utf-8")
        return Model(found[MODEL], found.get(TEMPLATE, "{{ .Prompt }}"), found.get(SYSTEM, ""), found.get(LICENSE, ""),
                     json.loads(found.get(PARAMS, "{}")))  # fmt: skip

    def copy(self, source: Name, destination: Name) -> bool:
        """Whether there was something to copy."""
        file = self.manifest(self.existing(source))
        if not file.is_file():
            return False
        goal = self.manifest(self.existing(destination))
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_bytes(file.read_bytes())
        return True

    def delete(self, name: Name) -> bool:
        file = self.manifest(self.existing(name))
        if not file.is_file():
            return False
        before = _digests(file)
        file.unlink()
        self._prune(before)
        return True

    def listed(self) -> list[dict]:
        """As /api/tags lists them."""
        rows = []
        for name in self.names():
            file = self.manifest(name)
            data = file.read_bytes()
            size = sum(layer["size"] for layer in json.loads(data)["layers"])
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(file.stat().st_mtime))
            rows.append({"name": str(name), "model": str(name), "modified_at": when, "size": size,
                         "digest": hashlib.sha256(data).hexdigest(),
                         "details": {"format": "gguf", "family": "phi3"}})  # fmt: skip
        return rows

    def _prune(self, digests: set[str]) -> None:
        """Delete those of a model that is gone, unless another one has them."""
        used = set().union(*(_digests(self.manifest(name)) for name in self.names()))
        for digest in digests - used:
            self.blob(digest).unlink(missing_ok=True)


def _digests(manifest: Path) -> set[str]:
    if not manifest.is_file():
        return set()
    return {layer["digest"] for layer in json.loads(manifest.read_text(encoding="utf-8"))["layers"]}


def shown(model: Model, thinking: bool) -> dict:
    """As /api/show tells of a model; values in Go's spelling."""
    lines = []
    for name, value in model.parameters.items():
        for one in value if isinstance(value, list) else [value]:
            lines.append(f"{name:<30} {json.dumps(one, ensure_ascii=False)}")
    return {
        "license": model.license, "system": model.system, "template": model.template, "parameters": "\n".join(lines),
        "modelfile": f'# Modelfile generated by "ollama show"\n\nFROM {model.file}\nTEMPLATE """{model.template}"""\n',
        "details": {"format": "gguf", "family": "phi3"}, "model_info": {},
        "capabilities": ["completion", "thinking"] if thinking else ["completion"],
    }  # fmt: skip
