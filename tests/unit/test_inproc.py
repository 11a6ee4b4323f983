"""The in-process tier: what it is sure of is what the Python resolver says; its code is whole."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import subprocess
import sys
from bisect import bisect_right
from pathlib import Path

import capstone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.system.witness import build as build_witness
from tests.unit.test_resolver import (
    MOUNTS,
    Ground,
    claims_of,
    ground,
    paths,
    resolve,
    standing,
    thoroughly,
    trees,
)
from viewos.abi.syscalls import BY_NUMBER
from viewos.claims import ClaimMap
from viewos.monitor.inproc import cache, native
from viewos.monitor.inproc.elf import PAGE, Elf, NotUnderstood
from viewos.monitor.inproc.image import SHARED_SIZE, Image, build
from viewos.monitor.inproc.shared import (
    ACLS,
    ASKS,
    ASKS_OPEN,
    ENTERS,
    EXECUTES,
    IDS,
    LOOKS,
    MAKES,
    NAMES,
    OPENS,
    OWNS,
    OWNS_OPEN,
    PAIRS,
    READS,
    TESTS,
    Shared,
    kinds,
)
from viewos.monitor.inproc.sites import CALLS, find
from viewos.monitor.paths import Resolver

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(300)
LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6")
BOOKWORM = "93ac61ec5a8eb1396f9fbd350e3169a558528a40"
"""The build id of Debian 12's 2.36-9+deb12u14."""
NO_SYMLINKS, SYS_OPENAT2 = 4, 437
libc = ctypes.CDLL(None, use_errno=True)


def said(claims: ClaimMap) -> bytes:
    memory = mmap.mmap(-1, SHARED_SIZE)
    Shared(memory, 1).say(claims, 15)
    return memory[:]


def has_links(path: bytes, follow: bool) -> bool:
    """The kernel's word on all names but the last one, or on all."""
    parent, _, last = path.rpartition(b"/")
    if not follow and last:
        path = parent + b"/." if parent else (b"/" if path[:1] == b"/" else b".")
    how = struct.pack("=QQQ", os.O_PATH, 0, NO_SYMLINKS)
    opened = libc.syscall(SYS_OPENAT2, -100, path, how, len(how))
    if opened >= 0:
        os.close(opened)
    return opened < 0 and ctypes.get_errno() not in (errno.ENOTDIR, errno.ENOENT)


def is_vouched(path: bytes, follow: bool) -> bool:
    """Is the code in the program sure, whichever way it asks?"""
    by_names, by_open = native.vouched(path, follow)
    assert by_names is not has_links(path, follow), (path, follow)
    assert by_names or not by_open, (path, follow)
    return by_names


def real(path: bytes) -> tuple[object, ...]:
    """What stands there: an object, or the same way of not being there."""
    try:
        found = os.lstat(path)
    except OSError as error:
        return (error.errno,)
    return found.st_dev, found.st_ino


# ---- the classifier ----


@thoroughly
@given(
    tree=trees(),
    chosen=st.sets(st.integers(0, 7), max_size=4),
    wanted=st.lists(paths() | paths().map(lambda p: b"/mnt/" + p), min_size=1, max_size=8),
    follow=st.booleans(),
)
def test_what_it_is_sure_of_is_what_python_says(
    ground: Ground,
    tree: dict[bytes, bytes | None],
    chosen: set[int],
    wanted: list[bytes],
    follow: bool,
) -> None:
    ground.make(tree)
    claims = claims_of(*standing(tree, ground.top, chosen))
    shared, resolver = said(claims), Resolver(claims, MOUNTS)
    before = os.getcwdb()
    os.chdir(ground.top)
    try:
        for path in map(ground.named, wanted):
            found = native.find(shared, path, LOOKS, False) if path else None
            if found is None or not is_vouched(found, follow):
                continue
            if not path.startswith(b"/") and claims.reverse(ground.top) != ground.top:
                continue  # a directory with a name of its own: the caller's to know
            known = resolve(resolver, ground.top, path, follow=follow)
            if isinstance(known, int):
                assert real(found) == (known,), (path, sorted(chosen), found)
            else:
                assert real(found) == real(known.real), (path, sorted(chosen), found, known)
    finally:
        os.chdir(before)


EXCHANGES = """
import ctypes, sys
exchange = ctypes.CDLL(None).renameat2
one, other = (word.encode() for word in sys.argv[1:])
while True:
    exchange(-100, one, -100, other, 2)
"""


