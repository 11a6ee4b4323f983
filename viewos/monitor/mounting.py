"""mount and umount in a view that runs: each mount is a module on top of those that are there."""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.claims import lies_in
from viewos.errors import FAULTS, SpecError, ViewosError, short, told
from viewos.loader import find
from viewos.monitor import change
from viewos.monitor.magic import NAMES
from viewos.monitor.nesting import Gone, in_directory, is_there, real_file
from viewos.spec import parse

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.claims import Claim
    from viewos.module import VirtualModule
    from viewos.monitor.nesting import Nesting
    from viewos.monitor.paths import Resolver
    from viewos.monitor.router import Router

BIND = "vfs"
"""The module that a mount without a type is of."""


class NoMountPoint(ViewosError):
    """Nothing is there that could be mounted on."""


class NotMounted(ViewosError):
    """Nothing that could be unmounted is there."""


def mount(
    nesting: Nesting,
    number: int,
    kind: str,
    source: bytes,
    target: bytes,
    options: Sequence[str] = (),
    *,
    directory: bytes = b"/",
    gone: Gone = is_there,
) -> int:
    """Mount something in a view; the number of its layer.

    `kind` is a module that can be mounted ("bind": vfs), `options` are its own; relative paths are
    those of `directory`, in the view. `gone`: see `change.add`. Raises ViewosError.
    """
    if not target:
        raise NoMountPoint("'': mount point does not exist")
    if not source and kind in ("bind", BIND):
        raise ViewosError(f"{BIND}: '': no such file or directory")
    source, target = _below(directory, source), _below(directory, target)
    router = nesting.levels[number].router
    virtual, real = router.resolver.canonical(target)
    if not os.path.lexists(real):
        raise NoMountPoint(f"{os.fsdecode(target)}: mount point does not exist")
    kind = BIND if kind == "bind" else kind
    for path in (source, target) if kind == BIND else (target,):
        _refuse_links(router, path)
    with in_directory(directory):
        _refuse_owners(router, kind, options)
        module = make(kind, source, virtual, list(options), router, directory)
        return change.add_modules(nesting, number, [module], gone)[0]


def _below(directory: bytes, path: bytes) -> bytes:
    return posixpath.normpath(os.path.join(directory, path))


def _refuse_links(router: Router, path: bytes) -> None:
    """Raise ViewosError for a path that means another thing to us, or another one later."""
    if router.mounts.match_proc(NAMES, router.resolver.canonical(path)[1]):
        raise ViewosError(
            f"{os.fsdecode(path)}: what a link of /proc/PID leads to changes: name it by its path"
        )


def _refuse_owners(router: Router, kind: str, options: Sequence[str]) -> None:
    """Raise SpecError for an owner that is asked for where a module shows its own."""
    asked = [option for option in options if option.startswith(("uid=", "gid="))]
    if kind == "tmpfs" and asked:
        for module in router.view.modules:
            if "stat" in module.calls():
                raise SpecError(
                    f"tmpfs: {asked[0]}: the module {module.name} shows owners of its own: mount it"
                    " without, and chown it"
                )


def make(
    kind: str, source: bytes, target: bytes, options: list[str], router: Router, directory: bytes
) -> VirtualModule:
    """The module of a mount. Raises ViewosError."""
    cls = _class_of(kind, router, directory)
    try:
        module = cls.from_mount(source, target, options)
    except ViewosError:
        raise
    except FAULTS as error:
        raise ViewosError(f"module {kind}: from_mount(): {told(error)}") from error
    shown = f"{kind}:{os.fsdecode(target)}={os.fsdecode(source)}"
    module.spec = ",".join([shown, *options])
    return module


def _class_of(kind: str, router: Router, directory: bytes) -> type[VirtualModule]:
    spec = parse(kind)
    if spec.items:
        raise SpecError(f"-t {short(kind)}: the options of a mount stand behind -o")
    if spec.is_file:
        spec = spec._replace(module=real_file(router, directory, spec.module))
    return find(spec)


def unmount(
    nesting: Nesting,
    number: int,
    target: bytes,
    *,
    directory: bytes = b"/",
    lazy: bool = False,
) -> None:
    """Take away what is mounted on top of a directory of the view. Raises ViewosError: nothing is;
    it is one of several things that a module shows; it is in use, and not `lazy`."""
    if not target:
        raise NotMounted("'': not mounted by the view")
    layer = _mounted_at(nesting, number, _below(directory, target))
    for upper in reversed(_mounted_below(nesting, number, layer)):
        if not lazy:
            raise change.InUse(f"{os.fsdecode(target)}: something is mounted below it")
        change.remove(nesting, number, upper, lazy=True)
    change.remove(nesting, number, layer, lazy=lazy)


def remount(nesting: Nesting, number: int, target: bytes, read_only: bool) -> None:
    """Let what is mounted on top of a directory be read-only, or not. Raises ViewosError."""
    change.set_read_only(nesting, number, _mounted_at(nesting, number, target), read_only)


