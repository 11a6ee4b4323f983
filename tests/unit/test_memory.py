"""Reads and writes of a process's memory: of this one and of a child."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from viewos.monitor.memory import PAGE, PATH_MAX, Fault, Memory, TraceeGone

PAGES = 4
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
BAD = (0, 1, PAGE, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - PAGE)
quickly = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


class Area:
    """Pages of this process, with an unmapped one behind them."""

    def __init__(self) -> None:
        size = (PAGES + 1) * PAGE
        self.start = int(
            libc.mmap(
                None, size, mmap.PROT_READ | mmap.PROT_WRITE,
                mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0,
            )
        )  # fmt: skip
        self.end = self.start + PAGES * PAGE
        assert libc.munmap(self.end, PAGE) == 0

    def put(self, data: bytes, before_end: int) -> int:
        """Place data so that it ends that many bytes before the end; fill the rest with x."""
        at = self.end - before_end - len(data)
        assert at >= self.start
        ctypes.memset(self.start, ord("x"), PAGES * PAGE)
        ctypes.memmove(at, data, len(data))
        return at


@pytest.fixture
def area() -> Iterator[Area]:
    made = Area()
    yield made
    libc.munmap(made.start, PAGES * PAGE)


@pytest.fixture
def memory() -> Memory:
    return Memory()


texts = st.builds(
    lambda size, byte: bytes([byte]) * size,
    st.integers(0, PATH_MAX - 1) | st.sampled_from([0, 1, 255, 256, 1023, 1024, 4094, 4095]),
    st.integers(1, 255),
)
distances = st.integers(0, 2 * PAGE) | st.sampled_from([0, 1, PAGE - 1, PAGE, PAGE + 1])


@quickly
@given(text=texts, before_end=distances)
def test_a_string(area: Area, memory: Memory, text: bytes, before_end: int) -> None:
    """Wherever it lies, up to the last byte before an unmapped page."""
    at = area.put(text + b"\0", before_end)
    assert memory.read_string(os.getpid(), at) == text


@quickly
@given(text=texts)
def test_a_string_that_runs_into_an_unmapped_page(area: Area, memory: Memory, text: bytes) -> None:
    at = area.put(text, 0)
    with pytest.raises(Fault):
        memory.read_string(os.getpid(), at)


@quickly
@given(size=st.integers(0, 2 * PAGE), limit=st.integers(1, 2 * PAGE))
def test_a_limit(area: Area, memory: Memory, size: int, limit: int) -> None:
    """A string that needs more than `limit` bytes with its NUL has no end."""
    at = area.put(b"y" * size + b"\0", PAGE)
    if size < limit:
        assert memory.read_string(os.getpid(), at, limit) == b"y" * size
    else:
        with pytest.raises(Fault):
            memory.read_string(os.getpid(), at, limit)


def test_bad_pointers(memory: Memory) -> None:
    for address in BAD:
        for read in (memory.read_string, lambda t, a: memory.read(t, a, 1)):
            with pytest.raises(Fault):
                read(os.getpid(), address)
        with pytest.raises(Fault):
            memory.read_exact(os.getpid(), address, 10 * PAGE)
        with pytest.raises(OSError, match="bad address") as failed:
            memory.write(os.getpid(), address, b"x")
        assert failed.value.errno == errno.EFAULT


@quickly
@given(size=st.integers(1, PAGES * PAGE), before_end=st.integers(0, PAGE))
def test_exactly(area: Area, memory: Memory, size: int, before_end: int) -> None:
    data = os.urandom(min(size, PAGES * PAGE - before_end))
    at = area.put(data, before_end)
    assert memory.read_exact(os.getpid(), at, len(data)) == data
    with pytest.raises(Fault):
        memory.read_exact(os.getpid(), at, len(data) + before_end + 1)


def test_more_than_one_buffer(memory: Memory) -> None:
    data = os.urandom(300_000)
    buffer = ctypes.create_string_buffer(data, len(data))
    assert memory.read_exact(os.getpid(), ctypes.addressof(buffer), len(data)) == data


@quickly
@given(data=st.binary(max_size=2 * PAGE), before_end=st.integers(0, PAGE))
def test_a_write(area: Area, memory: Memory, data: bytes, before_end: int) -> None:
    at = area.put(b"-" * len(data), before_end)
    memory.write(os.getpid(), at, data)
    assert ctypes.string_at(at, len(data)) == data
    assert set(ctypes.string_at(area.start, at - area.start)) <= {ord("x")}
    with pytest.raises(OSError, match="bad address"):
        memory.write(os.getpid(), area.end - 1, b"ab")


def test_a_write_obeys_protections(area: Area, memory: Memory) -> None:
    """As the kernel's copy_to_user does."""
    assert libc.mprotect(area.start, PAGE, mmap.PROT_READ) == 0
    with pytest.raises(OSError, match="bad address") as failed:
        memory.write(os.getpid(), area.start, b"x")
    assert failed.value.errno == errno.EFAULT
    memory.write(os.getpid(), area.start + PAGE, b"y")


def test_a_child(memory: Memory) -> None:
    script = (
        "import ctypes, sys\n"
        "b = ctypes.create_string_buffer(b'of the child', 50)\n"
        "print(ctypes.addressof(b), flush=True)\n"
        "sys.stdin.readline()\n"
        "print(b.value.decode(), flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        address = int(child.stdout.readline())
        assert memory.read_string(child.pid, address) == b"of the child"
        memory.write(child.pid, address, b"by the monitor\0")
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "by the monitor\n"
        child.communicate("\n")
    for read in (memory.read_string, lambda t, a: memory.read(t, a, 1)):
        with pytest.raises(TraceeGone):
            read(child.pid, address)
    with pytest.raises(TraceeGone):
        memory.write(child.pid, address, b"x")
    memory.write(child.pid, address, b"")
