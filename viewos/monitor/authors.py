"""Where the methods of a module are called before and after its view: what an author gets wrong
becomes one line that names the module, the method and the place."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from viewos.abi.syscalls import OPERATIONS, TABLE
from viewos.claims import Claim, lies_in
from viewos.errors import FAULTS, ViewosError, reason, told
from viewos.filter import ArgumentRule
from viewos.module import VirtualModule
from viewos.view import View

T = TypeVar("T")


def start(module: VirtualModule, directory: bytes) -> None:
    """Call its `start`. Raises ViewosError."""
    try:
        module.start(directory)
    except ViewosError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC and directory and _is_of(error, os.path.dirname(directory)):
            where = os.fsdecode(os.path.dirname(os.path.dirname(directory)))
            why = f"no space left in {where} (TMPDIR says where views make their files)"
            raise ViewosError(f"module {module.name}: {why}") from error
        raise _refused(module, error) from error
    except FAULTS as error:
        raise _broken(module, "start", error) from error


def stand(view: View) -> None:
    """Tell the view's own modules on which others they stand. Raises ViewosError."""
    modules = view.modules
    for height, (layer, module) in enumerate(view.layers.items()):
        if layer not in view.own:
            continue
        try:
            module.stand_on(modules[:height])
        except ViewosError as error:
            raise ViewosError(f"module {module.name}: {error}") from error
        except FAULTS as error:
            raise _broken(module, "stand_on", error) from error


def _is_of(error: OSError, scratch: bytes) -> bool:
    """Is it the scratch directory that has no space left? Not every error names a file."""
    if isinstance(error.filename, str | bytes):
        return lies_in(os.fsencode(error.filename), scratch)
    found = os.statvfs(scratch)
    return not (found.f_bavail and found.f_favail)


def stop(modules: tuple[VirtualModule, ...], report: Callable[[str], object] | None) -> None:
    """Call their `stop`. One that fails keeps no other from stopping; `report` is told of it."""
    for module in modules:
        try:
            module.stop()
        except FAULTS as error:
            if report is not None:
                report(str(_broken(module, "stop", error)))


def translates(module: VirtualModule) -> bool:
    """Has the module a say in what credentials messages have?"""
    cls = type(module)
    return (
        cls.send_credentials is not VirtualModule.send_credentials
        or cls.show_credentials is not VirtualModule.show_credentials
    )


def claims(module: VirtualModule) -> list[Claim]:
    """What it claims, each of the right form. Raises ViewosError."""
    try:
        found = list(module.claims())
    except ViewosError:
        raise
    except OSError as error:
        raise _refused(module, error) from error
    except FAULTS as error:
        raise _broken(module, "claims", error) from error
    for claim in found:
        _check(module, claim)
    return found


def syscalls(module: VirtualModule) -> frozenset[str]:
    """The system calls that it traps by their names. Raises ViewosError."""
    try:
        found = frozenset(module.syscalls())
    except FAULTS as error:
        raise _broken(module, "syscalls", error) from error
    unknown = sorted(str(name) for name in found if name not in TABLE)
    if unknown:
        raise ViewosError(f"module {module.name}: syscalls(): there is no {', '.join(unknown)}")
    return found


def calls(module: VirtualModule) -> frozenset[str]:
    """The operations and system calls that it is asked for. Raises ViewosError."""
    try:
        found = frozenset(module.calls())
    except FAULTS as error:
        raise _broken(module, "calls", error) from error
    unknown = sorted(str(name) for name in found - {*module.handlers, *module.hooks})
    if unknown:
        raise ViewosError(f"module {module.name}: calls(): it has no {', '.join(unknown)}")
    return found


def tests(module: VirtualModule) -> list[ArgumentRule]:
    """Its tests, as the filter takes them. Raises ViewosError."""
    try:
        return [
            ArgumentRule(one.call, TABLE[one.call].position(one.argument), one.operator, one.value)
            for one in module.tests()
        ]
    except FAULTS as error:
        raise _broken(module, "tests", error) from error


def _check(module: VirtualModule, claim: object) -> None:
    def wrong(why: str) -> ViewosError:
        return ViewosError(f"module {module.name}: claims(): {why}")

    if not isinstance(claim, Claim):
        raise wrong(f"{claim!r} is no Claim")
    for name, path in (("prefix", claim.prefix), ("backing", claim.backing)):
        if not isinstance(path, bytes):
            raise wrong(f"the {name} {path!r} is no bytes")
        if not path.startswith(b"/") or 0 in path:
            raise wrong(f"the {name} {os.fsdecode(path)!r} is no absolute path")
    unknown = set(claim.operations or ()) - set(OPERATIONS)
    if unknown:
        raise wrong(f"there is no operation {', '.join(map(str, sorted(unknown, key=str)))}")


def _refused(module: VirtualModule, error: OSError) -> ViewosError:
    if error.filename is None:
        return ViewosError(f"module {module.name}: {reason(error)}")
    where = os.fsdecode(error.filename)
    return ViewosError(f"module {module.name}: {error.strerror or error}: {where}")


def _broken(module: VirtualModule, method: str, error: BaseException) -> ViewosError:
    path = None
    with suppress(AttributeError, KeyError):
        path = sys.modules[type(module).__module__].__file__
    return ViewosError(f"module {module.name}: {method}(): {told(error, path)}")
