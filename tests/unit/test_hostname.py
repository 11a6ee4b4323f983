"""The hostname module: the kernel's rules, and a file that is the state."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from viewos import Utsname
from viewos.modules.hostname import Hostname
from viewos.testing import FakeCall, FakeProcess, started

HOST = Utsname(b"Linux", b"real", b"6.1", b"#1", b"x86_64", b"real.domain")


@pytest.fixture
def process() -> Iterator[FakeProcess]:
    module = Hostname("box", "example.org")
    with started(module):
        yield FakeProcess(module)


def _uname(process: FakeProcess) -> tuple[bytes, bytes]:
    answer: Utsname = FakeCall(process, "uname", below=HOST).answer()
    assert (answer.sysname, answer.release) == (b"Linux", b"6.1")
    return answer.nodename, answer.domainname


def _file(process: FakeProcess, name: str) -> str:
    (module,) = process.modules
    assert isinstance(module, Hostname)
    (claim,) = [c for c in module.claims() if c.prefix.endswith(b"/" + name.encode())]
    assert claim.operations == {"open"}
    assert claim.prefix == b"/proc/sys/kernel/" + name.encode()
    return os.fsdecode(claim.backing)


def _content(process: FakeProcess, name: str = "hostname") -> bytes:
    with open(_file(process, name), "rb") as file:
        return file.read()


def test_the_names(process: FakeProcess) -> None:
    assert _uname(process) == (b"box", b"example.org")
    assert _content(process) == b"box\n"
    assert _content(process, "domainname") == b"example.org\n"
    assert os.stat(_file(process, "hostname")).st_mode & 0o777 == 0o644


def test_without_a_domain_it_is_the_real_one() -> None:
    module = Hostname("box")
    with started(module):
        assert _uname(FakeProcess(module)) == (b"box", Utsname.of_host().domainname)


@pytest.mark.parametrize("name", [b"", b"new", b"n" * 64, b"new\nline", b"\xff\xfe"])
def test_setting(process: FakeProcess, name: bytes) -> None:
    FakeCall(process, "setdomainname", name=b"longer.than.before", len=18).answer()
    assert FakeCall(process, "sethostname", name=name, len=len(name)).answer() == 0
    assert FakeCall(process, "setdomainname", name=name, len=len(name)).answer() == 0
    assert _uname(process) == (name, name)
    assert _content(process) == name + b"\n"


def test_a_zero_ends_the_name(process: FakeProcess) -> None:
    FakeCall(process, "sethostname", name=b"a\0b", len=3).answer()
    assert _uname(process)[0] == b"a"


@pytest.mark.parametrize(
    ("name", "length", "error"),
    [(b"x" * 65, 65, errno.EINVAL), (b"x", -1, errno.EINVAL), (0, 1, errno.EFAULT)],
)
@pytest.mark.parametrize("call", ["sethostname", "setdomainname"])
def test_refusals(
    process: FakeProcess, call: str, name: bytes | int, length: int, error: int
) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        FakeCall(process, call, name=name, len=length).answer()
    assert caught.value.errno == error
    assert _uname(process) == (b"box", b"example.org")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b"other\n", b"other"),
        (b"no newline", b"no newline"),
        (b"first\nsecond\n", b"first"),
        (b"", b"box"),  # only truncated
        (b"\n", b""),
        (b"x" * 200, b"x" * 64),
        (b"zero\0rest", b"zero"),
    ],
)
def test_writing_to_the_file(process: FakeProcess, written: bytes, name: bytes) -> None:
    with open(_file(process, "hostname"), "wb") as file:
        file.write(written)
    assert _uname(process)[0] == name
    assert _content(process) == (name + b"\n" if written else b"")
    FakeCall(process, "sethostname", name=b"again", len=5).answer()
    assert _content(process) == b"again\n"


@pytest.mark.parametrize("written", [b"xyz", b"xyz\n", b"xyz\nmore"])
def test_what_is_appended_is_the_name(process: FakeProcess, written: bytes) -> None:
    """A file of procfs has no end: each write(2) behind an open is one to its beginning."""
    for _ in range(2):
        with open(_file(process, "hostname"), "ab") as file:
            file.write(written)
        assert _uname(process)[0] == b"xyz"
        assert _content(process) == b"xyz\n"
    assert _uname(process)[0] == b"xyz"


def test_without_proc_nothing_is_claimed() -> None:
    module = Hostname("box", proc=False)
    with started(module):
        assert list(module.claims()) == []
        assert _uname(FakeProcess(module))[0] == b"box"


def test_too_long() -> None:
    with pytest.raises(ValueError, match="at most 64 bytes"):
        Hostname("x" * 65)
    with pytest.raises(ValueError, match="at most 64 bytes"):
        Hostname("x", "y" * 65)


@pytest.mark.parametrize(
    ("persona", "release", "machine"),
    [
        (0, b"6.18.44-x", b"x86_64"),
        (0x8000008, b"6.18.44-x", b"i686"),
        (0x20000, b"2.6.78-x", b"x86_64"),
        (0x20008, b"2.6.78-x", b"i686"),
    ],
)
def test_a_personality(persona: int, release: bytes, machine: bytes) -> None:
    shown = HOST.replace(release=b"6.18.44-x").of_personality(persona)
    assert shown == HOST.replace(release=release, machine=machine)
    assert shown.of_personality(persona) == shown
