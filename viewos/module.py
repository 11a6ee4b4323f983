"""What module authors see: `VirtualModule`, `FileModule`, `hook`, `PASS`.

A module is a class whose methods are named for operations (`uname`, `open`, `getuid`). A handler
has three outcomes: it returns a value (answered), raises OSError (its errno), or returns `PASS`
(not mine). What happens to a passed call is the monitor's business alone.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeVar

from viewos.claims import Claim
from viewos.errors import SpecError
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.abi.socket import Ucred
    from viewos.call import Call
    from viewos.files import Changing, Names, Owners, Told
    from viewos.spec import Items


class _Pass(enum.Enum):
    PASS = "PASS"

    def __repr__(self) -> str:
        return "PASS"


PASS: Final = _Pass.PASS
"""Not mine: the layers below, and at the bottom the kernel, decide."""


class CallTest(NamedTuple):
    """A test of one argument, made in the kernel: `CallTest("prctl", "option", "==", 4)`.

    Operators: "==", "&" (at least one of the bits of `value` is set), and, for pointers and other
    64-bit arguments, "!=".
    """

    call: str
    argument: str
    operator: Literal["==", "!=", "&"]
    value: int


Verdict = Any
Handler = Callable[[Any, "Call"], Verdict]
F = TypeVar("F", bound=Callable[..., Any])


def hook(*names: str) -> Callable[[F], F]:
    """Let a method look at operations (`open`) or single system calls (`openat2`) before they are
    answered, in every layer from the top down.

    Raises TypeError for a name that does not exist, when the decorator runs.
    """
    from viewos.abi.syscalls import OPERATIONS, TABLE

    for name in names:
        if name not in OPERATIONS and name not in TABLE:
            raise TypeError(f"hook: there is no operation or system call named {name!r}")

    def mark(function: F) -> F:
        function.viewos_hooks = names  # type: ignore[attr-defined]
        return function

    return mark


class VirtualModule:
    """One virtualisation. Subclass it, and name methods for the operations that they answer.

    A method takes the `Call` and may be `async def` where it waits for something. An exception
    in it becomes EIO for that one call (an OSError: its errno) and one traceback in the log.

    Class attributes: `name` (what -m calls it), `grammar` and `example` (of its SPEC, for
    `viewos modules`).
    """

    spec: str = ""
    """What stood behind -m, if that is how the module was made."""
    name: ClassVar[str] = ""
    grammar: ClassVar[str] = ""
    example: ClassVar[str] = ""
    claims_later: ClassVar[bool] = False
    """Does it mount while programs run (`Call.mount`)? What files need is trapped for it then."""
    handlers: ClassVar[dict[str, str]] = {}
    """Operation or system call -> method that answers it. Filled in by the class itself."""
    hooks: ClassVar[dict[str, str]] = {}
    """Operation or system call -> method that looks first. Filled in by the class itself."""
    reserved: ClassVar[frozenset[str]] = frozenset({"executed"})
    """Methods that answer no system call, though one may have their name or take a `call`.
    `executed(call, program)`, with the `File` that an execve(2) will run, gives what is to be
    kept for the process when it has succeeded (None: what is kept already), and entries of the
    auxiliary vector to set."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__dict__.get("name") or cls.__name__.lower()
        handlers: dict[str, str] = {}
        hooks: dict[str, str] = {}
        for base in reversed(cls.__bases__):
            handlers |= getattr(base, "handlers", {})
            hooks |= getattr(base, "hooks", {})
        for attribute, function in list(vars(cls).items()):
            if isinstance(function, FunctionType):
                _register(cls, attribute, function, handlers, hooks)
        cls.handlers, cls.hooks = handlers, hooks

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """Make the module from the items of its SPEC (`-m NAME:ITEM,ITEM`).

        Raises SpecError for a wrong one. The default takes none.
        """
        items.finish()
        return cls()

    @classmethod
    def from_mount(cls, source: bytes, target: bytes, options: list[str]) -> Self:
        """Make the module that `viewos mount -t NAME -o OPTION,... SOURCE TARGET` asks for; the
        paths are absolute ones of the view, `target` is canonical.

        Raises SpecError: an option that it does not have. The default: it is no file system.
        """
        raise SpecError(f"{cls.name} is no module that can be mounted")

    def claims(self) -> Iterable[Claim]:
        """The subtrees that the module wants, with backings that are paths of the view below."""
        return ()

    def calls(self) -> frozenset[str]:
        """The operations and system calls for which the module is asked: those of its handlers
        and hooks, or fewer where these depend on its items."""
        return frozenset({*self.handlers, *self.hooks})

    def tests(self) -> Iterable[CallTest]:
        """Tests in the kernel: a system call named here is trapped only where one of them holds."""
        return ()

    def syscalls(self) -> frozenset[str]:
        """System calls to trap beyond those that the handlers and claims ask for."""
        return frozenset()

    def passes(self) -> Iterable[tuple[str, Mapping[str, tuple[int, int]]]]:
        """Calls that the module passes whatever else they are: (system call, {argument: (mask,
        value)}), where each argument has that value in the bits of the mask; for the monitor to
        pass by itself where no other module takes part. Of calls that take paths: open and openat;
        empty files of which `show_owners` has told are asked for all the same."""
        return ()

    def rescues(self) -> frozenset[str]:
        """Operations whose hook has something to do only where the kernel would refuse the call
        with EACCES, so that the monitor need not ask it for others."""
        return frozenset()

    def show_owners(self, told: Told) -> Owners | None:
        """How `stat` and `fstat` of this module show owners, for the monitor to answer by itself.

        It is asked several times: for each view of which the module is a part, and after changes.
        Each `told` is to be called with the inode number of each file of which the module shows
        more, before the call that is the cause has been answered. Such files are still asked for,
        but for those of which it is told what they show. None: all are asked for.
        """
        return None

    def change_owners(self, changing: Changing) -> None:
        """The monitor can do what `chown`, `fchown`, `chmod` and `fchmod` of this module do, for
        processes that `may_change_owners`, by the rules for a root: owner, group and mode are
        shown as asked for, a change of owner takes set-ID bits; the real mode has no set-ID bits,
        and at least 0600 (0700 of a directory); an access control list that says what the mode
        says changes nothing. It does so on the devices that the module allows,
        where no other module takes part, with files that it knows. `unlink`, `rmdir` and `rename`
        of this module are asked only where `show_owners` has told of the file that loses a name.

        `changing` says what it has changed, which the module has to take before it looks anything
        up, and hold while it changes or tells something itself. Called after each `show_owners`.
        """

    def may_change_owners(self, kept: Any) -> bool:
        """May a process for which the module keeps `kept` give every file any owner and mode?"""
        return False

    def makes_plainly(self, kept: Any) -> bool:
        """Does a file that a process makes for which the module keeps `kept` show as its own where
        nothing is remembered of it? See `Changing.make_plainly`."""
        return False

    def show_ids(self, kept: Any) -> tuple[int, int, int, int] | None:
        """What getuid, geteuid, getgid and getegid answer for a process for which the module keeps
        `kept` (see `Call.keep`), for the monitor to answer by itself. None: it is asked."""
        return None

    def send_credentials(self, call: Call, sent: Ucred) -> Ucred:
        """What the kernel is to be given for the SCM_CREDENTIALS of a message that the process
        sends (unix(7)). Raises OSError EPERM."""
        return sent

    def show_credentials(self, call: Call, received: Ucred) -> Ucred:
        """What a process is to see for the SCM_CREDENTIALS that it receives."""
        return received

    def show_socket_names(self) -> Callable[[bytes], bytes] | None:
        """How the names of AF_UNIX sockets are shown of which a process is told, by accept,
        recvfrom, recvmsg, getsockname and their kin. None: as the layers below show them."""
        return None

    def lead_socket_names(self) -> Callable[[Call, bytes], bytes] | None:
        """Where names of AF_UNIX sockets lead to which a process sends by sendmsg and sendmmsg,
        that have no address of their own (`Call.below`). None: where the layers below lead them."""
        return None

    def keeps_at_exec(self, kept: Any) -> bool:
        """Does execve(2) leave a process as it is for which the module keeps `kept`, where the
        program has no set-ID bit and `show_owners` has not told of it? Its auxiliary vector gets
        what `show_ids` says. False: `executed` is asked."""
        return False

    def show_uname(self, told: Callable[[Names | None], bool]) -> None:
        """What `uname` answers, for the monitor to answer by itself.

        `told` is to be called now, and before each call has been answered that changes it; with
        None the module is asked. It is told so several times, as with `show_owners`; a `told` that
        returns true needs not be called again."""

    def stand_on(self, below: Sequence[VirtualModule]) -> None:
        """Called before `start`, and before the view changes, with the modules that are below, the
        lowest first. Raises ViewosError to refuse that: it is called again with those before."""

    def start(self, scratch: bytes) -> None:
        """Called once before the program starts. `scratch` is an empty directory of the module's
        own, removed when the view ends. Raises ViewosError to refuse the launch."""

    def forked(self) -> None:
        """Called in a child that a Python program with this view has forked: no other thread is
        there, and none of the monitors. New programs in it are the child's own."""

    def stop(self) -> None:
        """Called once after the last program of the view has ended."""


