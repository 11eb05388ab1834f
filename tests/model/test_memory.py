"""What a computation frees stays with the process until it is given back."""

import platform
import subprocess
import sys

import pytest
from made import ROOT, environment

COUNTED = """
import resource, psutil, torch
from so8t_engine.model.memory import give_back, keep_heap

MIB, pages = 2**20, lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    before = pages()
    kept = [torch.ones(12 * MIB // 4) for _ in range(20)]
    del kept
    return pages() - before

keep_heap()
first, second = step(), step()
held = psutil.Process().memory_info().rss
give_back()
print(first, second, (held - psutil.Process().memory_info().rss) // MIB)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator hands each step's memory back")
def test_the_second_step_finds_the_memory_of_the_first_and_the_system_gets_it_back_at_the_end():
    done = subprocess.run([sys.executable, "-c", COUNTED], cwd=ROOT, env=environment(), capture_output=True, text=True)
    first, second, given_back = map(int, done.stdout.split())
    assert first > 240 * 2**20 / 2**21, "they were touched"
    assert second < first / 20
    assert given_back > 200
