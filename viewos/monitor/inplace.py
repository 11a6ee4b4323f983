"""When a thread cannot be fixed up, because a debugger inside the view traces it already.

Then the path string is patched where it stands, which needs no registers, and restored when the
call is over. It must fit, so it is a short link in the scratch directory.
"""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time
from typing import TYPE_CHECKING

from viewos.monitor.outcome import CONTINUE, Outcome

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_LINKS = itertools.count()


def fall_back(
    router: Router, call: Call, strings: dict[int, bytes], plain: bool, why: str
) -> int | Outcome:
    """Let the call continue with its strings patched in place. Raises OSError EPERM where they do
    not fit."""
    if plain:
        return CONTINUE
    patches = []
    for index, string in strings.items():
        address = call.raw[index]
        old = router.memory.read_string(call.tid, address)
        new = string if len(string) <= len(old) else short_name(router, string)
        if len(new) > len(old):
            router.log.warning(
                f"{call.name} by process {call.tid}, which a debugger traces ({why}): no room for"
                f" {os.fsdecode(string)} in its string; run the debugger outside of the view"
            )
            raise OSError(errno.EPERM, "traced")
        patches.append((address, old + b"\0", new + b"\0"))
    for address, _, new in patches:
        poke(call.tid, address, new)
    restorer = threading.Thread(target=_restore, args=(call.tid, call.raw, patches), daemon=True)
    restorer.start()
    return CONTINUE


def short_name(router: Router, real: bytes) -> bytes:
    """A short path by which the kernel reaches `real`: a link in the view's scratch directory."""
    link = b"%s/%x" % (router.view.scratch, next(_LINKS))
    os.symlink(real, link)
    return link


def poke(tid: int, address: int, data: bytes) -> None:
    """Write through /proc/TID/mem, which also writes what is read-only for the program."""
    fd = os.open(f"/proc/{tid}/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, data, address)
    finally:
        os.close(fd)


def _in_call(tid: int, raw: tuple[int, ...]) -> bool:
    try:
        with open(f"/proc/{tid}/syscall", "rb", buffering=0) as file:
            words = file.read().split()
    except OSError:
        return False
    return len(words) > 7 and tuple(int(w, 16) for w in words[1:7]) == raw


def _restore(tid: int, raw: tuple[int, ...], patches: list[tuple[int, bytes, bytes]]) -> None:
    time.sleep(0.0005)
    while _in_call(tid, raw):
        time.sleep(0.001)
    for address, old, new in patches:
        try:
            fd = os.open(f"/proc/{tid}/mem", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return
        try:  # an execve that succeeded took the string along with the old memory
            if os.pread(fd, len(new), address) == new:
                os.pwrite(fd, old[: len(new)], address)
        except OSError:
            pass
        finally:
            os.close(fd)
