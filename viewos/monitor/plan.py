"""What the filter of a view has to trap, from what its modules define and claim."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_EMPTY_PATH
from viewos.abi.nesting import PR_VIEWOS
from viewos.abi.prctl import PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_SECCOMP
from viewos.abi.ptrace import PTRACE_ATTACH, PTRACE_SEIZE, PTRACE_TRACEME
from viewos.abi.syscalls import OPERATIONS, PATH_SYSCALLS
from viewos.claims import Claim
from viewos.filter import ArgumentRule, FilterPlan, StringRule
from viewos.module import VirtualModule
from viewos.monitor import authors
from viewos.monitor.trapped import (
    CHANGES,
    CHANGING_IOCTLS,
    CREDENTIAL_CALLS,
    MOUNT_CALLS,
    MSGHDR_CALLS,
    SOCKET_CALLS,
)
from viewos.view import RLIMIT_LOCKS, View

if TYPE_CHECKING:
    from viewos.monitor.inproc.loader import Distances

CACHE, PRELOAD = b"/etc/ld.so.cache", b"/etc/ld.so.preload"
_TAKES_PATHS = PATH_SYSCALLS | {"bind", "connect", "getsockname", "getpeername", "getcwd"}
_PATH_COMPANIONS = (
    CREDENTIAL_CALLS | MOUNT_CALLS | {"landlock_add_rule", "landlock_restrict_self", "statmount"}
)
LISTINGS = frozenset({"getdents", "getdents64"})
_ADDRESSES = [
    ArgumentRule(name, arg, "!=", 0)
    for name, arg in {"sendto": 4, "recvfrom": 4, "accept": 1, "accept4": 1}.items()
]
_READ_ONLY = [ArgumentRule("ioctl", 1, "==", request) for request in CHANGING_IOCTLS]
_BY_NAME = ArgumentRule("utimensat", 1, "!=", 0)
"""With no name it is futimens(3), which means a descriptor."""
_RARE = frozenset({"uname", "sethostname", "setdomainname", "personality"})
_RARE_BESIDE_PATHS = frozenset(
    "getuid geteuid getgid getegid getresuid getresgid getgroups capget prctl".split()
)
"""Trapped although no module asks, so that a nested view can have modules that do."""
_OTHERS = frozenset(
    "fstat fstatfs clock_gettime clock_settime gettimeofday settimeofday time sysinfo getrandom "
    "kill socket".split()
)
"""Calls that authors of modules hook, besides those that built-in modules do."""


def plan(view: View, cookie: int) -> FilterPlan:
    """What the filter of the view traps."""
    trap, rules = _needed(view)
    trap |= _RARE
    if view.claims:
        trap |= _RARE_BESIDE_PATHS
    if view.nestable:
        trap |= _of_any_module() - {rule.name for rule in _ADDRESSES}
        rules += [*_ADDRESSES, *_READ_ONLY]
    if "utimensat" in trap and not _looks_at_descriptors(view):
        trap.remove("utimensat")
        rules.append(_BY_NAME)
    if view.claims.apart.are_trees or view.claims_later:
        trap.add("fchdir")  # where it is not trapped, the working directory keeps its name
    acts_on_sockets = bool((trap | {rule.name for rule in rules}) & SOCKET_CALLS)
    if acts_on_sockets:
        trap.add("landlock_restrict_self")
    rules += [
        ArgumentRule("prctl", 0, "==", PR_SET_DUMPABLE),
        ArgumentRule("prctl", 0, "==", PR_GET_DUMPABLE),
        ArgumentRule("prctl", 0, "==", PR_VIEWOS),
        ArgumentRule("prlimit64", 1, "==", RLIMIT_LOCKS),
        ArgumentRule("getrlimit", 0, "==", RLIMIT_LOCKS),
        ArgumentRule("setrlimit", 0, "==", RLIMIT_LOCKS),
    ]
    if view.inproc:  # a filter of the program's own judges calls that it has not made
        trap.add("seccomp")
        rules.append(ArgumentRule("prctl", 0, "==", PR_SET_SECCOMP))
        if "stat" in trap and not {"open", "openat"} <= trap:  # a loader's open of the libc
            rules += [ArgumentRule("openat", 2, "==", os.O_RDONLY | os.O_CLOEXEC)]
        begins = (PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_SEIZE)
        rules += [ArgumentRule("ptrace", 0, "==", request) for request in begins]
    kept = _tests_of_one_argument(rules)
    trap |= {rule.name for rule in rules} - {rule.name for rule in kept}
    passes_by = bool(view.claims) or view.nestable or acts_on_sockets
    return FilterPlan(
        trap=frozenset(trap),
        cookie=cookie,
        argument_rules=tuple(rule for rule in kept if rule.name not in trap),
        errnos={"io_uring_setup": errno.ENOSYS} if passes_by else {},
    )


def _looks_at_descriptors(view: View) -> bool:
    """May a change of the times of an open file be somebody's?"""
    return (
        view.nestable
        or any(claim.read_only for claim in view.claims)
        or view.claims_later
        or any({"utime", "utimensat"} & authors.calls(module) for module in view.modules)
        or any("utimensat" in authors.syscalls(module) for module in view.modules)
    )


