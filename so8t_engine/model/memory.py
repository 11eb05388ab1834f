"""The memory of this process between two uses: kept while a step wants again what the last one let go, given back after."""

import ctypes
import gc
import platform
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Their numbers in malloc.h of glibc, see mallopt(3)."""

_KEPT = 2**30
"""Bytes of freed memory that the process may hold on to while it computes."""


def keep_heap() -> None:
    """Let the process keep what a computation on the CPU frees, instead of asking the system for it again each step.

    glibc hands the top of its heap back at once; the next step's tensors then come page by page, each zeroed by the
    system: a tenth of a small model's training. Other systems' allocators, and a card's, keep memory by themselves.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_MMAP_THRESHOLD, _KEPT)


def give_back() -> None:
    """Give what a model has left to the system and the card; to be called when nothing refers to the model any more.

    Loads no library that is not loaded yet.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
