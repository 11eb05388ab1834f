"""The machine at one moment: processor and memory from psutil, the card from NVIDIA's NVML.

Under Windows' display driver model NVML knows no per-process memory, so the card's total is what is shown.
"""

from functools import cache

import psutil
import pynvml

from so8t_engine.events import HardwareSampled


def sample() -> HardwareSampled:
    """Read all figures once (about 1 ms). GPU figures are None where no NVIDIA card answers."""
    memory = psutil.virtual_memory()
    return HardwareSampled(
        cpu=psutil.cpu_percent(),
        ram_used=memory.total - memory.available,
        ram_total=memory.total,
        process_ram=psutil.Process().memory_info().rss,
        **_card_figures(),
    )


def energy() -> float | None:
    """Joules that the card has used since its driver was loaded; None where no card counts them."""
    card = _card()
    try:
        return None if card is None else pynvml.nvmlDeviceGetTotalEnergyConsumption(card) / 1000
    except pynvml.NVMLError:
        return None


@cache
def _card():
    """The first card's NVML handle, or None without a driver."""
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByIndex(0)
    except pynvml.NVMLError:
        return None


def _card_figures() -> dict[str, object]:
    card = _card()
    if card is None:
        return {}
    readings = {
        "gpu_name": lambda: pynvml.nvmlDeviceGetName(card),
        "gpu": lambda: pynvml.nvmlDeviceGetUtilizationRates(card).gpu,
        "vram_used": lambda: pynvml.nvmlDeviceGetMemoryInfo(card).used,
        "vram_total": lambda: pynvml.nvmlDeviceGetMemoryInfo(card).total,
        "temperature": lambda: pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU),
        "power": lambda: pynvml.nvmlDeviceGetPowerUsage(card) / 1000,
    }
    figures = {}
    for name, read in readings.items():
        try:
            figures[name] = read()
        except pynvml.NVMLError:
            continue  # this card does not tell this figure
    return figures
