"""fakechroot's command line, made of a view: what fakechroot's own tests call instead of it.

    fakechroot.py VIEWOS-WORDS... -- SCRIPT DIRECTORY COMMAND...

SCRIPT would call chroot(8) with the rest.
"""

from __future__ import annotations

import os
import sys


def main(argv: list[str]) -> None:
    """Become viewos, with DIRECTORY as the root."""
    split = argv.index("--")
    viewos, (_, directory, *command) = argv[:split], argv[split + 1 :]
    os.environ["HOME"] = "/root"
    os.execvp(viewos[0], [*viewos, "run", "-m", f"vfs:/={directory}", "-C", "/", "--", *command])


if __name__ == "__main__":
    main(sys.argv[1:])
