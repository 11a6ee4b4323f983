"""For tests of modules: calls and memory with no kernel, and a suite that file modules inherit.

process = FakeProcess(Uid(0))
assert FakeCall(process, "setuid", uid=1000).answer() == 0
assert FakeCall(process.fork(), "getuid").answer() == 1000

class TestNotes(FileModuleConformance):
    module = staticmethod(Notes)
"""

from __future__ import annotations

from viewos.testing.conformance import FileModuleConformance, started
from viewos.testing.fake import AT_FDCWD, FakeCall, FakeMemory, FakeProcess

__all__ = [
    "AT_FDCWD", "FakeCall", "FakeMemory", "FakeProcess", "FileModuleConformance", "started",
]  # fmt: skip
