"""PRoot's command line, made of a view: what PRoot's own tests call instead of it.

    proot.py VIEWOS-WORDS... -- OPTION... [COMMAND...]

VIEWOS-WORDS start viewos. The options of PRoot that a view has no counterpart of are refused.
"""

from __future__ import annotations

import os
import sys

WITH_VALUE = {
    "-r": "root", "-R": "root", "-S": "root", "-b": "bind", "-m": "bind", "-w": "cwd", "-i": "id",
    "-k": "release", "-v": "verbose",
    "--rootfs": "root", "--bind": "bind", "--mount": "bind", "--pwd": "cwd", "--cwd": "cwd",
    "--change-id": "id", "--kernel-release": "release", "--verbose": "verbose",
}  # fmt: skip
FROM_HOST = """/etc/host.conf /etc/hosts /etc/hosts.equiv /etc/mtab /etc/netgroup /etc/networks
/etc/passwd /etc/group /etc/nsswitch.conf /etc/resolv.conf /etc/localtime /dev /sys /proc /tmp /run
/var/run/dbus/system_bus_socket""".split()
"""What PRoot's -R and -S show of the machine, with the home directory."""
UTSNAME = ("sysname", "nodename", "release", "version", "machine", "domainname")


def quoted(path: str) -> str:
    """A path as the grammar of -m wants it."""
    return "".join("\\" + char if char in "\\,=" else char for char in path)


def main(argv: list[str]) -> None:
    """Become viewos with the same meaning."""
    split = argv.index("--")
    viewos, words = argv[:split], argv[split + 1 :]
    binds: dict[str, str] = {}
    root, cwd, modules = None, None, []
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("-0", "--root-id"):
            modules += ["-m", "uid:0"]
            continue
        if option == "--kill-on-exit":
            continue
        kind = WITH_VALUE.get(option) or sys.exit(f"proot.py: views have no {option}")
        value = words.pop(0)
        if kind == "root":
            root = value
        if kind == "bind" or option in ("-R", "-S"):
            found = [value] if kind == "bind" else [p for p in FROM_HOST if os.path.exists(p)]
            for bind in found:
                source, _, target = bind.partition(":")
                place = target.removesuffix("!") or source
                binds[os.path.normpath(os.path.join(os.getcwd(), place))] = source
        elif kind == "cwd":
            cwd = value
        elif kind == "id":
            modules += ["-m", f"uid:{value}"]
        elif kind == "release":
            release = f"{os.path.dirname(os.path.abspath(__file__))}/release.py:Release"
            modules += ["-m", f"{release}:{quoted(value)}"]
        if option == "-S":
            modules += ["-m", "uid:0"]
    pairs = {"/": root, **binds} if root is not None else binds
    if pairs:
        items = ",".join(f"{quoted(place)}={quoted(source)}" for place, source in pairs.items())
        modules = ["-m", f"vfs:{items}", *modules]
    where = ["-C", cwd] if cwd is not None else []
    command = words or ["/bin/sh"]
    os.execvp(viewos[0], [*viewos, "run", *modules, *where, "--", *command])


if __name__ == "__main__":
    main(sys.argv[1:])
