"""`Call`: one trapped system call, as hooks and handlers see it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from viewos.abi import row as abi
from viewos.errors import BadArgument

if TYPE_CHECKING:
    from viewos.abi.socket import SocketAddress
    from viewos.files import File
    from viewos.message import Message
    from viewos.shared import SharedSocket
    from viewos.view import ProcessState

    Connect = Callable[[SharedSocket, SocketAddress], None]

_UNREAD: Any = object()


class Services(Protocol):
    """What a call asks of the monitor (or of `viewos.testing`, without a kernel)."""

    def read_memory(self, tid: int, address: int, size: int) -> bytes: ...
    def read_string(self, tid: int, address: int) -> bytes: ...
    def write_memory(self, tid: int, address: int, data: bytes) -> None: ...
    def process_of(self, tid: int) -> int: ...
    def virtual_path(self, call: Call, index: int) -> bytes | None: ...
    def process_state(self, call: Call) -> ProcessState: ...
    def set_process_state(self, call: Call, state: ProcessState) -> None: ...
    def native(self, call: Call) -> Any: ...
    def is_asked_below(self, call: Call, name: str) -> bool: ...
    def connect_below(self, call: Call, address: SocketAddress, how: Connect) -> None: ...
    def share(self, call: Call, fd: int) -> SharedSocket: ...
    def wait(self, call: Call, fd: int, events: int, seconds: float | None) -> int: ...
    def warn(self, text: str, once: str | None) -> None: ...
    def file(self, call: Call, index: int) -> File | None: ...
    def parent(self, call: Call, index: int) -> File | None: ...
    def searched(self, call: Call, index: int) -> Iterable[bytes]: ...
    def make_within(self, call: Call) -> Any: ...
    def obstacle(self, call: Call) -> File | None: ...
    def file_at(self, path: bytes) -> File: ...
    def state_of(self, pid: int) -> ProcessState: ...
    def change_state_of(self, call: Call, pid: int, change: Callable[[Any], Any]) -> None: ...
    def shares_view(self, call: Call, pid: int) -> bool: ...
    def change_root(self, call: Call) -> None: ...
    def mount(
        self, call: Call, kind: str, source: bytes, target: bytes, options: Sequence[str]
    ) -> None: ...
    def remount(self, call: Call, target: bytes, read_only: bool) -> None: ...
    def unmount(self, call: Call, target: bytes, lazy: bool) -> bool: ...
    def is_mounted(self, target: bytes) -> bool: ...
    def name_of(self, call: Call, index: int, covered: bool) -> bytes | None: ...


class Arguments:
    """The arguments of a call by name, decoded by their kind: `call.args.flags`.

    Integers are signed or unsigned as the kernel takes them, paths and strings are bytes read from
    the tracee, other pointers are addresses.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        call = self._call
        for index, argument in enumerate(call.row.args):
            if argument.name == name:
                return call.decode(index)
        raise AttributeError(f"{call.row.name} has no argument {name!r}")


