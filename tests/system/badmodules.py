"""Modules that do everything wrong that an author can do wrong."""

import asyncio
import os
import time

from viewos import PASS, Claim, Interrupted, RealPath, VirtualModule, VirtualPath, hook


class Fine(VirtualModule):
    pass


class StartRaises(VirtualModule):
    def start(self, scratch):
        raise ValueError("two\nlines")


class StartNoFile(VirtualModule):
    def start(self, scratch):
        os.stat("/no/where")


class StopRaises(VirtualModule):
    def stop(self):
        raise ValueError("late")


class StartRaisesAbove(VirtualModule):
    """Stands on one that has to be stopped."""

    def start(self, scratch):
        print("started", flush=True)

    def stop(self):
        print("stopped", flush=True)


class Init(VirtualModule):
    def __init__(self, more):
        pass


class FromItems(VirtualModule):
    @classmethod
    def from_items(cls, items):
        return 3


class NoClaims(VirtualModule):
    def claims(self):
        return None


class NotAClaim(VirtualModule):
    def claims(self):
        yield "/mnt"


class Text(VirtualModule):
    def claims(self):
        yield Claim("/mnt", "/tmp")


class Relative(VirtualModule):
    def claims(self):
        yield Claim(VirtualPath(b"mnt"), RealPath(b"/tmp"))


class NoBacking(VirtualModule):
    def claims(self):
        yield Claim(VirtualPath(b"/mnt"), None)


class Nul(VirtualModule):
    def claims(self):
        yield Claim(VirtualPath(b"/mnt\0"), RealPath(b"/tmp"))


class DotDot(VirtualModule):
    def claims(self):
        yield Claim(VirtualPath(b"/usr/../mnt"), RealPath(b"/usr"))


class Operation(VirtualModule):
    def claims(self):
        yield Claim(VirtualPath(b"/mnt"), RealPath(b"/tmp"), operations=frozenset({"opne"}))


class Syscalls(VirtualModule):
    def syscalls(self):
        return {"nonsense"}


class Exits(VirtualModule):
    @hook("uname")
    def look(self, call):
        raise SystemExit(3)


class Stops(VirtualModule):
    @hook("uname")
    def look(self, call):
        raise KeyboardInterrupt


class Cancels(VirtualModule):
    @hook("uname")
    async def look(self, call):
        raise asyncio.CancelledError


class NoErrno(VirtualModule):
    @hook("uname")
    def look(self, call):
        raise OSError("text", "x")


class Interrupts(VirtualModule):
    @hook("uname")
    def look(self, call):
        raise Interrupted


class TooGreat(VirtualModule):
    def getuid(self, call):
        return 2**63


class TooSmall(VirtualModule):
    def getuid(self, call):
        return -(2**63) - 1


class Huge(VirtualModule):
    def getuid(self, call):
        return 10**5000


class Recurses(VirtualModule):
    @hook("uname")
    def look(self, call):
        return self.look(call)


class Nonsense(VirtualModule):
    def uname(self, call):
        return "nonsense"


class Hangs(VirtualModule):
    @hook("uname")
    def look(self, call):
        time.sleep(1000)
        return PASS


class Prints(VirtualModule):
    @hook("uname")
    def look(self, call):
        print("hello")
        return PASS


class StartExits(VirtualModule):
    def start(self, scratch):
        raise SystemExit(9)


class ItemsExit(VirtualModule):
    @classmethod
    def from_items(cls, items):
        raise SystemExit(9)


class ClaimsExit(VirtualModule):
    def claims(self):
        raise SystemExit(9)


class StopExits(VirtualModule):
    def stop(self):
        raise SystemExit(9)
