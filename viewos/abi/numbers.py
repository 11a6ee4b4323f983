"""The running machine's system call numbers: the one place that chooses the architecture."""

from __future__ import annotations

from viewos.abi.machine import MACHINE

if MACHINE == "x86_64":
    from viewos.abi.numbers_x86_64 import NUMBERS
else:
    raise ImportError(f"viewos knows no system call numbers for {MACHINE}: it runs on x86_64")

__all__ = ["MACHINE", "NUMBERS"]
