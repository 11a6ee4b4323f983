"""A process, its memory and its calls, with no kernel below them."""

from __future__ import annotations

import errno
import inspect
import os
import posixpath
import select
import socket
from collections.abc import Callable, Sequence
from typing import Any

from viewos.abi.socket import SocketAddress
from viewos.abi.syscalls import TABLE, Kind, follows
from viewos.call import Call
from viewos.files import File
from viewos.module import PASS, Verdict, VirtualModule
from viewos.shared import SharedSocket
from viewos.view import ProcessState

AT_FDCWD = -100


class FakeMemory:
    """The memory of a process that does not exist. Address 0 and all that was not allocated are
    bad (EFAULT)."""

    def __init__(self) -> None:
        self._areas: dict[int, bytearray] = {}
        self._next = 0x1000

    def place(self, data: bytes) -> int:
        """Put data into new memory; its address."""
        address = self._next
        self._areas[address] = bytearray(data)
        self._next += (len(data) // 0x1000 + 2) * 0x1000
        return address

    def allocate(self, size: int) -> int:
        """New memory of `size` zero bytes; its address."""
        return self.place(bytes(size))

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at `address`. Raises OSError EFAULT."""
        area, at = self._find(address, size)
        return bytes(area[at : at + size])

    def read_string(self, address: int) -> bytes:
        """The bytes up to a zero byte. Raises OSError EFAULT."""
        area, at = self._find(address, 1)
        end = area.find(b"\0", at)
        if end < 0:
            raise OSError(errno.EFAULT, "bad address")
        return bytes(area[at:end])

    def write(self, address: int, data: bytes) -> None:
        """Raises OSError EFAULT."""
        area, at = self._find(address, len(data))
        area[at : at + len(data)] = data

    def _find(self, address: int, size: int) -> tuple[bytearray, int]:
        for start, area in self._areas.items():
            if start <= address and address + size <= start + len(area):
                return area, address - start
        raise OSError(errno.EFAULT, "bad address")


class FakeProcess:
    """A process in a view of some modules, the first at the bottom: memory, working directory,
    descriptors that are sockets, what the modules keep for it, and what they told the user."""

    def __init__(self, *modules: VirtualModule, cwd: bytes = b"/", pid: int = 1000) -> None:
        self.modules = modules
        self.cwd = cwd
        self.pid = pid
        self.memory = FakeMemory()
        self.state = ProcessState()
        self.sockets: dict[int, socket.socket] = {}
        self.told: list[str] = []
        self.mounts: list[tuple[str, bytes, bytes, tuple[str, ...]]] = []
        """What modules have mounted: (kind, source, target, options)."""

    def fork(self) -> FakeProcess:
        """A child: it inherits what the modules keep, and a copy of the memory."""
        child = FakeProcess(*self.modules, cwd=self.cwd, pid=self.pid + 1)
        child.state = self.state
        child.sockets, child.told = self.sockets, self.told
        child.memory._areas = {at: bytearray(area) for at, area in self.memory._areas.items()}
        child.memory._next = self.memory._next
        return child


class FakeCall(Call):
    """A system call that is answered by modules, with no kernel below them.

    `FakeCall(module, "openat", path=b"/x", flags=os.O_RDONLY).answer()`

    Arguments: a module or a `FakeProcess`; the name of a system call; its arguments by their
    names in the manual page. Bytes are placed in the memory of the process, strings with their
    zero byte, and passed by address; what is not given is 0, a dirfd AT_FDCWD. `below` is what the
    kernel would answer: a value, an OSError to raise, or a function of the call; without it
    `call.below()` raises OSError ENOSYS. Raises TypeError for an argument that the call lacks.
    """

    __slots__ = ("_below", "process")

    def __init__(
        self,
        subject: VirtualModule | FakeProcess,
        syscall: str,
        /,
        *,
        below: Any = OSError(errno.ENOSYS, "no `below` was given"),  # noqa: B008
        **arguments: int | bytes,
    ) -> None:
        self.process = subject if isinstance(subject, FakeProcess) else FakeProcess(subject)
        self._below = below
        row = TABLE[syscall]
        raw = [self._register(arg.kind, arguments.pop(arg.name, None)) for arg in row.args]
        if arguments:
            raise TypeError(f"{syscall} has no argument {', '.join(arguments)}")
        raw += [0] * (6 - len(raw))
        services = _Services(self.process)
        super().__init__(row, self.process.pid, tuple(raw), services)

    def _register(self, kind: Kind, value: int | bytes | None) -> int:
        if value is None:
            value = AT_FDCWD if kind == Kind.DIRFD else 0
        if isinstance(value, bytes):
            text = kind in (Kind.PATH, Kind.STR)
            value = self.process.memory.place(value + b"\0" * text)
        return value & 0xFFFFFFFFFFFFFFFF

    def answer(self) -> Verdict:
        """What the modules say, as the monitor asks them: hooks first, then handlers, each from
        the top module down. A value, or PASS; raises OSError. An `async def` is run to its end."""
        try:
            return self._ask(self._chain(), 0)
        finally:
            self.release()

    def _chain(self) -> list[tuple[int, Callable[[Call], Verdict]]]:
        chain = []
        for kind in ("hooks", "handlers"):
            for layer, module in reversed(list(enumerate(self.process.modules))):
                methods: dict[str, str] = getattr(module, kind)
                asked = module.calls() & {self.name, self.operation}
                named = {methods.get(name) for name in asked}
                chain += [(layer, getattr(module, name)) for name in sorted(filter(None, named))]
        return chain

    def _ask(self, chain: list[tuple[int, Callable[[Call], Verdict]]], start: int) -> Verdict:
        for index in range(start, len(chain)):
            self.layer, method = chain[index]

            def ask_below(natively: bool, at: int = index + 1, layer: int = self.layer) -> Any:
                verdict = self._ask(chain, at)
                self.layer = layer
                is_open = natively and verdict is PASS
                return self.services.native(self) if is_open else verdict

            self._ask_below = ask_below
            verdict = method(self)
            if inspect.isawaitable(verdict):
                verdict = _run(verdict)
            if verdict is not PASS:
                return verdict
        return PASS


def _run(awaitable: Any) -> Any:
    import anyio

    async def main() -> Any:
        return await awaitable

    return anyio.run(main)


class _Services:
    """What a call asks of the monitor, answered from a `FakeProcess`."""

    def __init__(self, process: FakeProcess) -> None:
        self._process = process

    def read_memory(self, tid: int, address: int, size: int) -> bytes:
        return self._process.memory.read(address, size)

    def read_string(self, tid: int, address: int) -> bytes:
        return self._process.memory.read_string(address)

    def write_memory(self, tid: int, address: int, data: bytes) -> None:
        self._process.memory.write(address, data)

    def process_of(self, tid: int) -> int:
        return self._process.pid

    def virtual_path(self, call: Call, index: int) -> bytes | None:
        """By its letters: there are no symbolic links, and a dirfd is the working directory."""
        if index >= len(call.row.paths):
            return None
        path = self._process.memory.read_string(call.raw[call.row.paths[index].path])
        lexical = posixpath.normpath(posixpath.join(self._process.cwd, path))
        return b"/" + lexical.lstrip(b"/") if path else None

    def process_state(self, call: Call) -> ProcessState:
        return self._process.state

    def set_process_state(self, call: Call, state: ProcessState) -> None:
        hash(state)  # the monitor interns it: a value that cannot be hashed fails there as here
        self._process.state = state

    def share(self, call: Call, fd: int) -> SharedSocket:
        if fd not in self._process.sockets:
            raise OSError(errno.EBADF, "no descriptor of the process")
        return SharedSocket(os.dup(self._process.sockets[fd].fileno()), call, self)

    def wait(self, call: Call, fd: int, events: int, seconds: float | None) -> int:
        poll = select.poll()
        if fd >= 0:
            poll.register(fd, events)
        ready = poll.poll(None if seconds is None else seconds * 1000)
        return ready[0][1] if ready else 0

    def blocking(self, call: Call, function: Callable[[], int]) -> int:
        return function()

    def has_room(self, call: Call) -> bool:
        return True

    def warn(self, text: str, once: str | None) -> None:
        self._process.told.append(text)

    def file(self, call: Call, index: int) -> File | None:
        """A real file of this machine: paths are real ones, from the working directory."""
        if not call.row.paths:
            return File(path=b"/proc/self/fd/%d" % (call.raw[call.row.position("fd")]))
        path = self.virtual_path(call, index)
        follow = 0 if path and follows(call.row.paths[index], call.raw) else os.O_NOFOLLOW
        return File(os.open(path, os.O_PATH | os.O_CLOEXEC | follow)) if path else None

    def parent(self, call: Call, index: int) -> File | None:
        path = self.virtual_path(call, index)
        return File(os.open(os.path.dirname(path), os.O_PATH)) if path else None

    def searched(self, call: Call, index: int) -> list[bytes]:
        """As `virtual_path`, all from the root directory."""
        path = self.virtual_path(call, index)
        names = [] if path is None else [name for name in path.split(b"/") if name]
        return [b"/" + b"/".join(names[:count]) for count in range(len(names))]

    def make_within(self, call: Call) -> Any:
        raise OSError(errno.EOPNOTSUPP, "there is no process")

    def obstacle(self, call: Call) -> File | None:
        return None

    def file_at(self, path: bytes) -> File:
        return File(os.open(path, os.O_PATH | os.O_NOFOLLOW))

    def state_of(self, pid: int) -> ProcessState:
        if pid != self._process.pid:
            raise ProcessLookupError(errno.ESRCH, "there is no other process")
        return self._process.state

    def change_state_of(self, call: Call, pid: int, change: Callable[[Any], Any]) -> None:
        state = self.state_of(pid)
        self._process.state = state.with_module(call.layer, change(state.of(call.layer)))

    def shares_view(self, call: Call, pid: int) -> bool:
        return pid == self._process.pid

    def change_root(self, call: Call) -> None:
        self._process.state = self._process.state._replace(root=self.virtual_path(call, 0))

    def mount(
        self, call: Call, kind: str, source: bytes, target: bytes, options: Sequence[str]
    ) -> None:
        self._process.mounts.append((kind, source, target, tuple(options)))

    def remount(self, call: Call, target: bytes, read_only: bool) -> None:
        at = self._mounted_at(target)
        if at is None:
            raise OSError(errno.EINVAL, "nothing is mounted there")
        kind, source, _, options = self._process.mounts[at]
        kept = tuple(option for option in options if option not in ("ro", "rw"))
        state = (*kept, "ro" if read_only else "rw")
        self._process.mounts[at] = (kind, source, target, state)

    def unmount(self, call: Call, target: bytes, lazy: bool) -> bool:
        at = self._mounted_at(target)
        if at is not None:
            del self._process.mounts[at]
        return at is not None

    def is_mounted(self, target: bytes) -> bool:
        return self._mounted_at(target) is not None

    def name_of(self, call: Call, index: int, covered: bool) -> bytes | None:
        return self.virtual_path(call, index)

    def _mounted_at(self, target: bytes) -> int | None:
        found = [at for at, mount in enumerate(self._process.mounts) if mount[2] == target]
        return found[-1] if found else None

    def is_asked_below(self, call: Call, name: str) -> bool:
        return any(name in module.calls() for module in self._process.modules[: call.layer])

    def connect_below(
        self, call: Call, address: SocketAddress, how: Callable[[SharedSocket, SocketAddress], None]
    ) -> None:
        how(call.socket(), address)

    def native(self, call: Call) -> Any:
        below = call._below if isinstance(call, FakeCall) else None
        if isinstance(below, BaseException):
            raise below
        return below(call) if callable(below) else below