def unwrapped(function: Any) -> Any:
    """The function that decorators of the functools.wraps kind stand around."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def _register(
    cls: type[VirtualModule],
    attribute: str,
    function: Any,
    handlers: dict[str, str],
    hooks: dict[str, str],
) -> None:
    names: tuple[str, ...] = getattr(function, "viewos_hooks", ())
    for name in names:
        hooks[name] = attribute
    code = unwrapped(function).__code__  # as inspect.signature, which costs 5 ms of every start
    parameters = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    if names:
        if len(parameters) != 2:
            raise TypeError(f"{cls.__name__}.{attribute}: a hook takes (self, call)")
        return
    if attribute in cls.reserved:
        return
    if attribute.startswith("_") or parameters[1:] != ["call"]:
        from viewos.abi.syscalls import OPERATIONS, TABLE

        is_call = attribute in OPERATIONS or attribute in TABLE
        inherited = any(hasattr(base, attribute) for base in cls.__mro__[1:])
        if is_call and not inherited and not attribute.startswith("_"):
            raise TypeError(f"{cls.__name__}.{attribute}: a handler takes (self, call)")
        return
    from viewos.abi.syscalls import OPERATIONS, TABLE

    if attribute not in OPERATIONS and attribute not in TABLE:
        raise TypeError(
            f"{cls.__name__}.{attribute}: there is no operation or system call of that name"
            " (a helper that takes a call begins with an underscore)"
        )
    handlers[attribute] = attribute


class FileModule(VirtualModule):
    """A module whose subtree has real objects behind it.

    `locate` says where; before that it may make the object ready. The monitor does the rest:
    the program gets real descriptors, and stat, getdents and inode numbers agree.
    """

    mount_point: bytes = b""
    """The virtual path at which the subtree is seen."""
    read_only: bool = False
    root: bytes = b""
    """The backing directory (or file). Default: the module's scratch directory."""
    _root_is_scratch = False  # of a view that has ended, perhaps: a module can be started again

    def start(self, scratch: bytes) -> None:
        """See `VirtualModule.start`; takes the scratch directory as the backing where none is
        set."""
        if not self.root or self._root_is_scratch:
            self.root, self._root_is_scratch = scratch, True

    def claims(self) -> Iterable[Claim]:
        """One claim: the mount point, with this module as the one that locates."""
        from viewos.claims import RealPath, VirtualPath

        yield Claim(
            VirtualPath(self.mount_point),
            RealPath(self.root),
            self.read_only,
            module=self,
            scratch=True,
        )

    def locate(self, path: bytes, intent: str) -> bytes:
        """The real path behind `path`.

        Arguments: `path` below the mount point, with its leading slash, b"" for the root; `intent`
        one of "look", "read", "write", "create", "remove". Default: prepare, then root + path.
        The monitor has resolved `..` before; OSError ENOENT for a path that has one all the same.
        """
        if b"/.." in path and b".." in path.split(b"/"):
            raise OSError(errno.ENOENT, "not a canonical path", path)
        self.prepare(path, intent)
        return self.root + path

    def prepare(self, path: bytes, intent: str) -> None:
        """Make the backing of `path` ready. Raises OSError to refuse."""

    def committed(self, path: bytes, intent: str) -> None:
        """Called after a call that changed the name `path` has been done."""
