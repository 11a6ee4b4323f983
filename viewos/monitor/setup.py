"""From a stack of modules to what the monitor works with: started modules, the map of claims."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Container, Iterable, Iterator
from typing import TYPE_CHECKING

from viewos.claims import Claim, ClaimMap, RealPath, VirtualPath
from viewos.errors import ViewosError, short
from viewos.module import VirtualModule
from viewos.monitor import authors, inproc
from viewos.monitor.mounts import MountTable
from viewos.monitor.scratch import remove_tree, scratch_directory
from viewos.view import View

if TYPE_CHECKING:
    from viewos.monitor.paths import Resolver

_DT = {stat.S_IFDIR: 4, stat.S_IFREG: 8}


def set_up(
    view: View,
    mounts: MountTable | None = None,
    report: Callable[[str], object] | None = None,
) -> MountTable:
    """Start the modules that are the view's own, and build its map of claims. `report`: see
    `tear_down`.

    Raises ViewosError: a backing that is not there, a module that refuses.
    """
    _need_proc()
    mounts = mounts or MountTable()
    started: tuple[VirtualModule, ...] = ()
    authors.stand(view)
    try:
        for layer, module in view.own.items():
            started = (*started, module)
            start(view, layer, module)
            add_claims(view, layer, mounts)
        show_missing_mount_points(view)
        view.inproc = view.inproc and _may_look_at_paths(view) and not inproc.lacking()
    except BaseException as error:
        authors.stop(started, report)
        _remove_scratch(view)
        if isinstance(error, OSError):
            raise ViewosError(_scratch_failed(error)) from error
        raise
    return mounts


def _may_look_at_paths(view: View) -> bool:
    """Are there path calls that a program could make itself, and would have trapped?"""
    asked = any("stat" in module.calls() for module in view.modules)
    asks = bool(view.claims) or view.nestable or view.claims_later or asked
    return asks and not view.no_continue


def _need_proc() -> None:
    try:
        is_ours = int(os.readlink("/proc/self")) == os.getpid()
    except OSError:
        is_ours = False
    if not is_ours:
        raise ViewosError(
            "/proc is not mounted, or belongs to other processes: a monitor needs it"
            " (mount -t proc proc /proc)"
        )


def _scratch_failed(error: OSError) -> str:
    where = "" if error.filename is None else f": {os.fsdecode(error.filename)}"
    return f"scratch directory: {error.strerror or error}{where} (TMPDIR says where it is made)"


def tear_down(view: View, report: Callable[[str], object] | None = None) -> None:
    """Stop the modules, and remove the scratch directory. `report` is told what fails."""
    authors.stop(tuple(view.own.values()), report)
    view.standins.close()
    _remove_scratch(view)


def _remove_scratch(view: View) -> None:
    if view.scratch:
        remove_tree(view.scratch)
        view.scratch = b""


def start(view: View, layer: int, module: VirtualModule) -> None:
    """Start a module of the view. Raises ViewosError."""
    directory = b""
    if type(module).start is not VirtualModule.start:
        directory = os.path.join(scratch_directory(view), b"m%d" % layer)
        os.mkdir(directory, 0o755)
        os.chmod(directory, 0o755)
    authors.start(module, directory)


def add_claims(
    view: View, layer: int, mounts: MountTable, shown: Container[tuple[int, bytes]] = ()
) -> None:
    """Put the claims of the view's own layer on top of those that are there. Raises ViewosError.

    `shown`: (layer, real path) of what the view shows already, which may have been removed since.
    """
    module = view.own[layer]
    height = list(view.layers).index(layer)
    if layer not in view.wanted:
        view.wanted[layer] = authors.claims(module)

    def check(claim: Claim, real: bytes, place: bytes) -> None:
        if (layer, real) not in shown:
            _check_backing(module, claim, real, place)

    view.claims = with_layer(view.claims, height, view.wanted[layer], mounts, check)


def with_layer(
    claims: ClaimMap,
    height: int,
    wanted: Iterable[Claim],
    mounts: MountTable,
    check: Callable[[Claim, bytes, bytes], object] = lambda claim, real, place: None,
) -> ClaimMap:
    """The map with what a module claims on top. `check` is told of each claim with a backing, that
    one's real path, and the real path of what it hides."""
    from viewos.monitor.paths import Resolver  # not for a view that claims nothing

    below = Resolver(claims, mounts)
    placed: list[Claim] = []
    prefixes: set[bytes] = set()
    for claim in wanted:
        prefix, place = _canonical(below, claim.prefix)
        if _passes(claim.prefix, prefixes) or _passes(prefix, prefixes):
            here = Resolver(claims.with_layer(placed, height), mounts)
            prefix, place = _canonical(here, claim.prefix)
        backing = claim.backing
        if claim.module is None and not claim.scratch:
            virtual, real = below.canonical(os.path.abspath(backing))
            check(claim, real, place)
            backing = RealPath(virtual)
        placed.append(claim._replace(prefix=VirtualPath(prefix), backing=backing))
        prefixes.add(prefix)
    return claims.with_layer(placed, height)


