"""The settings of a run: frozen, each field with its unit, bounds and help in both languages.

The page builds its form from `fields()`, the command line its `--set key=value` from the same paths, and a YAML
file is checked as a whole: all faults are reported at once, each with the line it stands on.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError, PydanticUndefined

from so8t_engine.errors import BadInput, EngineError, SettingsError

ROOT = Path(__file__).parent.parent
"""The project's folder: relative paths in a config start here, wherever the command is called from."""

CONFIGS = ROOT / "configs"


def setting(default: Any, *, en: tuple[str, str], ja: tuple[str, str], unit: str = "", **bounds: Any) -> Any:
    """A field with (label, help) in English and Japanese, its unit, and pydantic's bounds (ge, gt, le, lt)."""
    words = {"en": list(en), "ja": list(ja), "unit": unit}
    return Field(default, json_schema_extra=words, **bounds)


class Group(BaseModel):
    """A section of the settings: frozen, and strict about names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(Group):
    """How rows are read, split and cut."""

    max_length: int = setting(
        2048, ge=32, le=131072, unit="tokens",
        en=("Longest sample", "Longer rows are left out of training and counted; no answer is ever cut."),
        ja=("サンプルの最大長", "これより長い行は学習から外し、件数を表示します。回答を途中で切ることはありません。"),
    )  # fmt: skip
    on_bad_row: Literal["error", "skip"] = setting(
        "error",
        en=("On a bad row", "error: stop and name file and line. skip: leave it out and show the count."),
        ja=("不正な行の扱い", "error: ファイルと行番号を示して止まります。skip: 除外して件数を表示します。"),
    )
    validation_share: float = setting(
        0.1, ge=0.0, le=0.5,
        en=("Validation share", "Part of the rows used to watch the training; 0.1 is 10 %."),
        ja=("検証データの割合", "学習の様子を見るために使う行の割合です。0.1 は 10 % です。"),
    )  # fmt: skip
    test_share: float = setting(
        0.1, ge=0.0, le=0.5,
        en=("Test share", "Part of the rows kept for evaluation; training never sees them."),
        ja=("テストデータの割合", "評価のために取り置く行の割合です。学習には使いません。"),
    )  # fmt: skip
    system_prompt: str = setting(
        "",
        en=("System prompt", "Used for rows without a `system` of their own. Empty: none."),
        ja=("システムプロンプト", "`system` を持たない行に使います。空欄なら付けません。"),
    )


class ModelSettings(Group):
    """How the base model is held in memory."""

    quantization: Literal["none", "8bit", "4bit"] = setting(
        "none",
        en=("Quantization", "Storage of the frozen base weights (bitsandbytes). 8bit fits a 3.8 B model in about 4 GiB."),
        ja=("量子化", "固定した元モデルの重みの持ち方です (bitsandbytes)。8bit なら 3.8 B のモデルが約 4 GiB に収まります。"),
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto",
        en=("Compute type", "auto: bfloat16 on a card that has it, float16 on an older card, float32 on the CPU."),
        ja=("計算の型", "auto: 対応 GPU では bfloat16、古い GPU では float16、CPU では float32 を使います。"),
    )


class SO8TSettings(Group):
    """The adapter: LoRA on every target, SO(8) rotations on some of them."""

    r: int = setting(
        64, ge=1, le=1024,
        en=("Rank r", "Rank of the LoRA update."),
        ja=("ランク r", "LoRA の更新行列のランクです。"),
    )  # fmt: skip
    alpha: float = setting(
        128.0, gt=0, le=4096,
        en=("Alpha", "The LoRA update is scaled by alpha / r."),
        ja=("alpha", "LoRA の更新は alpha / r 倍されます。"),
    )  # fmt: skip
    dropout: float = setting(
        0.05, ge=0.0, lt=1.0,
        en=("Dropout", "Share of the adapter's inputs dropped in training."),
        ja=("ドロップアウト", "学習時にアダプター入力を落とす割合です。"),
    )  # fmt: skip
    targets: tuple[str, ...] = setting(
        ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"), min_length=1,
        en=("Target layers", "Names of the linear layers that get LoRA. Phi-3 has qkv_proj, o_proj, gate_up_proj, down_proj."),
        ja=("対象の層", "LoRA を付ける線形層の名前です。Phi-3 は qkv_proj, o_proj, gate_up_proj, down_proj を持ちます。"),
    )  # fmt: skip
    rotate: tuple[str, ...] = setting(
        ("o_proj",),
        en=("Rotated layers", "Targets that also get an SO(8) rotation of their output. Empty: plain LoRA."),
        ja=("回転を付ける層", "出力に SO(8) 回転も付ける対象層です。空欄なら通常の LoRA になります。"),
    )

    @model_validator(mode="after")
    def _rotated_layers_are_targets(self) -> "SO8TSettings":
        extra = [name for name in self.rotate if name not in self.targets]
        if extra:
            raise PydanticCustomError("rotate_not_target", "", {"names": ", ".join(extra), "at": "rotate"})
        return self


class TrainSettings(Group):
    """The training loop."""

    epochs: float = setting(
        3.0, gt=0, le=1000, unit="epochs",
        en=("Epochs", "How often each row is seen. Parts are allowed."),
        ja=("エポック数", "各行を何回学習するかです。小数も使えます。"),
    )  # fmt: skip
    batch_size: int = setting(
        1, ge=1, le=4096, unit="rows",
        en=("Batch size", "Rows in memory at once."),
        ja=("バッチサイズ", "一度にメモリーに載せる行数です。"),
    )  # fmt: skip
    gradient_accumulation: int = setting(
        16, ge=1, le=4096, unit="batches",
        en=("Gradient accumulation", "Batches for one optimizer step: batch size x this is the effective batch."),
        ja=("勾配の累積", "1 ステップあたりのバッチ数です。バッチサイズとの積が実効バッチになります。"),
    )  # fmt: skip
    learning_rate: float = setting(
        2e-4, gt=0, le=1.0,
        en=("Learning rate", "Peak value of the schedule."),
        ja=("学習率", "スケジュールの最大値です。"),
    )  # fmt: skip
    schedule: Literal["cosine", "linear", "constant"] = setting(
        "cosine",
        en=("Schedule", "How the learning rate falls after the warmup."),
        ja=("スケジュール", "ウォームアップ後の学習率の下げ方です。"),
    )
    warmup_ratio: float = setting(
        0.1, ge=0.0, lt=1.0,
        en=("Warmup", "Part of the steps in which the learning rate rises from zero."),
        ja=("ウォームアップ", "学習率を 0 から上げていく期間の割合です。"),
    )  # fmt: skip
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = setting(
        "adamw",
        en=("Optimizer", "adamw: PyTorch's. The 8-bit ones (bitsandbytes) need a quarter of its memory; paged moves it to RAM when the card is full."),
        ja=("オプティマイザー", "adamw は PyTorch のものです。8bit 版 (bitsandbytes) はメモリーが約 1/4 で済み、paged は GPU が満杯のとき RAM に退避します。"),
    )  # fmt: skip
    weight_decay: float = setting(
        0.01, ge=0.0, le=1.0,
        en=("Weight decay", "Pull of the LoRA matrices towards zero. Rotations are never decayed."),
        ja=("重み減衰", "LoRA 行列を 0 へ引く強さです。回転には掛けません。"),
    )  # fmt: skip
    max_grad_norm: float = setting(
        1.0, gt=0, le=1000,
        en=("Gradient clipping", "Gradients are scaled down to this norm."),
        ja=("勾配クリッピング", "勾配のノルムをこの値までに抑えます。"),
    )  # fmt: skip
    gradient_checkpointing: bool = setting(
        False,
        en=("Gradient checkpointing", "Computes activations twice and stores far fewer of them."),
        ja=("勾配チェックポイント", "中間値を再計算して、必要なメモリーを大きく減らします。"),
    )
    label_weight: float = setting(
        1.0, gt=0, le=100,
        en=("Label weight", "Weight of the class tokens in 分類結果 against all others."),
        ja=("ラベルの重み", "分類結果のクラス部分のトークンに掛ける重みです。"),
    )  # fmt: skip
    validate_every: int = setting(
        50, ge=1, le=1_000_000, unit="steps",
        en=("Validate every", "Steps between two looks at the validation rows."),
        ja=("検証の間隔", "検証データを見る間隔です。"),
    )  # fmt: skip
    pet_weight: float = setting(
        0.0, ge=0.0, le=10.0,
        en=("PET weight", "Strength of the smoothness penalty on the last hidden states. 0 turns it off."),
        ja=("PET の重み", "最終隠れ状態の滑らかさに対する罰則の強さです。0 で無効になります。"),
    )  # fmt: skip


class CheckpointSettings(Group):
    """How often the work is secured against a power failure."""

    interval_seconds: int = setting(
        300, ge=1, le=86400, unit="s",
        en=("Checkpoint interval", "At most this much work is lost when the power fails."),
        ja=("チェックポイントの間隔", "停電で失われる作業は、最大でこの時間分です。"),
    )  # fmt: skip
    keep: int = setting(
        10, ge=2, le=100, unit="checkpoints",
        en=("Checkpoints kept", "Older ones are deleted once the newest has been verified."),
        ja=("残すチェックポイント数", "最新のものを検証したあとで古いものを削除します。"),
    )  # fmt: skip


class Settings(Group):
    """Everything one run depends on."""

    base_model: str = setting(
        "assets/demo_model", min_length=1,
        en=("Base model", "Folder with config.json, tokenizer and safetensors weights."),
        ja=("元モデル", "config.json、トークナイザー、safetensors の重みがあるフォルダーです。"),
    )  # fmt: skip
    dataset: str = setting(
        "assets/data/demo_four_class.jsonl", min_length=1,
        en=("Dataset", "Four-class JSONL file: instruction, input, output, four_class_label."),
        ja=("データセット", "4 クラスの JSONL ファイルです: instruction, input, output, four_class_label。"),
    )  # fmt: skip
    runs: str = setting(
        "runs", min_length=1,
        en=("Runs folder", "Each run makes a folder of its own in it."),
        ja=("実行フォルダー", "実行ごとに、この中に専用のフォルダーを作ります。"),
    )  # fmt: skip
    seed: int = setting(
        42, ge=0, le=2**31 - 1,
        en=("Seed", "Fixes the split, the order of the rows and the adapter's start."),
        ja=("シード", "データの分割、行の順序、アダプターの初期値を固定します。"),
    )  # fmt: skip
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    so8t: SO8TSettings = SO8TSettings()
    train: TrainSettings = TrainSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> "Settings":
        if self.data.validation_share + self.data.test_share >= 1:
            raise PydanticCustomError("shares", "", {"at": "data.test_share"})
        return self

    def resolve(self, path: str) -> Path:
        """A path of this config as an absolute one."""
        return (ROOT / path).resolve()

    def fingerprint(self) -> str:
        """SHA-256 of all that shapes the weights: where runs lie and how often they are saved does not."""
        values = self.model_dump(mode="json", exclude={"runs", "checkpoint"})
        values["base_model"] = str(self.resolve(self.base_model))
        values["dataset"] = str(self.resolve(self.dataset))
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FieldInfo:
    """What a form needs to know of one setting.

    kind: "int", "float", "bool", "text", "choice" or "names" (a list of words).
    low and high are None where there is no bound; `low_excluded` and `high_excluded` tell < from <=.
    """

    path: str
    kind: str
    default: Any
    unit: str
    words: Mapping[str, list[str]]
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    low_excluded: bool = False
    high_excluded: bool = False

    def label(self, language: str) -> str:
        """The name of the setting as a person reads it."""
        return self.words[language][0]

    def help(self, language: str) -> str:
        """One or two sentences on what it does."""
        return self.words[language][1]


def fields(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[FieldInfo]:
    """Every setting in the order of the form; the path ("train.learning_rate") is its name everywhere."""
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Group):
            yield from fields(kind, f"{prefix}{name}.")
            continue
        bounds = {key: value for item in info.metadata for key, value in vars_of(item)}
        low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
        default = None if info.default is PydanticUndefined else info.default
        words = info.json_schema_extra
        yield FieldInfo(
            f"{prefix}{name}", _kind(kind), default, words["unit"], words,
            get_args(kind) if get_origin(kind) is Literal else (),
            low, high, "gt" in bounds, "lt" in bounds,
        )  # fmt: skip


def vars_of(constraint: object) -> list[tuple[str, Any]]:
    """The (name, value) pairs of one of annotated_types' constraints, such as Ge(ge=1)."""
    return [(name, getattr(constraint, name)) for name in ("ge", "gt", "le", "lt") if hasattr(constraint, name)]


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "choice"
    if get_origin(annotation) is tuple:
        return "names"
    return {int: "int", float: "float", bool: "bool", str: "text"}[annotation]


