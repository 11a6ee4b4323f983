"""What uname(2) says: PRoot's -k.

RELEASE, or \\SYSNAME\\NODENAME\\RELEASE\\VERSION\\MACHINE\\DOMAINNAME\\HWCAP\\.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from viewos import Call, Items, Utsname, VirtualModule

FIELDS = ("sysname", "nodename", "release", "version", "machine", "domainname")


class Release(VirtualModule):
    """Another kernel, as programs believe."""

    def __init__(self, fields: dict[str, bytes]) -> None:
        self._fields = fields

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """One item: as PRoot's -k has it."""
        (value,) = (item.value for item in items)
        if value.startswith("\\"):
            return cls(dict(zip(FIELDS, map(str.encode, value.split("\\")[1:7]), strict=False)))
        return cls({"release": value.encode()})

    def uname(self, call: Call) -> Utsname:
        """The kernel's answer with some fields replaced."""
        return replace(call.below(), **self._fields)

    def sethostname(self, call: Call) -> int:
        """The view's name, from now on."""
        self._fields["nodename"] = call.read(call.args.name, call.args.len)
        return 0

    def setdomainname(self, call: Call) -> int:
        """The view's domain, from now on."""
        self._fields["domainname"] = call.read(call.args.name, call.args.len)
        return 0