def trapped_with_paths(whole: FilterPlan) -> Set[str]:
    """The calls that reach the monitor wherever they have a path."""
    return whole.trap | {rule.name for rule in whole.argument_rules if rule == _BY_NAME}


def without_loader(whole: FilterPlan, view: View) -> FilterPlan:
    """The same, but for what a program's loader asks that nobody has to look at."""
    return whole._replace(strings=tuple(_calls_of_loader(view, whole.trap)))


def _calls_of_loader(view: View, trap: Set[str]) -> Iterator[StringRule]:
    """Of each library, fstat(2), whose owner means nothing to it, and its questions for two files
    that are as they are outside: half of all that is trapped where programs are begun."""
    if not view.inproc or view.nestable:
        return
    found = _distances(view)
    if "newfstatat" in trap and not _asks(view, "stat", "newfstatat"):
        for distance in found.fstat:
            yield StringRule("newfstatat", 1, distance, 3, AT_EMPTY_PATH)
    if _lies_outside(view, CACHE, "open", "openat"):
        for distance in found.cache:
            yield StringRule("openat", 1, distance, 2, os.O_RDONLY | os.O_CLOEXEC)
    if "access" in trap and _lies_outside(view, PRELOAD, "access"):
        for distance in found.preload:
            yield StringRule("access", 0, distance, 1, os.R_OK)


def _distances(view: View) -> Distances:
    """Those of the loader that the view shows."""
    from viewos.monitor.inproc.loader import LOADER, Distances, distances

    claim, path = view.claims.forward(LOADER)
    return Distances() if claim is not None and claim.module is not None else distances(path)


def _asks(view: View, *names: str) -> bool:
    """Does a module want to see such calls, beyond the owners that are shown?"""
    return any(
        not authors.calls(module).isdisjoint(names)
        and type(module).show_owners is VirtualModule.show_owners
        for module in view.modules
    )


def _lies_outside(view: View, path: bytes, *names: str) -> bool:
    """Is it the kernel's file for all programs of the view?"""
    return (
        not view.claims_later
        and not _asks(view, *names)
        and not _is_claimed(view, path)
        and os.path.realpath(path) == path
    )


def _is_claimed(view: View, path: bytes) -> bool:
    """Does the view claim it, or what may be its name in a root directory of a program's own?"""
    ends = (path, os.path.dirname(path))
    return view.claims.find(path) is not None or any(
        claim.prefix.endswith(ends) for claim in view.claims
    )


def passed_by(whole: FilterPlan, view: View) -> list[bytes]:
    """The files of a nested view that its loaders would not find there, as the filter of the
    outermost one lets these calls pass."""
    passed = {(rule.name, rule.distance) for rule in whole.strings}
    shown = [path for path in (CACHE, PRELOAD) if _is_another(view, path)]
    if not shown or not passed:
        return []
    found = _distances(view)
    own = {
        CACHE: {("openat", distance) for distance in found.cache},
        PRELOAD: {("access", distance) for distance in found.preload},
    }
    return [path for path in shown if passed & own[path]]


