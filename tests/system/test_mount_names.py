"""Which mount a name leads to: through magic links, where another mount hides it, from a view
within."""

from __future__ import annotations

import os

import pytest

from tests.system.control import Ground, ground
from tests.system.mounts import APART, MODULES, TIERS, check, printed
from tests.system.view import prefix, run_in_view

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(60)
CASES = {
    "a source behind a magic link": (
        """
        os.makedirs("a/s"), os.mkdir("d")
        def through(link, name, path=""):
            held = os.open(name, os.O_PATH)
            said = bind(link.format(held) + path, "d" if os.path.isdir(name) else "b/b")
            os.close(held)
            return said
        for link in "/proc/self/fd/{}", "/dev/fd/{}", "/proc/thread-self/fd/{}":
            print(through(link, "a"), sorted(os.listdir("d")))
            held = os.open("b", os.O_PATH)
            open("d/new", "w").close(), os.close(held)
            print(sorted(os.listdir("a")), os.listdir("b"), os.unlink("a/new"), umount(b"d"))
        print(through("/proc/self/fd/{}", "a", "/s"), os.listdir("d"), umount(b"d"))
        print(through("/proc/self/fd/{}", "a/a"), open("b/b").read(), umount(b"b/b"))
        os.chdir("a")
        print(bind("/proc/self/cwd", "../d"), os.chdir(TOP), sorted(os.listdir("d")), umount(b"d"))
        """,
        3 * "done ['a', 's']\n['a', 'new', 's'] ['b'] None done\n"
        + "done [] done\ndone in a\n done\ndone None ['a', 's'] done",
    ),
    "a mount point behind a magic link": (
        """
        def link(fd):
            return f"/proc/self/fd/{fd}"
        held = os.open("b", os.O_PATH)
        print(bind("a", link(held)), os.listdir("b"), os.listdir(link(held)))
        print(umount(link(held).encode()), os.listdir("b"), umount(link(held).encode()))
        print(bind("a", link(held)), umount(b"b"))
        print(mount(b"x", link(held).encode(), b"tmpfs"), os.listdir("b"), umount(b"b"))
        print(bind("a", "b"))
        inside, unused = os.open("b", os.O_PATH), os.open("b/a", os.O_PATH)
        print(umount(link(unused).encode()), umount(link(inside).encode(), DETACH), os.listdir("b"))
        os.close(inside), os.close(unused)
        print(bind("a", "b"), mount(None, link(held).encode(), None, BIND | REMOUNT | RDONLY))
        print(umount(link(held).encode()), os.listdir("b"))
        os.chdir("b")
        print(bind(TOP + "/a", "/proc/self/cwd"), os.listdir(TOP + "/b"), umount(b"../b"))
        """,
        """
        done ['a'] ['b']
        done ['b'] EINVAL
        done done
        done [] done
        done
        EINVAL done ['b']
        done EINVAL
        done ['b']
        done ['a'] done
        """,
    ),
    "a working directory that is covered": (
        """
        os.mkdir("d"), os.chdir("d")
        print(mount(b"x", b".", b"tmpfs"), bind("../a", "./"), os.listdir("../d"))
        print(umount(b"."), os.listdir("../d"), umount(b"./."), umount(b"."))
        """,
        """
        done done ['a']
        done [] done EINVAL
        """,
    ),
    "names that are escaped": (
        r"""
        for name in "h#h", "t\ta b", "r\rv\v", "b\\s", "n\nl":
            os.mkdir(name), bind("a", name)
            with open("/proc/self/mountinfo", newline="\n") as file:
                print([line.split(" ")[4].removeprefix(TOP) for line in file if TOP in line])
            with open("/proc/self/mounts", newline="\n") as file:
                print([line.split(" ")[1].removeprefix(TOP) for line in file if TOP in line])
            print(umount(name.encode()))
        """,
        "\n".join(
            2 * f"['{name}']\n" + "done"
            for name in ("/h#h", r"/t\\011a\\040b", r"/r\rv\x0b", r"/b\\134s", r"/n\\012l")
        ),
    ),
    "a bind mount that is to move": (
        """
        print(mount(b"a", b"b", None, BIND | MOVE), os.listdir("b"), umount(b"b"))
        """,
        "done ['a'] done",
    ),
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
    check(ground, CASES[case])


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("case", CASES)
def test_in_a_view(ground: Ground, case: str, tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TIERS[tier].items():
        monkeypatch.setenv(name, value)
    check(ground, CASES[case], MODULES)


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


def test_what_has_no_name(ground: Ground) -> None:
    """It would be what the number of the descriptor stands for next."""
    program = """
        os.mkdir("gone")
        held = os.open("gone", os.O_PATH)
        os.rmdir("gone")
        print(bind(f"/proc/self/fd/{held}", "b"), bind("a", f"/proc/self/fd/{held}"))
        print(bind("/proc/self/ns/uts", "b/b"), bind("/proc/self/fd/99", "b"), os.listdir("b"))
        """
    said = printed(ground, program, MODULES).splitlines()
    assert sorted(said[:2]) == ["EPERM ENOENT ['b']", "EPERM EPERM"]
    assert len(said) == 3 and "has" not in said[2] and "shows it by a name" in said[2]


@pytest.mark.parametrize("modules", [None, ["mount"], ["vfs:/=/", "uid:0", "mount"]])
def test_from_another_root(ground: Ground, modules: list[str] | None) -> None:
    """Names are told from there, and nothing that lies outside."""
    if ground.user != 0 and (modules is None or "uid:0" not in modules):
        return  # chroot(2) takes CAP_SYS_CHROOT
    script = (
        "mkdir -p rt/usr rt/proc rt/m rt/n && ln -s usr/bin usr/lib usr/lib64 rt/ &&"
        " mount --bind /usr rt/usr && mount --bind /proc rt/proc && chroot rt sh -c '"
        "mount --bind /m /n; mountpoint /n; findmnt -no TARGET /n; readlink /proc/self/root;"
        ' cut -d" " -f5 /proc/self/mountinfo /proc/self/mountstats; cut -d" " -f2 /proc/mounts\''
    )
    before = APART if os.getuid() == 0 else ()
    words = ["sh", "-c", script]
    done = run_in_view(modules, words, user=ground.user, cwd=ground.path, before=before)
    lines = [line for line in done.stdout.decode().splitlines() if "/proc/" not in line]
    points = ["/usr", "/proc", "/n"]
    assert lines == ["/n is a mountpoint", "/n", "/", *points, *points, *points], done.stderr
