"""viewos mount: mount something in a view that runs."""

from __future__ import annotations

from viewos.cli.options import HELP, Option, UsageError, describe, parse

HELP_LINE = "mount a directory, or what a module shows, in a view that runs"

VIEW = Option("view", ("-V", "--view"), "VIEW", "in this view (default: the one we are in)")
OPTIONS = (
    VIEW,
    Option("type", ("-t", "--types"), "MODULE", "what is mounted (default: vfs, a bind mount)"),
    Option("options", ("-o", "--options"), "OPTION,...", "of that module", repeats=True),
    HELP,
)

USAGE = f"""\
usage: viewos mount [-V VIEW] [-t MODULE] [-o OPTION,...] SOURCE DIRECTORY

Shows SOURCE at DIRECTORY (or a file at a file) of a view, from the next system call of its programs
on. Both are paths of the view. It takes no privilege. For mount(2) and mount(8) in a view there is
the module mount: `viewos modules mount`.

{describe(OPTIONS)}

examples:
  viewos mount -V build /srv/new /mnt
  viewos mount -V build -o ro hosts.test /etc/hosts
  viewos mount -V build -t tmpfs -o mode=0700 none /build
"""


def main(argv: list[str]) -> int:
    """Mount it. Raises ViewosError."""
    values, words = parse("viewos mount", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if len(words) != 2:
        raise UsageError("viewos mount: expected SOURCE DIRECTORY (see `viewos mount --help`)")
    from viewos.control.client import find
    from viewos.control.nested import named_directory

    found = find(values["view"])
    options = [word for text in values["options"] for word in text.split(",") if word]
    found.monitor.ask(
        "mount", view=found.number, type=values["type"] or "vfs", source=words[0],
        target=words[1], options=options, directory=named_directory(),
    )  # fmt: skip
    return 0
