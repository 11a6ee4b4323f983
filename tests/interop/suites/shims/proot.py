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


def quoted(path: str) -> str:
    """A path as the grammar of -m wants it."""
    return "".join("\\" + char if char in "\\,=" else char for char in path)


class CommandLine:
    """What PRoot's options ask for. Without -r its root directory is the machine's, and it looks at
    all paths: so does the view."""

    def __init__(self) -> None:
        self.places = {"/": "/"}
        self.cwd: str | None = None
        self.modules: list[str] = []

    def take(self, option: str, value: str) -> None:
        """One option that has a value."""
        kind = WITH_VALUE.get(option) or sys.exit(f"proot.py: views have no {option}")
        if kind == "root":
            self.places["/"] = value
        if option in ("-R", "-S"):
            home = os.environ.get("HOME", "/")
            for path in (*FROM_HOST, home):
                if os.path.exists(path) and path != "/":
                    self.places[path] = path
        elif kind == "bind":
            source, _, target = value.partition(":")
            place = target.removesuffix("!") or source
            self.places[os.path.normpath(os.path.join(os.getcwd(), place))] = source
        elif kind == "cwd":
            self.cwd = os.path.join(os.getcwd(), value)
        elif kind == "id":
            self.modules += ["-m", f"uid:{value}"]
        elif kind == "release":
            module = os.path.join(os.path.dirname(os.path.abspath(__file__)), "release.py")
            self.modules += ["-m", f"{module}:Release:{quoted(value)}"]
        if option == "-S":
            self.modules += ["-m", "uid:0"]

    def options(self) -> list[str]:
        """Of `viewos run`."""
        items = ",".join(f"{quoted(place)}={quoted(path)}" for place, path in self.places.items())
        where = [] if self.cwd is None else ["-C", self._existing(self.cwd)]
        return ["-m", f"vfs:{items}", *self.modules, *where]

    def _existing(self, directory: str) -> str:
        """PRoot starts in / where there is no such directory."""
        directory = os.path.normpath(directory)
        above = (
            place for place in self.places if f"{directory}/".startswith(place.rstrip("/") + "/")
        )
        place = max(above, key=len)
        below = os.path.relpath(directory, place)
        return directory if os.path.isdir(os.path.join(self.places[place], below)) else "/"


def main(argv: list[str]) -> None:
    """Become viewos with the same meaning."""
    split = argv.index("--")
    viewos, words = argv[:split], argv[split + 1 :]
    line = CommandLine()
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("-0", "--root-id"):
            line.modules += ["-m", "uid:0"]
        elif option != "--kill-on-exit":
            line.take(option, words.pop(0) if words else sys.exit(f"proot.py: {option} what?"))
    command = words or ["/bin/sh"]
    # PRoot in PRoot can do what the outer one does not.
    nestable = ["--nestable"] if os.path.basename(command[0]) == "proot" else []
    os.execvp(viewos[0], [*viewos, "run", *nestable, *line.options(), "--", *command])


if __name__ == "__main__":
    main(sys.argv[1:])
