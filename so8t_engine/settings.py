"""What can be set: frozen groups of fields, each field with its unit, bounds and help in both languages.

`config` lists, reads and writes them.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_serializer, field_validator
from pydantic_core import PydanticCustomError

ROOT = Path(__file__).parent.parent
"""The project's folder: relative paths in a config start here, wherever the command is called from."""

AUTO = "auto"
"""Stands for the layers that the model itself has: see `model.layers`."""

MEMORY = ("gradient_checkpointing", "max_tokens", "memory_gib")
"""Settings of the training that a run may go on with another way: they change its steps by rounding only."""

AUTO_ROTATE = ("o_proj",)
"""What `rotate: auto` means: Phi-3 and Llama both call the output of attention so."""


def setting(default: Any, *, en: tuple[str, str], ja: tuple[str, str], unit: str = "", **bounds: Any) -> Any:
    """A field with (label, help) in English and Japanese, its unit, and pydantic's bounds (ge, gt, le, lt)."""
    words = {"en": list(en), "ja": list(ja), "unit": unit}
    return Field(default, json_schema_extra=words, **bounds)


class Group(BaseModel):
    """A section of the settings: frozen, and strict about names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _a_switch_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads yes and on as true, which pydantic would take for 1."""
        kind = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and kind in (int, float):
            raise PydanticCustomError("int_type" if kind is int else "float_type", "")
        return value


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

    @field_validator("test_share")
    @classmethod
    def _something_is_left_to_train_on(cls, test_share: float, info: ValidationInfo) -> float:
        if info.data.get("validation_share", 0.0) + test_share >= 1:
            raise PydanticCustomError("shares", "")
        return test_share


