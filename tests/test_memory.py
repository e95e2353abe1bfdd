"""Whether freed memory stays is decided for a whole process: each case has one of its own."""

import pytest

from object_detection_mtl import memory
from tests import processes

CODE = """
from object_detection_mtl import memory

def faults():
    with open("/proc/self/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[7])

SIZE = 2**24 + len(__name__)  # not a constant
done = memory.keep_freed()
b"x" * SIZE
before = faults()
for _ in range(10):
    b"x" * SIZE
print(done, faults() - before)
"""
PAGES = 2**24 // 4096


def run(**environment):
    answer, faults = processes.words(CODE, without=memory.SETTINGS, **environment)
    return answer, int(faults)


def test_the_same_memory_again():
    answer, faults = run()
    assert answer == "True"
    assert faults < PAGES


@pytest.mark.parametrize("name", memory.SETTINGS)
def test_who_has_decided_otherwise(name):
    value = "glibc.malloc.mmap_threshold=131072" if name == "GLIBC_TUNABLES" else "131072"
    answer, faults = run(**{name: value})
    assert answer == "False"
    if name != "MALLOC_TRIM_THRESHOLD_":
        assert faults > 5 * PAGES
