"""hostname: a host name, and an NIS domain name, of the view's own."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Self

from viewos import PASS, Claim, Names, RealPath, Utsname, VirtualModule, VirtualPath

if TYPE_CHECKING:
    from viewos import Call, Item, Items, Verdict

LENGTH = 64
"""The most bytes of a name (__NEW_UTS_LEN, linux/utsname.h)."""
PROC = b"/proc/sys/kernel/"
ASK = 0xFFFFFFFF
"""What personality(2) takes to change nothing."""
FIELDS = ("sysname", "release", "version", "machine")
"""Fields of uname(2) that an item can set."""


class _Name:
    """A name whose state is a file, as a program of the view sees it in /proc/sys/kernel.

    A file that was only truncated changes nothing, because proc_dostring() does nothing before a
    write. What was set by a system call is remembered as it was: a newline may be part of it. What
    a program has written there is put in order when the name is asked for next.
    """

    def __init__(self, path: bytes, value: bytes) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.fchmod(self._fd, 0o644)  # whatever the umask: other users of the view may look
        self._lock = threading.Lock()
        self._value = self._data = b""
        self.path = path
        self.write(value)

    def read(self) -> bytes:
        with self._lock:
            data = os.pread(self._fd, 2 * (LENGTH + 1), 0)
            if data and data != self._data:
                data = data.removeprefix(self._data)  # a file of procfs has no end to append to
                self._put(data[:LENGTH].split(b"\0")[0].split(b"\n")[0])
            return self._value

    def write(self, value: bytes) -> None:
        with self._lock:
            self._put(value.split(b"\0")[0])

    def _put(self, value: bytes) -> None:
        self._value = value
        self._data = value + b"\n"
        os.pwrite(self._fd, self._data, 0)  # never empty in between: others may be reading
        os.ftruncate(self._fd, len(self._data))

    @property
    def source(self) -> tuple[int, bytes]:
        """The file, and what it holds while the name is this one."""
        return self._fd, self._data

    def close(self) -> None:
        os.close(self._fd)


class Hostname(VirtualModule):
    """Give the view a host name of its own."""

    name = "hostname"
    grammar = "hostname:NAME[.DOMAIN][,sysname|release|version|machine=VALUE]...[,noproc][,etc]"
    example = "hostname:builder.example.org,release=5.4.0"

    def __init__(
        self,
        name: str | bytes,
        domain: str | bytes | None = None,
        *,
        proc: bool = True,
        etc: bool = False,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        """Arguments: at most 64 bytes each; without `domain` the view begins with the real one.
        `proc`: show the names in /proc/sys/kernel too; `etc`: in /etc/hostname and /etc/hosts.
        `fields`: others of uname(2), by the names in FIELDS.

        Raises ValueError for a value that is too long, or a field that does not exist.
        """
        self._first = {b"hostname": os.fsencode(name)}
        if domain is not None:
            self._first[b"domainname"] = os.fsencode(domain)
        self._fields = {key: os.fsencode(value) for key, value in (fields or {}).items()}
        for value in (*self._first.values(), *self._fields.values()):
            if len(value) > LENGTH:
                raise ValueError(f"{os.fsdecode(value)}: a name has at most {LENGTH} bytes")
        if unknown := set(self._fields) - set(FIELDS):
            raise ValueError(f"uname has no field {', '.join(sorted(unknown))}")
        self._proc, self._etc = proc, etc
        self._names: dict[bytes, _Name] = {}
        self._files: dict[bytes, bytes] = {}
        """Path in the view -> the file behind it."""
        self._watchers: list[Callable[[Names | None], bool]] = []
        self._told: Names | None = None
        self._name_space = ""
        self._named: set[str] = set()
        """Other UTS name spaces that have got a name in the view."""
        self._is_one_for_all = True
        """No program has a personality, in which uname(2) may say other things."""

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """NAME, or NAME.DOMAIN; fields by their names; `noproc` leaves /proc, and so every open,
        alone."""
        words = list(items)
        if not words or words[0].key is not None or not words[0].value:
            raise items.error(words[0] if words else None, "expected NAME[.DOMAIN]")
        flags: set[str] = set()
        settings: list[tuple[Item, str]] = []
        for item in words[1:]:
            if item.key in FIELDS and item.key not in {one.key for one, _ in settings}:
                settings.append((item, item.value))
            elif item.key is None and item.value in ("noproc", "etc") and item.value not in flags:
                flags.add(item.value)
            else:
                expected = "expected one NAME[.DOMAIN], and FIELD=VALUE, noproc or etc behind it"
                raise items.error(item, expected)
        host, dot, domain = words[0].value.partition(".")
        for item, value in ((words[0], host), (words[0], domain), *settings):
            if len(os.fsencode(value)) > LENGTH:
                raise items.error(item, f"a name has at most {LENGTH} bytes")
        fields = {str(item.key): value for item, value in settings}
        return cls(
            host, domain if dot else None, proc="noproc" not in flags, etc="etc" in flags,
            fields=fields,
        )  # fmt: skip

    def start(self, scratch: bytes) -> None:
        """Write the files that hold the names."""
        first = {b"domainname": Utsname.of_host().domainname, **self._first}
        self._names = {key: _Name(scratch + b"/" + key, name) for key, name in first.items()}
        self._name_space = os.readlink("/proc/self/ns/uts")
        if self._etc:
            self._write_files(scratch)

    def _write_files(self, scratch: bytes) -> None:
        """/etc/hostname, and an /etc/hosts in which the name stands, as Debian's installer has
        them."""
        host, domain = (self._first.get(key, b"") for key in (b"hostname", b"domainname"))
        names = [host + b"." + domain, host] if domain else [host]
        with open("/etc/hosts", "rb") as file:
            hosts = file.read()
        if hosts and not hosts.endswith(b"\n"):
            hosts += b"\n"
        # In front: the first line that has a name counts.
        texts = {b"hostname": host + b"\n", b"hosts": b"127.0.1.1 " + b" ".join(names) + b"\n"}
        texts[b"hosts"] += hosts
        for name, text in texts.items():
            path = scratch + b"/etc-" + name
            with open(path, "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(text)
            self._files[b"/etc/" + name] = path

    def stop(self) -> None:
        """Close the files."""
        self._tell_all(None)
        self._watchers = []
        for name in self._names.values():
            name.close()
        self._names = {}

    def claims(self) -> Iterable[Claim]:
        """The two files of /proc/sys/kernel, for which only opening has to be trapped."""
        for key in self._names if self._proc else ():
            yield Claim(
                VirtualPath(PROC + key),
                RealPath(self._names[key].path),
                operations=frozenset({"open"}),
                scratch=True,
            )
        for name, path in self._files.items():
            yield Claim(VirtualPath(name), RealPath(path), scratch=True)

    def set_hostname(self, name: bytes) -> None:
        """Give the view another name, as sethostname(2) of a program in it does. Raises ValueError:
        it is too long, or cannot be one."""
        if len(name) > LENGTH or b"\0" in name or b"\n" in name:
            raise ValueError(f"a name has at most {LENGTH} bytes, and is one line")
        self._names[b"hostname"].write(name)
        self._tell()

    def show_uname(self, told: Callable[[Names | None], bool]) -> None:
        """As `uname` answers, while no program writes to the files of the names."""
        self._watchers.append(told)
        self._tell()

    def _tell(self) -> None:
        """Tell who watches what uname(2) says now."""
        shown = None
        if self._is_one_for_all and not self._named:
            read = {key: name.read() for key, name in self._names.items()}
            utsname = self._with_names(Utsname.of_host(), read)
            shown = Names(utsname, tuple(name.source for name in self._names.values()))
        self._told = shown
        self._tell_all(shown)

    def _tell_all(self, shown: Names | None) -> None:
        self._watchers = [told for told in self._watchers if not told(shown)]

    def _with_names(self, below: Utsname, names: Mapping[bytes, bytes]) -> Utsname:
        return below.replace(
            nodename=names[b"hostname"], domainname=names[b"domainname"], **self._fields
        )

    def uname(self, call: Call) -> Verdict:
        """uname(2) of the layers below, with other names."""
        if self._named and self._space_of(call) in self._named:
            return PASS
        names = {key: name.read() for key, name in self._names.items()}
        if self._watchers and self._told is not None:
            before = self._told.utsname
            if names != {b"hostname": before.nodename, b"domainname": before.domainname}:
                self._tell()
        below: Utsname = call.below()
        return self._with_names(below, names)

    def personality(self, call: Call) -> Verdict:
        """personality(2): from now on `uname` is asked, if it says other things to this program."""
        wanted, host = call.args.personality, Utsname.of_host()
        if self._is_one_for_all and wanted != ASK and host.of_personality(wanted) != host:
            self._is_one_for_all = False
            self._tell()
        return PASS

    def sethostname(self, call: Call) -> Verdict:
        """sethostname(2), for everybody: it changes nothing outside of the view. Where there is a
        uid module, that asks for a root."""
        return self._set(call, b"hostname")

    def setdomainname(self, call: Call) -> Verdict:
        """setdomainname(2), as sethostname."""
        return self._set(call, b"domainname")

    def _space_of(self, call: Call) -> str:
        try:
            return os.readlink(f"/proc/{call.tid}/ns/uts")
        except OSError:  # another user's process
            return self._name_space

    def _set(self, call: Call, key: bytes) -> Verdict:
        space = self._space_of(call)
        if space != self._name_space:  # one that a program of the view has made: the kernel's
            self._named.add(space)
            self._tell()
            return PASS
        length = call.args.len
        if not 0 <= length <= LENGTH:
            raise OSError(errno.EINVAL, "length")
        self._names[key].write(call.read(call.args.name, length) if length else b"")
        self._tell()
        return 0