class ModelSettings(Group):
    """How the base model is held in memory."""

    quantization: Literal["none", "8bit", "4bit"] = setting(
        "none",
        en=(
            "Quantization",
            "Storage of the frozen base weights (bitsandbytes). 8bit fits a 3.8 B model in about 4 GiB.",
        ),
        ja=(
            "量子化",
            "固定した元モデルの重みの持ち方です (bitsandbytes)。8bit なら 3.8 B のモデルが約 4 GiB に収まります。",
        ),
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
        en=("Target layers", "Names of the linear layers that get LoRA, or `auto`: all in the model's blocks. Phi-3 has qkv_proj, o_proj, gate_up_proj, down_proj."),
        ja=("対象の層", "LoRA を付ける線形層の名前です。`auto` はモデルのブロック内のすべてです。Phi-3 は qkv_proj, o_proj, gate_up_proj, down_proj を持ちます。"),
    )  # fmt: skip
    rotate: tuple[str, ...] = setting(
        ("o_proj",),
        en=("Rotated layers", "Targets that also get an SO(8) rotation of their output; `auto`: o_proj. Empty: plain LoRA."),
        ja=("回転を付ける層", "出力に SO(8) 回転も付ける対象層です。`auto` は o_proj です。空欄なら通常の LoRA になります。"),
    )

    @field_validator("targets", "rotate", mode="before")
    @classmethod
    def _auto_is_a_list_of_its_own(cls, value: Any) -> Any:
        return (AUTO,) if value == AUTO else value

    @field_validator("targets", "rotate")
    @classmethod
    def _auto_stands_alone(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if AUTO in names and len(names) > 1:
            raise PydanticCustomError("auto_not_alone", "", {"names": ", ".join(n for n in names if n != AUTO)})
        return names

    @field_serializer("targets", "rotate", when_used="json")
    def _auto_is_a_word(self, names: tuple[str, ...]) -> str | list[str]:
        return AUTO if names == (AUTO,) else list(names)

    @field_validator("rotate")
    @classmethod
    def _rotated_layers_are_targets(cls, rotate: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        targets = info.data.get("targets", rotate)  # absent when it has a fault of its own
        named = AUTO_ROTATE if rotate == (AUTO,) else rotate
        extra = [name for name in named if targets != (AUTO,) and name not in targets]
        if extra:
            raise PydanticCustomError("rotate_not_target", "", {"names": ", ".join(extra)})
        return rotate


class TrainSettings(Group):
    """The training loop."""

    epochs: float = setting(
        3.0, gt=0, le=1000, unit="epochs",
        en=("Epochs", "How often each row is seen. Parts are allowed."),
        ja=("エポック数", "各行を何回学習するかです。小数も使えます。"),
    )  # fmt: skip
    batch_size: int = setting(
        1, ge=1, le=4096, unit="rows",
        en=("Batch size", "Rows of a batch. How many are in memory at once follows from the memory, not from this."),
        ja=("バッチサイズ", "1 バッチの行数です。一度にメモリーに載せる量は、これではなくメモリーの空きから決まります。"),
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
        en=("Gradient checkpointing", "Lets as many layers be computed twice as memory asks for; without a card, all of them."),
        ja=("勾配チェックポイント", "メモリーに応じて必要な数の層だけを再計算します。GPU がなければ全層を再計算します。"),
    )
    max_tokens: int = setting(
        0, ge=0, le=1_048_576, unit="tokens",
        en=("Tokens in memory at once", "Rows of a step are packed without padding up to this. 0: as many as memory allows."),
        ja=("一度に載せるトークン数", "ステップ内の行をパディングなしで、この数まで詰めます。0 ならメモリーに応じて決めます。"),
    )  # fmt: skip
    memory_gib: float = setting(
        0.0, ge=0.0, le=1024.0, unit="GiB",
        en=("GPU memory", "What the training may take of the card. 0: all that is free, less a margin."),
        ja=("GPU メモリー", "学習に使ってよい GPU メモリーの量です。0 なら空きから余裕を引いた全部です。"),
    )  # fmt: skip
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


class ChatSettings(Group):
    """How answers are drawn, in the chat and for /think."""

    max_tokens: int = setting(
        512, ge=1, le=4096, unit="tokens",
        en=("Longest answer", "An answer ends here at the latest, its thinking included."),
        ja=("回答の最大長", "思考部分も含め、遅くともこの長さで回答を終えます。"),
    )  # fmt: skip
    temperature: float = setting(
        0.0, ge=0.0, le=2.0,
        en=("Temperature", "0 always takes the likeliest token (greedy); higher values vary more."),
        ja=("温度", "0 では常に最も確からしいトークンを選びます (greedy)。大きいほど変化が増えます。"),
    )  # fmt: skip
    top_p: float = setting(
        1.0, gt=0.0, le=1.0,
        en=("Top-p", "Draws only from the likeliest tokens that together have this probability."),
        ja=("top-p", "確率の合計がこの値になるまでの上位トークンだけから選びます。"),
    )  # fmt: skip
    seed: int = setting(
        42, ge=0, le=2**31 - 1,
        en=("Seed of the draw", "The same seed draws the same answer; of no effect at temperature 0."),
        ja=("抽選のシード", "同じシードなら同じ回答になります。温度 0 では影響しません。"),
    )  # fmt: skip


class EvaluateSettings(Group):
    """How a model's decisions are measured."""

    batch_size: int = setting(
        64, ge=1, le=1024, unit="answers",
        en=("Answers side by side", "Whole answers that are written at once. Halved by itself when memory is full."),
        ja=("同時に書く回答数", "一度に生成する回答の数です。メモリーが足りなければ自動で半分にします。"),
    )  # fmt: skip
    max_tokens: int = setting(
        512, ge=1, le=4096, unit="tokens",
        en=("Longest answer when evaluating", "An answer ends here at the latest, its thinking included."),
        ja=("評価での回答の最大長", "思考部分も含め、遅くともこの長さで回答を終えます。"),
    )  # fmt: skip
    limit: int = setting(
        0, ge=0, le=10_000_000, unit="rows",
        en=("Row limit", "At most this many rows, drawn by the seed. 0: all of them."),
        ja=("行数の上限", "シードで選んだ、この行数だけを評価します。0 ならすべて評価します。"),
    )  # fmt: skip
    every_minutes: float = setting(
        10.0, ge=0.0, le=10_000.0, unit="minutes",
        en=("Score while training", "Minutes between two four-class scores of the validation rows. 0: none."),
        ja=("学習中の評価の間隔", "学習中に検証データの 4 クラス判定を採点する間隔です。0 なら行いません。"),
    )  # fmt: skip


class BenchmarkSettings(Group):
    """General benchmarks, by lm-evaluation-harness."""

    data: str = setting(
        "data/benchmarks", min_length=1,
        en=("Benchmark data", "Folder with one folder a task. What is not there is reported as not run."),
        ja=("ベンチマークのデータ", "タスクごとのフォルダーを置く場所です。無いものは「未実行」と表示します。"),
    )  # fmt: skip
    tasks: tuple[str, ...] = setting(
        ("glue", "superglue", "japanese"),
        en=("Tasks", "Groups (glue, superglue, japanese) or single tasks (sst2, jnli …)."),
        ja=("タスク", "グループ (glue, superglue, japanese) または個別のタスク (sst2, jnli など) です。"),
    )
    limit: int = setting(
        0, ge=0, le=10_000_000, unit="rows",
        en=("Row limit a task", "At most this many rows of each task, drawn by the seed. 0: all of them."),
        ja=("タスクごとの行数の上限", "各タスクで、シードで選んだこの行数だけを使います。0 ならすべて使います。"),
    )  # fmt: skip
    few_shot: int = setting(
        0, ge=0, le=32, unit="examples",
        en=("Examples before each question", "Solved examples in the prompt (few-shot), from the task's training rows."),
        ja=("例題の数", "各問の前に置く解答つきの例の数 (few-shot) です。タスクの学習用の行から選びます。"),
    )  # fmt: skip


class ThinkSettings(Group):
    """The endpoint /think, for programs on this machine."""

    model: str = setting(
        "",
        en=("Model that answers", "Id of a run, or original for the base model. Empty: the newest finished run."),
        ja=("回答するモデル", "実行の ID、または元モデルを表す original。空欄なら最新の完了した実行を使います。"),
    )
    token_file: str = setting(
        "",
        en=("Token file", "Text file whose first line every request must carry as its bearer token. Empty: no token."),
        ja=("トークンファイル", "1 行目の文字列を Bearer トークンとして要求します。空欄なら要求しません。"),
    )
    requests_per_minute: int = setting(
        120, ge=1, le=100_000, unit="requests",
        en=("Requests a minute", "More than this are refused with status 429."),
        ja=("1 分あたりのリクエスト数", "これを超えると 429 で断ります。"),
    )  # fmt: skip
    waiting: int = setting(
        32, ge=0, le=10_000, unit="requests",
        en=("Waiting requests", "Requests that may wait for their turn; more are refused with status 429."),
        ja=("待ち行列の長さ", "順番を待てるリクエストの数です。超えると 429 で断ります。"),
    )  # fmt: skip
    max_characters: int = setting(
        8000, ge=1, le=1_000_000, unit="characters",
        en=("Longest request", "Prompt, history and system text together; a longer one is refused with status 413."),
        ja=("リクエストの最大長", "プロンプト、履歴、システム文の合計です。超えると 413 で断ります。"),
    )  # fmt: skip


class OllamaSettings(Group):
    """Where Ollama answers."""

    address: str = setting(
        "http://127.0.0.1:11434", min_length=1,
        en=("Ollama's address", "Ollama on this machine answers at http://127.0.0.1:11434."),
        ja=("Ollama のアドレス", "このマシンの Ollama は http://127.0.0.1:11434 で応答します。"),
    )  # fmt: skip

    @field_validator("address")
    @classmethod
    def _an_address_alone(cls, address: str) -> str:
        if not re.fullmatch(r"https?://[\w.\-]+(:\d{1,5})?/?|https?://\[[0-9a-fA-F:]+\](:\d{1,5})?/?", address):
            raise PydanticCustomError("address", "")
        return address.rstrip("/")


class ExportSettings(Group):
    """Which GGUF files are written, and how alike they must decide before one goes to Ollama."""

    quantizations: tuple[Literal["f16", "q8_0", "bf16"], ...] = setting(
        ("f16", "q8_0"), min_length=1,
        en=("GGUF files", "One file each: f16 (as exact as the model), q8_0 (half the size, goes to Ollama), bf16."),
        ja=("GGUF ファイル", "それぞれ 1 ファイルを書き出します: f16 (モデルと同等の精度)、q8_0 (約半分の大きさ、Ollama 用)、bf16。"),
    )  # fmt: skip
    gate_prompts: int = setting(
        100, ge=1, le=2_000, unit="prompts",
        en=("Prompts of the check", "At most this many, drawn by the seed, go through the model and through each file."),
        ja=("確認に使うプロンプト数", "シードで選んだこの件数までを、モデルと各ファイルの両方に判定させます。"),
    )  # fmt: skip
    gate_agreement: float = setting(
        0.99, ge=0.0, le=1.0,
        en=("Equal decisions, f16", "Least share of prompts that an f16 file must decide like the model."),
        ja=("判定の一致率 (f16)", "f16 のファイルがモデルと同じ判定をすべきプロンプトの割合です。"),
    )  # fmt: skip
    gate_agreement_coarse: float = setting(
        0.97, ge=0.0, le=1.0,
        en=("Equal decisions, q8_0 and bf16", "The same for the files that are rounded more coarsely."),
        ja=("判定の一致率 (q8_0, bf16)", "丸めの粗いファイルに求める割合です。"),
    )  # fmt: skip
    gate_kl: float = setting(
        0.02, gt=0.0, le=100.0, unit="nats",
        en=("Largest divergence", "Most that the next-token distributions at the decision may differ (mean KL divergence)."),
        ja=("分布のずれの上限", "判定の位置での次トークン分布のずれ (平均 KL) の上限です。"),
    )  # fmt: skip

    @field_validator("quantizations")
    @classmethod
    def _each_file_once(cls, quantizations: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(quantizations))


class AbTestSettings(Group):
    """How the original and the retrained model are compared."""

    mode: Literal["generated", "scored"] = setting(
        "generated",
        en=("What decides", "generated: the class that the whole answer names. scored: the likeliest class."),
        ja=("判定の方法", "generated: 生成した回答に書かれたクラスで判定します。scored: 最も確からしいクラスで判定します。"),
    )
    metric: Literal["score", "accuracy", "macro_f1"] = setting(
        "score",
        en=("Measure of the winner", "score: mean of accuracy and macro F1."),
        ja=("勝敗の指標", "score: 正解率とマクロ F1 の平均です。"),
    )
    latency_rows: int = setting(
        24, ge=0, le=1_000, unit="rows",
        en=("Timed answers", "Rows that both models answer one at a time, in turns: their times are compared."),
        ja=("時間を測る回答数", "両モデルが交互に 1 件ずつ回答する行数です。この時間を比べます。"),
    )  # fmt: skip


STAGES = ("train", "evaluate", "ab_test", "export", "ollama", "japanese_test")
"""Of the overnight chain, in order."""

Stage = Literal["train", "evaluate", "ab_test", "export", "ollama", "japanese_test"]


class PipelineSettings(Group):
    """The overnight chain: training, evaluation, A/B test, GGUF, Ollama, Japanese test."""

    skip: tuple[Stage, ...] = setting(
        (),
        en=("Left out", "Stages that are not run: train, evaluate, ab_test, export, ollama, japanese_test."),
        ja=("省く段階", "実行しない段階です: train, evaluate, ab_test, export, ollama, japanese_test。"),
    )
    retrained: str = setting(
        "",
        en=("Retrained model", "Id of the run that the chain begins with when train is left out. Empty: the newest finished run."),
        ja=("再学習したモデル", "train を省くときに使う実行の ID です。空欄なら最新の完了した実行を使います。"),
    )
    ollama_name: str = setting(
        "so8t-phi35", min_length=1,
        en=("Name in Ollama", "The winner is pushed under this name."),
        ja=("Ollama での名前", "勝ったモデルをこの名前で登録します。"),
    )  # fmt: skip
    accept_visible_thinking: bool = setting(
        False,
        en=("Thinking is visible in Ollama", "Agree that whoever uses the model in Ollama can read its thinking. Needed for the stage ollama."),
        ja=("Ollama では思考が見えます", "Ollama でモデルを使う人に思考部分が見えることへの同意です。ollama の段階に必要です。"),
    )
    sound: bool = setting(
        True,
        en=("Sound", "Plays a short sound after each stage."),
        ja=("音", "各段階の終わりに短い音を鳴らします。"),
    )


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
    chat: ChatSettings = ChatSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    benchmarks: BenchmarkSettings = BenchmarkSettings()
    think: ThinkSettings = ThinkSettings()
    ollama: OllamaSettings = OllamaSettings()
    export: ExportSettings = ExportSettings()
    ab_test: AbTestSettings = AbTestSettings()
    pipeline: PipelineSettings = PipelineSettings()

    def with_memory_of(self, other: "Settings") -> "Settings":
        """These settings, but for MEMORY, which are those of `other`."""
        wanted = other.train.model_dump(include=set(MEMORY))
        return self.model_copy(update={"train": self.train.model_copy(update=wanted)})

    def resolve(self, path: str) -> Path:
        """A path of this config as an absolute one."""
        return (ROOT / path).resolve()

    def fingerprint(self) -> str:
        """SHA-256 of all that shapes the weights: where runs lie, how often they are saved, how they are tried, and what
        they may take of memory does not."""
        beside = ("runs", "checkpoint", "chat", "evaluate", "benchmarks", "think", "ollama", "export", "ab_test", "pipeline")
        values = self.model_dump(mode="json", exclude=dict.fromkeys(beside, True) | {"train": set(MEMORY)})
        values["base_model"] = str(self.resolve(self.base_model))
        values["dataset"] = str(self.resolve(self.dataset))
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