# Reading and writing


def load(path: str | Path, overrides: list[str] | None = None) -> Settings:
    """Read a YAML config; `overrides` are "key=value" texts as of `--set`. Raises SettingsError or BadInput."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput("config.missing", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("config.unreadable", where=str(path), reason=error) from None
    return parse(text, where=str(path), overrides=overrides)


def parse(text: str, *, where: str = "config", overrides: list[str] | None = None) -> Settings:
    """Settings from YAML text. Raises SettingsError with every fault, each naming its line in `where`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise SettingsError([EngineError("config.not_yaml", where=where + line, reason=reason)], where=where) from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise SettingsError([EngineError("config.not_mapping", where=where)], where=where)
    lines, doubles = _lines(node)
    faults = [EngineError("config.double", where=f"{where}:{line}", field=path) for path, line in doubles]
    for item in overrides or []:
        path, separator, value = item.partition("=")
        if not separator:
            raise SettingsError([EngineError("config.bad_override", where="--set", text=item)], where="--set")
        _put(values, path.strip(), yaml.safe_load(value))
        lines.pop(path.strip(), None)
    return _validate(values, where, lines, faults)


def from_values(flat: Mapping[str, Any], *, where: str = "config") -> Settings:
    """Settings from {"train.epochs": 3, …}, as a form gives them. Raises SettingsError with every fault."""
    values: dict[str, Any] = {}
    for path, value in flat.items():
        _put(values, path, value)
    return _validate(values, where, {}, [])