def _canonical(resolver: Resolver, path: bytes) -> tuple[bytes, bytes]:
    """As the resolver has it. Behind what does not exist no link can be: there, `..` leads back."""
    virtual, real = resolver.canonical(path)
    if b".." in virtual.split(b"/"):
        return resolver.canonical(os.path.normpath(virtual))
    return virtual, real


def _passes(path: bytes, prefixes: set[bytes]) -> bool:
    """Does a path lead through one of the prefixes?"""
    while path not in prefixes:
        path, slash, _ = path.rpartition(b"/")
        if not slash:
            return b"/" in prefixes
    return True


def _check_backing(module: VirtualModule, claim: Claim, real: bytes, place: bytes) -> None:
    """Refuse what mount(2) would: ENOENT, ENOTDIR."""
    shown, prefix = short(os.fsdecode(claim.backing)), short(os.fsdecode(claim.prefix))
    if not os.path.lexists(real):
        raise ViewosError(
            f"{module.name}: {shown}: no such file or directory (it should stand behind {prefix})"
        )
    if os.path.lexists(place) and os.path.isdir(place) != os.path.isdir(real):
        is_directory = "is a directory" if os.path.isdir(real) else "is no directory"
        raise ViewosError(
            f"{module.name}: {shown} {is_directory}, unlike {prefix}, behind which it should stand"
        )


# ---- mount points that do not exist -------------------------------------------------------------


def show_missing_mount_points(view: View) -> None:
    """Give each claim whose prefix has no real entry one that its parent's listing shows."""
    listed: dict[bytes, list[tuple[bytes, int]]] = {}
    for claim in sorted(view.claims, key=lambda c: len(c.prefix)):
        if claim.prefix == b"/":
            continue
        for parent, name in _missing_names(view, claim):
            listed.setdefault(parent, []).append((name, _kind(claim)))
    view.listed = {parent: tuple(dict.fromkeys(names)) for parent, names in listed.items()}


def _kind(claim: Claim) -> int:
    try:
        return _DT.get(stat.S_IFMT(os.stat(claim.backing).st_mode), 8)
    except OSError:
        return 4


def _missing_names(view: View, claim: Claim) -> Iterator[tuple[bytes, bytes]]:
    """(real parent directory, name) for the first missing ancestor of a claim's prefix.

    Ancestors that do not exist become directories of the scratch space, which nobody may write to.
    """
    names = claim.prefix.strip(b"/").split(b"/")
    at = b""
    for index, name in enumerate(names):
        parent = at or b"/"
        at += b"/" + name
        _, directory = view.claims.forward(parent)
        entry = os.path.join(directory, name)
        is_last = index == len(names) - 1
        if os.path.lexists(entry):
            continue
        owner = view.claims.find(parent)
        if owner is not None and owner.scratch and owner.module is None:
            _place(entry, claim if is_last else None)
        elif is_last:
            yield directory, name
        else:
            if at in view.claims.by_prefix:
                continue
            made = _new_directory(view)
            view.claims.by_prefix[at] = Claim(
                VirtualPath(at), RealPath(made), read_only=True, layer=-1, scratch=True
            )
            yield directory, name


def _new_directory(view: View) -> bytes:
    parent = scratch_directory(view)
    for number in itertools.count():
        made = os.path.join(parent, b"p%d" % number)
        try:
            os.mkdir(made, 0o755)
            return made
        except FileExistsError:
            continue  # of the view before it was changed
    raise AssertionError


def _place(entry: bytes, claim: Claim | None) -> None:
    if claim is None or _kind(claim) == 4:
        os.mkdir(entry, 0o755)
    else:
        os.close(os.open(entry, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def start_directory(view: View, mounts: MountTable, wanted: bytes | None = None) -> bytes | None:
    """Where a program is to start that is `wanted` in a directory, or in none; None: where this
    process is.

    A cwd in a claim is entered again, so that the kernel's becomes the backing; the root directory
    stands for one that the view does not have, as chroot(8) starts there. What is wanted may be
    relative: to the directory that the view shows, and not to the one that this process is in.
    """
    try:
        here = os.getcwdb()
    except FileNotFoundError:  # it has been removed, and is in no claim
        return wanted
    if view.claims.find(here) is None:
        return wanted
    if wanted is not None:
        return os.path.join(here, wanted) if wanted else wanted
    from viewos.monitor.paths import Resolver

    _, real = Resolver(view.claims, mounts).canonical(here)
    return entered(here, real)


def entered(here: bytes, real: bytes) -> bytes | None:
    """Where a program starts that comes from `here`, which a claim shows as `real`; None: where it
    is, as that may be a directory to which no path leads that it may search."""
    if os.path.isdir(real):
        return here
    return None if real == here else b"/"