def _mounted_at(nesting: Nesting, number: int, target: bytes) -> int:
    """The topmost layer that is mounted there, and shows nothing else. Raises ViewosError."""
    router = nesting.levels[number].router
    virtual, _ = router.resolver.canonical(target)
    for layer in reversed(list(router.view.layers)):
        wanted = router.view.claimed(layer)
        places = {router.resolver.canonical(bytes(claim.prefix))[0] for claim in wanted}
        if virtual not in places:
            if _is_hidden_by(router, wanted, virtual):
                break
            continue
        change.own_module(router.view, layer)
        if len(places) > 1:
            raise ViewosError(
                f"{os.fsdecode(target)}: layer {layer} shows more than that: `viewos module rm"
                f" {layer}` removes all of it"
            )
        return layer
    raise NotMounted(f"{os.fsdecode(target)}: not mounted by the view")


def _is_hidden_by(router: Router, claims: Sequence[Claim], path: bytes) -> bool:
    """Does a mount stand above a path, and show something else there than what was mounted
    before?"""
    others = [bytes(claim.prefix) for claim in claims if claim.renames and not claim.operations]
    places = [router.resolver.canonical(prefix)[0] for prefix in others]
    return any(place != path and lies_in(path, place) for place in places)


def _mounted_below(nesting: Nesting, number: int, layer: int) -> list[int]:
    """The later layers all of whose mounts stand in a mount of that one."""
    router = nesting.levels[number].router

    def places(of: int) -> list[bytes]:
        claims = router.view.claimed(of)
        return [router.resolver.canonical(bytes(claim.prefix))[0] for claim in claims]

    tops, layers = places(layer), list(router.view.own)
    return [
        upper
        for upper in layers[layers.index(layer) + 1 :]
        if (found := places(upper))
        and all(any(place != top and lies_in(place, top) for top in tops) for place in found)
    ]


# ---- for mount(2) -------------------------------------------------------------------------------

_ERRNOS: tuple[tuple[type[ViewosError], int], ...] = (
    (NoMountPoint, errno.ENOENT), (change.InUse, errno.EBUSY), (SpecError, errno.EINVAL),
)  # fmt: skip
_TOLD = frozenset({errno.EINVAL, errno.EPERM})


@contextmanager
def errnos(call: Call, missing: int = errno.ENOENT) -> Iterator[None]:
    """What a program is told of a ViewosError (`missing`: where nothing is mounted); of one that
    mount(2) does not know, EPERM. The user reads why, where the errno does not tell it."""
    try:
        yield
    except NotMounted as error:
        raise OSError(missing, str(error)) from error
    except ViewosError as error:
        found = [number for kind, number in _ERRNOS if isinstance(error, kind)]
        number = found[0] if found else errno.EPERM
        if number in _TOLD:
            call.warn(f"{call.name}: {error}", once=str(error))
        raise OSError(number, str(error)) from error


def by_call(
    nesting: Nesting, number: int, call: Call, kind: str, source: bytes, target: bytes,
    options: Sequence[str],
) -> None:  # fmt: skip
    """`mount`, for a program that calls mount(2). Raises OSError."""
    resolver = nesting.levels[number].router.resolver
    if kind in _KERNELS:
        source = _kernels(resolver, kind)
        kind = "bind"
    if kind != "bind":
        with errnos(call):
            if not _can_be_mounted(kind, nesting.levels[number].router):
                raise OSError(errno.ENODEV, f"no module {kind} that can be mounted")
        place = resolver.canonical(target)[1]
        if kind == "tmpfs" and os.path.lexists(place) and not os.path.isdir(place):
            raise OSError(errno.ENOTDIR, "target")
    else:
        real, place = resolver.canonical(source)[1], resolver.canonical(target)[1]
        if not os.path.lexists(real):
            raise OSError(errno.ENOENT, "source")
        if os.path.lexists(place) and os.path.isdir(real) != os.path.isdir(place):
            raise OSError(errno.ENOTDIR, "source or target")
    with errnos(call):
        mount(nesting, number, kind, source, target, options)


_KERNELS: dict[str, tuple[bytes, int]] = {
    "proc": (b"/proc", 0x9FA0),
    "sysfs": (b"/sys", 0x62656572),
    "devpts": (b"/dev/pts", 0x1CD1),
    "devtmpfs": (b"/dev", 0x01021994),
    "mqueue": (b"/dev/mqueue", 0x19800202),
    "cgroup2": (b"/sys/fs/cgroup", 0x63677270),
}
"""Types of which the machine has one for all: where, and statfs's f_type (linux/magic.h)."""


def _kernels(resolver: Resolver, kind: str) -> bytes:
    """Where the view shows the kernel's file system of a type. Raises OSError EPERM: nowhere,
    and what a view keeps from its programs is not theirs to mount."""
    where, magic = _KERNELS[kind]
    real = resolver.canonical(where)[1]
    try:
        found = kernel.filesystem_type(real)
    except OSError:
        found = 0
    if found != magic:
        raise OSError(errno.EPERM, f"the view has no {kind} at {os.fsdecode(where)} to show")
    return where


def _can_be_mounted(kind: str, router: Router) -> bool:
    from viewos.module import VirtualModule

    try:
        cls = _class_of(kind, router, b"/")
    except SpecError:
        return False
    made_by: object = getattr(cls.from_mount, "__func__", None)
    return made_by is not getattr(VirtualModule.from_mount, "__func__", None)
