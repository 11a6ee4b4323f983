"""What uname(2) says, and AT_HWCAP of the auxiliary vector: PRoot's -k.

RELEASE, or \\SYSNAME\\NODENAME\\RELEASE\\VERSION\\MACHINE\\DOMAINNAME\\HWCAP\\; what is longer than
a field of uname(2) is cut.
"""

from __future__ import annotations

from typing import Self

from viewos import Call, File, Items, Utsname, VirtualModule

FIELDS = ("sysname", "nodename", "release", "version", "machine", "domainname")
LONGEST, AT_HWCAP = 64, 16


class Release(VirtualModule):
    """Another kernel, as programs believe."""

    def __init__(self, fields: dict[str, bytes], hwcap: int | None = None) -> None:
        self._fields = {name: value[:LONGEST] for name, value in fields.items()}
        self._auxiliary = {} if hwcap is None else {AT_HWCAP: hwcap}

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """One item: as PRoot's -k has it."""
        (value,) = (item.value for item in items)
        if not value.startswith("\\"):
            return cls({"release": value.encode()})
        *names, hwcap = value.split("\\")[1:8]
        return cls(dict(zip(FIELDS, map(str.encode, names), strict=True)), int(hwcap, 16))

    def executed(self, call: Call, program: File) -> tuple[None, dict[int, int]]:
        """What the machine can do, as programs believe."""
        return None, self._auxiliary

    def uname(self, call: Call) -> Utsname:
        """The kernel's answer with some fields replaced."""
        return call.below().replace(**self._fields)

    def sethostname(self, call: Call) -> int:
        """The view's name, from now on."""
        self._fields["nodename"] = call.read(call.args.name, call.args.len)
        return 0

    def setdomainname(self, call: Call) -> int:
        """The view's domain, from now on."""
        self._fields["domainname"] = call.read(call.args.name, call.args.len)
        return 0