class Call:
    """One trapped system call."""

    __slots__ = (
        "_address",
        "_ask_below",
        "_files",
        "_messages",
        "_process",
        "_shared",
        "_state",
        "answered_by_module",
        "bottom",
        "cookie_id",
        "given_family",
        "has_acted",
        "layer",
        "made",
        "places",
        "raw",
        "result",
        "row",
        "services",
        "task",
        "tid",
        "trail",
    )  # fmt: skip

    def __init__(self, row: abi.Row, tid: int, raw: tuple[int, ...], services: Services) -> None:
        self.row = row
        self.tid = tid
        """The calling thread's id, in the monitor's pid name space."""
        self.raw = raw
        """The six argument registers."""
        self.services = services
        self.layer = -1
        self.cookie_id = 0
        self.places: Any = None
        self.task: Any = None
        self.trail: list[str] | None = None
        """Where the call is traced: who was asked, and what was done."""
        self.has_acted = False
        """It was made below a module, and may have had its effect."""
        self.result: int | None = None
        """Where the call is traced: what the kernel returned, in the tracee."""
        self.answered_by_module = False
        self._process = 0
        self._state: ProcessState | None = None
        self._ask_below: Callable[[bool], Any] | None = None
        """Given whether the kernel is asked where no layer answers."""
        self._messages: list[Message] | None = None
        self.bottom: Connect | None = None
        """How a connect is made that is not the program's own: see `connect`."""
        self._address: SocketAddress | None = _UNREAD
        self.given_family = 0
        """Of the address that the program gave, where that has been read: AF_INET, AF_INET6."""
        self._shared: dict[int, SharedSocket] = {}
        self._files: dict[int, File | None] = {}
        self.made: Callable[[], None] | None = None
        """See `bind`."""

    def __repr__(self) -> str:
        return f"<{self.row.name} by {self.tid}>"

    @property
    def name(self) -> str:
        """The system call: "openat"."""
        return self.row.name

    @property
    def operation(self) -> str:
        """The operation that it is a variant of: "open"."""
        return self.row.operation

    @property
    def args(self) -> Arguments:
        """The decoded arguments by name."""
        return Arguments(self)

    @property
    def pid(self) -> int:
        """The id of the calling process (the thread group)."""
        if not self._process:
            self._process = self.services.process_of(self.tid)
        return self._process

    @property
    def process_hint(self) -> int:
        """The id of the calling process where it is known already, else that of the thread."""
        return self._process or self.tid

    @property
    def path(self) -> bytes | None:
        """The canonical virtual path of the first path argument; None if there is none."""
        return self.services.virtual_path(self, 0)

    @property
    def second_path(self) -> bytes | None:
        """The canonical virtual path of the second path argument (rename, link)."""
        return self.services.virtual_path(self, 1)

    def decode(self, index: int) -> Any:
        """The argument of that index, decoded by its kind."""
        value, kind = self.raw[index], self.row.args[index].kind
        if kind in abi.STRINGS:
            return self.services.read_string(self.tid, value)
        return abi.decode(kind, value)

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes of the tracee's memory. Raises OSError EFAULT."""
        return self.services.read_memory(self.tid, address, size)

    def read_argument(self, address: int, size: int) -> bytes:
        """`read` what the kernel itself reads of an argument. Raises BadArgument EFAULT."""
        try:
            return self.read(address, size)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
            raise BadArgument(*error.args) from None

    def read_text(self, address: int) -> bytes:
        """A string of the tracee's, up to its zero byte, at most 4,096. Raises OSError EFAULT."""
        return self.services.read_string(self.tid, address)

    def write(self, address: int, data: bytes) -> None:
        """Write to the tracee's memory. Raises OSError EFAULT."""
        self.services.write_memory(self.tid, address, data)

    @property
    def process_state(self) -> ProcessState:
        """All that is remembered of the calling process."""
        if self._state is None:
            self._state = self.services.process_state(self)
        return self._state

    def recall(self, default: Any = None) -> Any:
        """What the asking module has kept for the calling process (see `keep`)."""
        return self.process_state.of(self.layer, default)

    def keep(self, value: Any) -> None:
        """Keep an immutable, hashable value for the calling process and its children."""
        self._state = self.process_state.with_module(self.layer, value)
        self.services.set_process_state(self, self._state)

    def below(self, address: SocketAddress | None = None, **changes: int) -> Any:
        """What the layers below, and at the bottom the kernel, answer. Raises OSError.

        With `address`: as if the program had given this one to its connect, bind or sendto.
        `changes`: other arguments by name that they are to see instead of the program's.
        """
        if address is not None:
            self._address = address
        before = self.raw
        if changes:
            raw = list(before)
            for name, value in changes.items():
                raw[self.row.position(name)] = value & 0xFFFFFFFFFFFFFFFF
            self.raw = tuple(raw)
        try:
            return self.services.native(self) if self._ask_below is None else self._ask_below(True)
        finally:
            self.raw = before

    def ask(
        self, address: SocketAddress | None = None, messages: list[Message] | None = None
    ) -> Any:
        """What the layers below answer; `PASS` where they leave the call to the kernel. Raises
        OSError, Interrupted.

        As if the program had given this address, or its call were about these messages.
        """
        before = self._address, self._messages
        if address is not None:
            self._address = address
        if messages is not None:
            self._messages = messages
        try:
            return self.services.native(self) if self._ask_below is None else self._ask_below(False)
        finally:
            self._address, self._messages = before

    def past(self, address: SocketAddress) -> Any:
        """`below(address=...)`, past the layers below: for what is no part of their world."""
        self._address = address
        self.has_acted = True
        return self.services.native(self)

    def is_asked_below(self, name: str) -> bool:
        """May a layer below answer calls of that name?"""
        return self.services.is_asked_below(self, name)

    def file(self, index: int = 0) -> File | None:
        """The object that a path argument leads to, or the descriptor of a call without a path.

        The same one until the call has been answered; None where only the kernel can judge (a
        task with other credentials or name spaces than the monitor's): return `PASS` there. Raises
        the OSError of a path that leads nowhere.
        """
        if index not in self._files:
            self._files[index] = self.services.file(self, index)
        return self._files[index]

    def parent(self, index: int = 0) -> File | None:
        """The directory in which the last name of a path argument stands; see `file`."""
        key = -1 - index
        if key not in self._files:
            self._files[key] = self.services.parent(self, index)
        return self._files[key]

    def searched(self, index: int = 0) -> Iterable[bytes]:
        """The canonical directories in which the names of a path argument are looked up, one for
        each name, `..` and those behind symbolic links included; see `file_at`. Empty where only
        the kernel can judge. Raises OSError ELOOP after those that come before."""
        return self.services.searched(self, index)

    def make_within(self) -> Any:
        """Let the process make the call now, where its paths lead; return what this gives. For
        calls to which `below` has no answer (EOPNOTSUPP)."""
        return self.services.make_within(self)

    def obstacle(self) -> File | None:
        """What makes the kernel refuse the call with EACCES: a directory on one of its paths, or
        the file or directory at its end. None: nothing, or only the kernel can judge. Raises the
        OSError of a path that leads nowhere. It is yours to close."""
        for file in self._files.values():
            if file is not None:
                file.close()
        self._files.clear()
        return self.services.obstacle(self)

    def file_at(self, path: bytes) -> File:
        """The object at a canonical path of the view. Raises OSError; it is yours to close."""
        return self.services.file_at(path)

    def recall_of(self, pid: int, default: Any = None) -> Any:
        """What the asking module keeps for another process. Raises OSError: there is none."""
        return self.services.state_of(pid).of(self.layer, default)

    def keep_of(self, pid: int, change: Callable[[Any], Any]) -> None:
        """Let `change` say what is kept for another process, given what is (None: nothing yet).
        Raises OSError: there is none, or it has other real ids."""
        if pid == self.tid:
            self.keep(change(self.recall()))
        else:
            self.services.change_state_of(self, pid, change)

    def shares_view(self, pid: int) -> bool:
        """Is a process in a view that has this module, so that what is kept for it counts?"""
        return self.services.shares_view(self, pid)

    def change_root(self) -> None:
        """Let the path of a chroot(2) be the root directory of the process in the view.

        Raises OSError: what is wrong with the path; EOPNOTSUPP in a view where not all paths are
        claimed, and so not looked at.
        """
        self.services.change_root(self)

    # ---- calls that change the view -----------------------------------------------------------

    def mount(self, kind: str, source: bytes, target: bytes, options: Sequence[str] = ()) -> None:
        """Put a module on top of the view in which the process is; see `VirtualModule.from_mount`.

        Arguments: `kind` names the module ("bind": vfs); `target` is a canonical path of the view.
        Raises OSError: ENODEV, there is no such module; ENOENT, ENOTDIR, source or target is
        missing, or they are not of one kind; EINVAL, an option; EPERM, the view does not trap what
        this takes (the user is told).
        """
        self.services.mount(self, kind, source, target, options)

    def remount(self, target: bytes, *, read_only: bool) -> None:
        """Let what is mounted on top of `target` be read-only, or not any more. Raises OSError
        EINVAL: nothing of the view is mounted there; EPERM as `mount`."""
        self.services.remount(self, target, read_only)

    def unmount(self, target: bytes, *, lazy: bool = False) -> bool:
        """Take away what is mounted on top of a canonical path; False: nothing of the view is.
        Raises OSError EBUSY: a process uses it, and not `lazy`."""
        return self.services.unmount(self, target, lazy)

    def is_mounted(self, target: bytes) -> bool:
        """Does the view show something of its own at that very canonical path?"""
        return self.services.is_mounted(target)

    def name_of(self, index: int = 0, *, covered: bool = False) -> bytes | None:
        """The canonical path by which the view shows what a path argument leads to: `path`, but
        where that ends in a magic link (/proc/PID/fd/N) the name of what is behind.

        With `covered` also the name of a directory over which something is mounted. None: it has
        none, or only the kernel can judge.
        """
        return self.services.name_of(self, index, covered)

    # ---- calls on sockets -----------------------------------------------------------------------

    def bind(self, made: Callable[[], None]) -> Any:
        """What `below` gives for a bind(2) to a path of AF_UNIX. Raises OSError.

        When it has made a file, and before the program goes on, `made` is called: `file` and
        `parent` give that file and its directory then. Not where only the kernel can judge.
        """
        layer, others = self.layer, self.made

        def each() -> None:
            if others is not None:
                others()
            self.layer = layer
            made()

        self.made = each
        return self.below()

    def found(self, file: File, directory: File) -> None:
        """The monitor has found what `bind` promises."""
        self._files[0], self._files[-1] = file, directory

    @property
    def address(self) -> SocketAddress | None:
        """The socket address that connect, bind or sendto is given.

        None: there is none, it is one of another family than AF_INET, AF_INET6 and AF_UNIX, or
        it is so short that the kernel refuses it. Raises BadArgument EFAULT.
        """
        if self._address is _UNREAD:
            self._address = self.given_address()
            self.given_family = getattr(self._address, "family", 0)
        return self._address

    def given_address(self) -> SocketAddress | None:
        """`address` as it stands in the program's memory, whatever an upper layer made of it."""
        from viewos.abi import socket

        given = [where for where in self.row.sockaddr if where.direction == "in"]
        if not given or not self.raw[given[0].address]:
            return None
        length = abi.signed32(self.raw[given[0].length])
        if not 0 < length <= socket.MOST:
            return None
        return socket.decode(self.read_argument(self.raw[given[0].address], length))

    def socket(self, fd: int | None = None) -> SharedSocket:
        """A socket of the program: that of the call's first argument, or of a descriptor.

        It is the program's own open file, and closed when the call is answered. Raises OSError
        EBADF, and EPERM where the monitor may not have a copy.
        """
        number = abi.signed32(self.raw[0]) if fd is None else fd
        if number not in self._shared:
            self._shared[number] = self.services.share(self, number)
        return self._shared[number]

    def messages(self) -> list[Message]:
        """The messages of sendto, recvfrom, sendmsg, recvmsg, sendmmsg or recvmmsg, up to one that
        the kernel refuses. Raises BadArgument: that is the first.
        """
        if self._messages is not None:
            return self._messages
        from viewos.message import messages

        return messages(self)

    def connect(self, address: SocketAddress, how: Connect | None = None) -> None:
        """Have the layers below connect `socket()`, whatever call this is, and before it is
        answered. `how`: what is done at the bottom. Raises OSError, Interrupted."""
        from viewos.shared import SharedSocket

        self.services.connect_below(self, address, how or SharedSocket.connect)

    def aside(self, row: abi.Row, address: SocketAddress, how: Connect) -> Call:
        """The connect that the layers below see then."""
        call = Call(row, self.tid, (self.raw[0], 0, 0, 0, 0, 0), self.services)
        call._address, call._shared = address, self._shared
        call.given_family, call.bottom = self.given_family, how
        return call

    def tell_address(self, address: SocketAddress) -> None:
        """Write an address where getsockname, getpeername, accept or recvfrom wants it, shortened
        to the room that is there. Raises OSError EFAULT, EINVAL."""
        from viewos.abi import socket

        (where,) = self.row.sockaddr
        at, length_at = self.raw[where.address], self.raw[where.length]
        (room,) = socket.SOCKLEN.unpack(self.read(length_at, socket.SOCKLEN.size))
        if room < 0:
            raise OSError(errno.EINVAL, "the length of an address")
        data, length = socket.truncated(socket.encode(address), room)
        if data:
            self.write(at, data)
        self.write(length_at, socket.SOCKLEN.pack(length))

    def sleep(self, seconds: float) -> None:
        """Let the call wait; others are served meanwhile. Raises Interrupted."""
        if seconds > 0:
            self.services.wait(self, -1, 0, seconds)

    def release(self) -> None:
        """Close the copies of the program's sockets, and what `file` has found. The monitor does,
        before it answers."""
        for shared in self._shared.values():
            shared.close()
        self._shared.clear()
        for file in self._files.values():
            if file is not None:
                file.close()
        self._files.clear()
        self._ask_below = None  # it knows the call: together they would wait for the collector

    def warn(self, text: str, once: str | None = None) -> None:
        """A line for the user. With `once`, only the first of that key is said."""
        self.services.warn(text, once)