def _is_another(view: View, path: bytes) -> bool:
    claim, real = view.claims.forward(path)
    is_modules = claim is not None and claim.module is not None
    return is_modules or (real != path and os.path.lexists(real))


def lacking(outer: FilterPlan, inner: FilterPlan) -> list[str]:
    """The system calls that a nested view needs, and that the filter of the outermost one does not
    trap: it can never be changed."""
    known = {*outer.argument_rules}
    rules = {rule.name for rule in inner.argument_rules if rule not in known}
    if _ADDRESSES[0] in known:
        rules.discard("sendto")  # see `_tests_of_one_argument`
    needed = inner.trap | rules | set(inner.errnos)
    return sorted(needed - outer.trap - set(outer.errnos) - {"fchdir"})


def _needed(view: View) -> tuple[set[str], list[ArgumentRule]]:
    """(calls, tests of arguments) that the view's own modules and claims need."""
    trap: set[str] = set()
    rules: list[ArgumentRule] = []
    for module in view.modules:
        tests = authors.tests(module)
        trap |= _handled(type(module), authors.calls(module)) - {test.name for test in tests}
        trap |= authors.syscalls(module)
        rules += tests
    if view.claims_later:
        trap |= _PATH_COMPANIONS | _TAKES_PATHS | CHANGES | {"fstatfs"} | _RARE_BESIDE_PATHS
        rules += [*_ADDRESSES, *_READ_ONLY]
    for claim in view.claims:
        for operation in claim.operations or ():
            trap.update(OPERATIONS[operation])
    if view.claims:
        trap |= _PATH_COMPANIONS
    if any(claim.operations is None for claim in view.claims):
        trap |= _TAKES_PATHS
        rules += _ADDRESSES
    if any(map(_names_sockets, view.claims)) or any(map(authors.translates, view.modules)):
        trap |= MSGHDR_CALLS
    if any(claim.read_only for claim in view.claims):
        trap |= CHANGES | {"fstatfs"}
        rules += _READ_ONLY
    if view.listed:
        trap |= LISTINGS
    return trap, rules


def _handled(cls: type[VirtualModule], names: frozenset[str]) -> set[str]:
    """The system calls for which a class has methods of those names."""
    trap: set[str] = set()
    for name in names:
        trap.update(OPERATIONS.get(name, (name,)))
    if getattr(cls, "executed", None) is not None:
        trap |= {"execve", "execveat"}
    return trap


def _of_any_module() -> set[str]:
    """What the modules that come with viewos can need, and clocks and random numbers besides."""
    from viewos.loader import built_in_classes

    trap = set(_TAKES_PATHS | _PATH_COMPANIONS | MSGHDR_CALLS | CHANGES | LISTINGS | _OTHERS)
    for cls in built_in_classes():
        trap |= _handled(cls, frozenset({*cls.handlers, *cls.hooks}))
    return trap


def _tests_of_one_argument(rules: list[ArgumentRule]) -> list[ArgumentRule]:
    """The tests of calls of which one argument alone is tested.

    libseccomp (2.5.4) never ends where two arguments of sendto are. There one test is enough,
    because all of its calls that matter to anybody have an address; any other call is trapped.
    """
    if _ADDRESSES[0] in rules:
        rules = [rule for rule in rules if rule.name != "sendto" or rule.arg == 4]
    arguments: dict[str, set[int]] = {}
    for rule in rules:
        arguments.setdefault(rule.name, set()).add(rule.arg)
    return [rule for rule in dict.fromkeys(rules) if len(arguments[rule.name]) == 1]


def _names_sockets(claim: Claim) -> bool:
    """May a program name a socket in the claim by another name than the kernel knows?"""
    is_tree_of_data = claim.module is not None and claim.read_only
    return claim.msghdr and claim.renames and not claim.scratch and not is_tree_of_data