def to_values(settings: Settings) -> dict[str, Any]:
    """{"train.epochs": 3.0, …} in the order of the form."""
    values = {}
    for field in fields():
        value: Any = settings
        for name in field.path.split("."):
            value = getattr(value, name)
        values[field.path] = value
    return values


def to_yaml(settings: Settings) -> str:
    """The settings as a YAML text that `parse` reads back to the same value."""
    values = settings.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=1000)


def _validate(values: dict, where: str, lines: dict[str, int], faults: list[EngineError]) -> Settings:
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(faults + [_fault(item, where, lines) for item in error.errors()], where=where) from None
    if faults:
        raise SettingsError(faults, where=where)
    return settings


def _fault(item: Any, where: str, lines: dict[str, int]) -> EngineError:
    """One of pydantic's errors in our words; `field` is the path of the setting."""
    path = ".".join(str(part) for part in item["loc"] if not isinstance(part, int))
    context = item.get("ctx", {})
    if "at" in context:  # a rule over several fields names the one to mend
        path = ".".join(filter(None, [path, context["at"]]))
    codes = {
        "extra_forbidden": "config.unknown",
        "greater_than": "config.too_small", "greater_than_equal": "config.too_small",
        "less_than": "config.too_large", "less_than_equal": "config.too_large",
        "too_short": "config.empty", "string_too_short": "config.empty", "literal_error": "config.choice",
        "rotate_not_target": "config.rotate_not_target", "shares": "config.shares",
    }  # fmt: skip
    limits = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    bound = next((f"{limits[name]} {context[name]:g}" for name in limits if name in context), "")
    line = f":{lines[path]}" if path in lines else ""
    return EngineError(
        codes.get(item["type"], "config.type"), where=where + line, field=path, value=repr(item["input"])[:60],
        bound=bound, choices=context.get("expected", ""), names=context.get("names", ""), wanted=item["msg"],
    )  # fmt: skip


def _put(values: dict, path: str, value: Any) -> None:
    *groups, name = path.split(".")
    for group in groups:
        inner = values.setdefault(group, {})
        if not isinstance(inner, dict):
            inner = values[group] = {}
        values = inner
    values[name] = value


def _lines(node: yaml.Node | None, prefix: str = "") -> tuple[dict[str, int], list[tuple[str, int]]]:
    """The line of every key by its path, and the keys that stand twice."""
    lines: dict[str, int] = {}
    doubles: list[tuple[str, int]] = []
    if not isinstance(node, yaml.MappingNode):
        return lines, doubles
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        if path in lines:
            doubles.append((path, key.start_mark.line + 1))
        lines[path] = key.start_mark.line + 1
        inner, inner_doubles = _lines(value, f"{path}.")
        lines |= inner
        doubles += inner_doubles
    return lines, doubles
