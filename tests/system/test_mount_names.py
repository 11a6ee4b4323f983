"""Which mount a name leads to: through magic links, where another mount hides it, from a view
within."""

from __future__ import annotations

import os
import textwrap

import pytest

from tests.system.control import Ground, ground
from tests.system.mounts import MODULES, TIERS, printed
from tests.system.view import prefix, run_in_view

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(60)
CASES = {
    "a mount that another one hides": (
        """
        os.makedirs("a/s"), os.makedirs("p/q"), os.makedirs("c/q"), os.mkdir("d")
        print(bind("a", "d"), bind("b", "d/s"), bind("c", "d"))
        print(umount(b"d/s"), umount(b"d/s", DETACH), umount(b"d"), os.listdir("d/s"))
        print(umount(b"d/s"), umount(b"d"))
        print(bind("a", "p/q"), bind("c", "p"), os.listdir("p/q"), umount(b"p/q"), umount(b"p"))
        print(sorted(os.listdir("p/q")), umount(b"p/q"))
        """,
        """
        done done done
        ENOENT ENOENT done ['b']
        done done
        done done [] EINVAL done
        ['a', 's'] done
        """,
    ),
}


@pytest.mark.skipif(os.getuid() != 0, reason="mount(2) needs root")
@pytest.mark.parametrize("ground", [0], indirect=True)
@pytest.mark.parametrize("case", CASES)
def test_natively(ground: Ground, case: str) -> None:
    assert printed(ground, CASES[case][0], None) == textwrap.dedent(CASES[case][1]).strip()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("case", CASES)
def test_in_a_view(ground: Ground, case: str, tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TIERS[tier].items():
        monkeypatch.setenv(name, value)
    said = printed(ground, CASES[case][0], MODULES)
    assert said == textwrap.dedent(CASES[case][1]).strip()


def test_a_mount_of_the_view_without(ground: Ground) -> None:
    """It is not for the view within to take away, or to change."""
    inner = [*prefix(["mount"], user=ground.user, nested=True), "sh", "-c"]
    program = (
        "umount b; umount -l b; mount -o remount,bind,ro b; touch b/new; mount --bind a b &&"
        " umount b; ls b"
    )
    outer = 'mount --bind a b; "$@"; umount b; ls b'
    done = run_in_view(
        MODULES, ["sh", "-c", outer, "sh", *inner, program], user=ground.user, cwd=ground.path,
    )  # fmt: skip
    lines, told = done.stdout.decode().splitlines(), done.stderr.decode()
    assert "the outer view's: change it there" in told and lines == ["a", "new", "b"]
    assert told.count("b: must be superuser") == 2 and told.count("change it") == 1
