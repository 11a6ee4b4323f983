"""viewos: run a program in a view of its own, with its own idea of files, network, ids, host name.

What module authors and Python programs use stands here, and is loaded when first asked for:
`import viewos` alone costs next to nothing, because every `viewos run` pays for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viewos.abi.socket import InetAddress, SocketAddress, Ucred, UnixAddress
    from viewos.abi.utsname import Utsname
    from viewos.call import Call
    from viewos.claims import Claim, RealPath, VirtualPath
    from viewos.errors import SpecError, ViewosError
    from viewos.files import (
        Changed,
        Changing,
        File,
        Identity,
        Known,
        Names,
        Owners,
        Told,
        Watched,
        Words,
    )
    from viewos.library.popen import Popen
    from viewos.library.view import View
    from viewos.message import Message, OtherMessage, Received
    from viewos.module import PASS, CallTest, FileModule, Verdict, VirtualModule, hook
    from viewos.shared import Interrupted, SharedSocket
    from viewos.spec import Item, Items, absolute
    from viewos.tree import Entry, TreeModule

__version__ = "0.1.0.dev0"

__all__ = [
    "PASS", "Call", "CallTest", "Changed", "Changing", "Claim", "Entry", "File", "FileModule",
    "Identity", "InetAddress", "Interrupted", "Item", "Items", "Known", "Message", "Names",
    "OtherMessage", "Owners", "Popen", "RealPath", "Received", "SharedSocket", "SocketAddress",
    "SpecError", "Told", "TreeModule", "Ucred", "UnixAddress", "Utsname", "Verdict", "View",
    "ViewosError", "VirtualModule", "VirtualPath", "Watched", "Words", "absolute", "hook",
]  # fmt: skip

_HOMES = {
    "viewos.abi.socket": ("InetAddress", "SocketAddress", "Ucred", "UnixAddress"),
    "viewos.abi.utsname": ("Utsname",),
    "viewos.call": ("Call",),
    "viewos.claims": ("Claim", "RealPath", "VirtualPath"),
    "viewos.errors": ("SpecError", "ViewosError"),
    "viewos.files": (
        "Changed",
        "Changing",
        "File",
        "Identity",
        "Known",
        "Names",
        "Owners",
        "Told",
        "Watched",
        "Words",
    ),
    "viewos.library.popen": ("Popen",),
    "viewos.library.view": ("View",),
    "viewos.message": ("Message", "OtherMessage", "Received"),
    "viewos.module": ("PASS", "CallTest", "FileModule", "Verdict", "VirtualModule", "hook"),
    "viewos.shared": ("Interrupted", "SharedSocket"),
    "viewos.spec": ("Item", "Items", "absolute"),
    "viewos.tree": ("Entry", "TreeModule"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'viewos' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