def test_a_link_that_comes_and_goes_is_never_followed_by_an_open(tmp_path: Path) -> None:
    for name in ("kept", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    inode = (tmp_path / "kept" / "file").stat().st_ino
    (tmp_path / "link").symlink_to("other")
    names = [str(tmp_path / "kept"), str(tmp_path / "link")]
    with subprocess.Popen([sys.executable, "-c", EXCHANGES, *names]) as racing:
        try:
            sure = unsure = 0
            while sure < 3000 or unsure < 3000:
                found = native.opened(f"{names[0]}/file")
                unsure += found is None
                if found is not None:
                    sure += 1
                    assert found >= 0
                    assert os.fstat(found).st_ino == inode
                    os.close(found)
        finally:
            racing.kill()


@pytest.mark.parametrize(("path", "found"), [
    (b"/usr/bin/env", b"/usr/bin/env"), (b"/etc/../etc/passwd", b"/etc/../etc/passwd"),
    (b"a", b"a"), (b"./a/b/", b"./a/b/"), (b"/mnt/a", b"TOP/a"), (b"/mnt//a//b/", b"TOP/a/b/"),
    (b"/mnt/a/.", None),
    (b"/", b"/"), (b".", b"."), (b"//x", b"//x"), (b"/../etc", b"/../etc"),
    (b"/mnt", None), (b"/mnt/", None), (b"/mnt/a/..", None), (b"../x", None), (b"x/mnt/y", None),
    (b"/usr/../mnt/a", None), (b"/mnt/../etc", None), (b"/" + 300 * b"x", None),
    (b"x" * 255, b"x" * 255), (b"y" * 256, None), (b"/mnt/" + 240 * b"x", None),
])  # fmt: skip
def test_it_is_sure_of_what_programs_do(ground: Ground, path: bytes, found: bytes | None) -> None:
    shared = said(claims_of((b"/mnt", ground.top)))
    wanted = found and found.replace(b"TOP", ground.top)
    assert native.find(shared, path, LOOKS, False) == wanted


@pytest.mark.parametrize(("path", "kind", "is_sure"), [
    (b"maps", OPENS, False), (b"/somewhere/123/mountinfo", OPENS, False), (b"mounts", OPENS, False),
    (b"numa_maps", OPENS, False), (b"limits", OPENS, False), (b"maps", LOOKS, True),
    (b"map", OPENS, True), (b"mapsx", OPENS, True), (b"exe", READS, False),
    (b"/x/cwd", READS, False),
    (b"fd/12", READS, False), (b"7f00-7fff", READS, False), (b"link", READS, True),
    (b"exe", OPENS, True), (b"root", READS, False),
    (b"12", READS, False), (b"/usr/lib/gcc/12", READS, True),
    (b"/x/map_files/7f00-7fff", READS, False), (b"/./a", READS, True),
    (b"./12", READS, False), (b"fd/./12", READS, False), (b"/12", READS, True),
])  # fmt: skip
def test_what_procfs_says_of_names_is_the_monitors(path: bytes, kind: int, is_sure: bool) -> None:
    assert (native.find(said(ClaimMap()), path, kind, False) is not None) is is_sure


def test_read_only_claims_and_those_of_modules(ground: Ground) -> None:
    claims = claims_of((b"/mnt", ground.top))
    for prefix, claim in claims.by_prefix.items():
        claims.by_prefix[prefix] = claim._replace(read_only=True)
    shared = said(claims)
    assert native.find(shared, b"/mnt/a", OPENS, False) is not None
    assert native.find(shared, b"/mnt/a", OPENS, True) is None
    assert native.find(shared, b"a", OPENS, True) is None  # the cwd may lie in it
    assert native.find(shared, b"/etc/a", OPENS, True) is not None


EVERY = (
    OPENS | LOOKS | TESTS | READS | OWNS | OWNS_OPEN | ACLS | EXECUTES
    | NAMES | MAKES | PAIRS | ASKS | ASKS_OPEN | IDS | ENTERS
)  # fmt: skip


def test_kinds_of_which_a_module_answers_one_are_the_monitors() -> None:
    assert kinds(CALLS) == EVERY
    assert kinds([name for name in CALLS if name != "statx"]) == EVERY & ~LOOKS
    assert kinds([name for name in CALLS if name != "fchmod"]) == EVERY & ~OWNS_OPEN
    assert kinds([]) == 0


def test_more_claims_than_there_is_room_for(ground: Ground) -> None:
    many = claims_of(*((b"/mnt/%d" % n, ground.top) for n in range(3000)))
    memory = mmap.mmap(-1, SHARED_SIZE)
    shared = Shared(memory, 1)
    shared.say(claims_of((b"/mnt", ground.top)), 15)
    assert memory[8] == 15
    shared.say(many, 15)
    assert memory[8] == 0


# ---- the code ----


def test_the_code_refers_to_nothing_outside() -> None:
    blob, entry = native.code()
    assert 0 <= entry < len(blob)
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    seen = 0
    for address, size, name, operands in machine.disasm_lite(blob, 0):
        seen = address + size
        assert "rip" not in operands and "fs:" not in operands and "xmm" not in operands
        if name == "call" or name.startswith("j"):
            assert 0 <= int(operands, 16) < len(blob), (hex(address), name, operands)
    assert seen == len(blob)


@pytest.fixture(scope="module")
def library() -> Elf:
    return Elf(LIBC.read_bytes())


@pytest.fixture(scope="module")
def image(library: Elf) -> Image:
    ours = Elf(Path(native.__file__).read_bytes())
    return build(library, find(library), ours, *native.code())


@pytest.fixture
def copy(image: Image, tmp_path: Path) -> bytes:
    with open(LIBC, "rb") as file, open(tmp_path / "copy", "w+b", buffering=0) as made:
        image.write(file.fileno(), LIBC.stat().st_size, made.fileno())
    return (tmp_path / "copy").read_bytes()


def test_the_sites_of_this_libc(library: Elf) -> None:
    found = [BY_NUMBER[site.number].name for site in find(library).sites]
    assert {"newfstatat", "openat", "access", "readlink", "fchownat", "fchmod"} <= set(found)


def test_a_site_with_an_instruction_between(library: Elf) -> None:
    """open_nocancel of Debian 12's glibc: fopen(3) and setlocale(3) open files by it."""
    sites = [site for site in find(library).sites if site.between]
    assert sites or library.build_id != BOOKWORM
    for site in sites:
        assert site.between.endswith(
            b"\xbf" + (-100).to_bytes(4, "little", signed=True)
        )  # AT_FDCWD


def test_the_word_on_threads_is_the_one_that_is_exported(library: Elf) -> None:
    """Since glibc 2.32. What a libc's open(2) looks at is the same, where it looks itself."""
    assert library.symbol(b"__libc_single_threaded") == find(library).single


def test_symbols(library: Elf) -> None:
    found = library.symbol(b"getpid")
    place = ctypes.cast(libc.getpid, ctypes.c_void_p).value
    assert found and place and (place - found) % PAGE == 0
    assert library.symbol(b"getpi") is None and library.symbol(b"") is None


def test_only_the_sites_and_the_headers_differ(library: Elf, copy: bytes) -> None:
    pairs = enumerate(zip(library.data, copy, strict=False))
    changed = {at for at, (old, new) in pairs if old != new}
    offset = library.code.offset - library.code.address
    sites = find(library).sites
    allowed = {site.address + offset + n for site in sites for n in range(site.size)}
    assert changed <= allowed | {*range(32, 40), 56, 57}


def test_the_copy_is_a_library_with_three_more_segments(
    library: Elf, image: Image, copy: bytes
) -> None:
    made = Elf(copy)
    assert made.build_id == library.build_id
    added = made.segments[len(library.segments) :]
    assert [segment.flags for segment in added] == [5, 4, 6]
    assert all(segment.address % PAGE == segment.offset % PAGE == 0 for segment in added)
    assert added[1].offset == image.shared and added[2].offset == image.switch
    starts = [start for start, _ in made.unwound()]
    assert starts == sorted(starts) and len(starts) > len(library.functions())


def test_an_image_on_disk(image: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.get("0") is None
    cache.put("0", image)
    assert cache.get("0") == image
    (file,) = (tmp_path / "viewos").iterdir()
    whole = file.read_bytes()
    for spoilt in (b"", whole[:40], whole[:-1], whole[:100] + b"x" + whole[101:]):
        file.write_bytes(spoilt)
        assert cache.get("0") is None
    file.write_bytes(whole)
    file.chmod(0o666)
    assert cache.get("0") is None
    for number in range(40):
        cache.put(f"{number}", image)
    assert len(list((tmp_path / "viewos").iterdir())) == 32


def test_a_library_of_the_same_bytes_has_the_same_image(library: Elf) -> None:
    key = cache.key_of(library.data, b"code")
    assert cache.key_of(bytes(library.data), b"code") == key
    assert cache.key_of(library.data, b"another") != key
    assert cache.key_of(library.data + b"x", b"code") != key


def test_without_a_home_it_is_kept_elsewhere(
    image: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    monkeypatch.setattr(cache, "EVERYBODYS", str(tmp_path))
    cache.put("0", image)
    assert cache.get("0") == image
    (directory,) = tmp_path.iterdir()
    directory.chmod(0o777)  # by others, who can now put anything there
    assert cache.get("0") is None


def test_another_library_is_not_made_a_copy_of(image: Image, tmp_path: Path) -> None:
    other = tmp_path / "libc.so.6"
    for text in (bytes(LIBC.stat().st_size), LIBC.read_bytes()[:-100]):
        other.write_bytes(text)
        with (
            open(other, "rb") as file,
            open(tmp_path / "copy", "w+b") as made,
            pytest.raises(OSError, match=r"than it was|not what it was"),
        ):
            image.write(file.fileno(), LIBC.stat().st_size, made.fileno())


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"#!/bin/sh\n", bytes(100), b"\x7fELF\x01" + bytes(64)]
)
def test_what_is_no_library_is_not_understood(data: bytes) -> None:
    with pytest.raises(NotUnderstood):
        Elf(data)


def test_jumps_into_a_site(library: Elf) -> None:
    """A site is left as it is when something could jump to its middle, near or far."""
    starts = library.functions()
    sites = find(library).sites
    offset = library.code.offset - library.code.address
    for reach, jump in ((100, b"\xeb"), (4096, b"\xe9")):
        width = 1 if jump == b"\xeb" else 4
        for site in sites:
            start = starts[bisect_right(starts, site.address - 16) - 1]
            at = start if width == 1 else site.address - reach
            if site.address - at > reach:
                continue
            data = bytearray(library.data)
            target = site.address + 4 - at - 1 - width
            data[at + offset : at + offset + 1 + width] = jump + target.to_bytes(width, "little")
            assert site not in find(Elf(bytes(data))).sites
            break
        else:
            pytest.fail("no function that is short enough")


def test_bytes_that_only_look_like_a_jump(library: Elf) -> None:
    """They stand in the middle of an instruction, as before the execve of Debian 12's libc."""
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    starts, offset = library.functions(), library.code.offset - library.code.address
    tried = 0
    for site in find(library).sites:
        if site.takes:
            continue  # what stands before it is looked at
        start = starts[bisect_right(starts, site.address) - 1]
        if not 32 <= site.address - start < 100:
            continue
        code = library.data[start + offset : site.address + offset]
        end = next(at for at, *_ in machine.disasm_lite(code, start) if at - start >= 10)
        data = bytearray(library.data)
        jump = bytes([0xEB, site.address + 2 - start - 4])
        data[start + offset : end + offset] = (
            b"\x48\xb8" + jump + bytes(6) + b"\x90" * (end - start - 10)
        )  # mov $..., %rax
        assert site in find(Elf(bytes(data))).sites
        data[start + offset : start + offset + 2] = b"\x90\x90"
        assert site not in find(Elf(bytes(data))).sites
        tried += 1
    assert tried


# ---- cancellation points that one function makes ----


@pytest.fixture(params=["-fomit-frame-pointer", "-fno-omit-frame-pointer"])
def points(request: pytest.FixtureRequest) -> Elf:
    """A library that has its calls made as glibc 2.41 has."""
    return Elf(Path(build_witness("libpoints", "-shared", "-fPIC", request.param)).read_bytes())


def spoilt(elf: Elf, address: int, data: bytes) -> Elf:
    at = elf.offset(address)
    return Elf(elf.data[:at] + data + elf.data[at + len(data) :])


def test_the_function_that_makes_them(points: Elf) -> None:
    found = find(points)
    assert found.single == points.symbol(b"__libc_single_threaded")
    (site,) = found.sites
    assert BY_NUMBER[site.number].name == "openat"
    at = points.offset(site.address)
    assert points.data[at : points.offset(site.end)] == site.takes + b"\x0f\x05"
    assert site.size == (5 if site.keeps_syscall else 6) and site.size <= site.end - site.address
    made = build(points, found, Elf(Path(native.__file__).read_bytes()), *native.code())
    (patch,) = (patch for patch in made.patches if patch.offset == at)
    assert len(patch.new) == site.size and patch.new[0] == 0xE9


def test_a_function_that_looks_at_no_word_is_left(points: Elf) -> None:
    (site,) = find(points).sites
    compare = points.text.rindex(b"\x80\x3d", 0, site.address - points.code.address)
    at = points.code.address + compare
    (distance,) = struct.unpack("<i", points.text[compare + 2 : compare + 6])
    for other in (struct.pack("<i", distance + 1), struct.pack("<i", distance - 8)):
        with pytest.raises(NotUnderstood):
            find(spoilt(points, at + 2, other))


def test_a_jump_between_its_two_instructions(points: Elf) -> None:
    """The system call stays, where there is room, and may be jumped to."""
    (site,) = find(points).sites
    elsewhere = points.symbol(b"point") or 0
    for target in (site.address + 2, site.end - 2):
        jump = b"\xe9" + struct.pack("<i", target - elsewhere - 5)
        elf = spoilt(points, elsewhere, jump)
        if site.keeps_syscall and target == site.end - 2:
            assert find(elf).sites == [site]
        else:
            with pytest.raises(NotUnderstood):
                find(elf)
