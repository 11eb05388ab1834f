"""The surface of the engine. Nothing else is public; importing it loads no torch.

    engine = Engine()
    engine.submit(StartTraining(settings=config.load("configs/demo.yaml")))
    for event in engine.follow():
        print(event)
"""

import os
import sys

# torch's threads must sleep while they wait, not spin: on a small machine they share the cores with the page, the
# browser and whatever else runs, and a spinning thread then holds up the one it waits for (a training step took ten
# times as long beside a busy process). On Linux they look again for some ten microseconds first: waking a thread for each
# of a step's thousand operations costs a tenth of it. Read once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

# No library that we call may ask a hub for anything, or report to one, whatever the machine's settings say.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

# Packs are of unequal size: pieces that can grow keep what the allocator holds near what is used. Windows has none.
if sys.platform != "win32":
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

from so8t_engine import commands, config, errors, events
from so8t_engine.ab_tests import Finished as FinishedAbTest
from so8t_engine.ab_tests import verdict as ab_test_verdict
from so8t_engine.audit import Condition as AuditCondition
from so8t_engine.audit import Entry as AuditEntry
from so8t_engine.audit import Verdict as AuditVerdict
from so8t_engine.commands import (
    ExportModel,
    LintDataset,
    RunAbTest,
    RunEvaluation,
    RunJapaneseTest,
    RunPipeline,
    StartTraining,
    StartVerification,
)
from so8t_engine.config import Settings
from so8t_engine.engine import Engine
from so8t_engine.errors import BadInput, Busy, EngineError, SettingsError
from so8t_engine.evaluations import Comparison as EvaluationComparison
from so8t_engine.evaluations import Finished as FinishedEvaluation
from so8t_engine.exports import Finished as FinishedExport
from so8t_engine.pipelines import Stored as StoredPipeline
from so8t_engine.runs import Run
from so8t_engine.settings import STAGES
from so8t_engine.snapshot import Snapshot
from so8t_engine.voice import Voice

__all__ = [
    "STAGES", "AuditCondition", "AuditEntry", "AuditVerdict", "BadInput", "Busy", "Engine", "EngineError",
    "EvaluationComparison", "ExportModel", "FinishedAbTest", "FinishedEvaluation", "FinishedExport", "LintDataset", "Run",
    "RunAbTest", "RunEvaluation",
    "RunJapaneseTest", "RunPipeline", "Settings", "SettingsError", "Snapshot", "StartTraining", "StartVerification",
    "StoredPipeline", "Voice", "ab_test_verdict", "commands", "config", "errors", "events",
]  # fmt: skip
