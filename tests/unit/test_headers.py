"""What C and Python both have by hand is the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from viewos.monitor import accelerator, handover, inproc
from viewos.monitor.accelerator import owning, rules, tables
from viewos.monitor.inproc import shared

MONITOR = Path(inproc.__file__).parent.parent
KINDS = (
    "OPENS LOOKS TESTS READS SHOWN OWNS OWNS_OPEN FREE ACLS EXECUTES NAMES PAIRS MAKES ASKS"
    " ASKS_OPEN IDS KNOWN ENTERS"
).split()
WORDS = {
    "accelerator/accelerator.h": {
        "HANDED_OVER": handover.HANDED_OVER,
        "HANDED_ROOM": handover._ROOM,
        "PATH_KEPT": handover._PATH_KEPT,
        "sizeof(struct program)": handover._PROGRAM.size,
        "sizeof(struct rule)": rules.SIZE,
        "CALLS": rules.CALLS,
        "STATES": accelerator._MOST_STATES,
        "STATE_KNOWN": accelerator._KNOWN,
        "STATE_CONFINED": accelerator._CONFINED,
        "STATE_BEHIND_LOADER": accelerator._BEHIND_LOADER,
        "STATE_ROOTED": accelerator._ROOTED,
        "LONGEST": accelerator._LONGEST,
        "VIEWS": accelerator._VIEWS,
        "PASSES": accelerator.MOST_PASSES,
        "OFFER_CODE": inproc._CODE,
        "MAPPED": owning._MOST_IDS,
        "NAME_ABOVE": tables.ABOVE,
    },
    "inproc/code.h": {
        "HAND_OVER": handover._MARK,
        "SHOWN_AT": shared._SAID,
        "offsetof(struct here, off)": inproc._OFF,
        "offsetof(struct here, no_root)": inproc._NO_ROOT,
        **{kind: getattr(shared, kind) for kind in KINDS},
    },
}
"""Header -> expression of C -> what Python has."""


@pytest.mark.parametrize("header", WORDS)
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_constants_and_sizes(header: str, tmp_path: Path) -> None:
    words = WORDS[header]
    lines = [f'    printf("%llu\\n", (unsigned long long)({word}));' for word in words]
    source, program = tmp_path / "words.c", tmp_path / "words"
    source.write_text(
        f'#include <stdio.h>\n#include "{header}"\nint main(void)\n{{\n'
        + "\n".join(lines) + "\n}\n"
    )  # fmt: skip
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", f"-I{MONITOR}", "-o", program, source]
    subprocess.run(command, check=True, timeout=60)
    told = subprocess.run([program], check=True, timeout=10, capture_output=True, text=True)
    assert dict(zip(words, map(int, told.stdout.split()), strict=True)) == words
