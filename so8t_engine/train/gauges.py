"""The machine beside a training: its memory, and what the card tells of its use, heat, power and energy."""

import time
from dataclasses import dataclass

import torch

from so8t_engine import hardware

EVERY_SECONDS = 1.0
"""Between two looks, at least."""

SHARE = 0.005
"""Of the time, at most, that the looks may take: a driver that answers slowly is asked less often."""

LONGEST_GUESS = 30.0
"""Seconds between two looks over which the power at both ends still tells the energy between them."""


@dataclass
class _Range:
    """Mean and highest of the figures that were told."""

    total: float = 0.0
    count: int = 0
    highest: float = 0.0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.highest = max(self.highest, value) if self.count else value
            self.total, self.count = self.total + value, self.count + 1

    def told(self) -> dict[str, float] | None:
        return {"mean": self.total / self.count, "max": self.highest} if self.count else None


@dataclass(frozen=True)
class _Look:
    """One moment. joules: the card's own counter; watts: its power."""

    time: float
    tokens: int
    joules: float | None
    watts: float | None


class Gauges:
    """Looks at the machine now and then, and keeps sums alone.

    Args:
        device: where the model computes. Where that is the processor, no card is asked.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._due = 0.0
        self._before: _Look | None = None
        self._card: str | None = None
        self._use, self._heat, self._power = _Range(), _Range(), _Range()
        self._memory: dict[str, int | None] = {}
        self._joules, self._paid, self._source = 0.0, 0, ""

    def look_when_due(self, tokens: int) -> None:
        """Look, if that was not done a moment ago. tokens: trained on so far."""
        if time.perf_counter() >= self._due:
            self.look(tokens)

    def look(self, tokens: int) -> None:
        """Ask for all figures once: about 1 ms, more where the driver is slow."""
        begun = time.perf_counter()
        seen = hardware.sample()
        self._memory |= {"ram_process": seen.process_ram, "ram_used": seen.ram_used, "ram_total": seen.ram_total}
        self._memory["ram_process_peak"] = max(seen.process_ram, self._memory.get("ram_process_peak") or 0)
        if self._device.type == "cuda":
            self._card = seen.gpu_name
            self._use.add(seen.gpu)
            self._heat.add(seen.temperature)
            self._power.add(seen.power)
            self._memory |= {"vram_used": seen.vram_used, "vram_total": seen.vram_total}
            self._pay(_Look(begun, tokens, hardware.energy(), seen.power))
        now = time.perf_counter()
        self._due = now + max(EVERY_SECONDS, (now - begun) / SHARE)

    def leave_out(self) -> None:
        """What the card has used since the last look is not the training's: the job stood still meanwhile."""
        self._before = None

    def memory(self) -> dict[str, int]:
        """Bytes of RAM, of the process and of the machine, and of the card by torch's and by the driver's count."""
        figures = dict(self._memory)
        if self._device.type == "cuda":
            figures |= {
                "vram_allocated": torch.cuda.memory_allocated(self._device),
                "vram_reserved": torch.cuda.memory_reserved(self._device),
                "vram_allocated_peak": torch.cuda.max_memory_allocated(self._device),
                "vram_reserved_peak": torch.cuda.max_memory_reserved(self._device),
            }
        return known(figures)

    def card(self) -> dict[str, object]:
        """Per cent, degrees Celsius, watts, joules; {} where no card computes or it tells nothing."""
        return known({
            "name": self._card, "use_percent": self._use.told(), "temperature_celsius": self._heat.told(),
            "power_watts": self._power.told(), "energy_joules": self._joules if self._source else None,
            "energy_from": self._source or None,
            "joules_per_1000_tokens": 1000 * self._joules / self._paid if self._paid else None,
        })  # fmt: skip

    def _pay(self, now: _Look) -> None:
        """Add the energy since the look before, and the tokens that it was for."""
        before, self._before = self._before, now
        if before is None:
            return
        seconds = now.time - before.time
        if before.joules is not None and now.joules is not None:
            joules, self._source = now.joules - before.joules, "counter"
        elif before.watts is not None and now.watts is not None and seconds <= LONGEST_GUESS:
            joules, self._source = (before.watts + now.watts) / 2 * seconds, "power"
        else:
            return
        self._joules += joules
        self._paid += now.tokens - before.tokens


def known(figures: dict) -> dict:
    """`figures` without those that nobody has measured."""
    return {name: value for name, value in figures.items() if value is not None}
