"""What programs see around mounts of a view is what they see around the kernel's."""

from __future__ import annotations

import os

import pytest

from tests.system.control import Ground, ground
from tests.system.mounts import MODULES, TIERS, check

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(60)
CASES = {
    "a source that was removed": (
        """
        def bind_gone():
            os.mkdir("gone"), bind("gone", "b"), os.rmdir("gone")
        bind_gone(), os.mkdir("other")
        print(bind("other", "b"), bind("other", "a"), umount(b"a"))
        lines = [line.split() for line in open("/proc/self/mountinfo")]
        print([words[3].endswith("/gone//deleted") for words in lines if words[4] == TOP + "/b"])
        print(umount(b"b/x"), umount(b"b", 16), umount(b"b"), os.listdir("b"), umount(b"b"))
        bind_gone()
        print(umount(b"b/", DETACH), os.listdir("b"))
        bind_gone()
        print(os.system("umount b"), os.listdir("b"))
        print(bind("a/a", "b/b"), os.unlink("a/a"), umount(b"b/b"), open("b/b").read())
        """,
        """
        ENOENT done done
        [True]
        ENOENT EINVAL done ['b'] EINVAL
        done ['b']
        0 ['b']
        done None done in b
        """,
    ),
    "a directory over which something is mounted": (
        """
        os.mkdir("b/deep"), os.chdir("b"), os.close(os.open("open", os.O_CREAT))
        held = os.open("open", os.O_RDONLY)
        def told(name):
            return os.readlink("/proc/self/" + name).replace(TOP, "")
        print(bind("../a", "../b"), here(), told("cwd"), told(f"fd/{held}"), os.listdir("../b"))
        os.chdir("deep")
        print(here(), told("cwd"), os.listdir(".."), os.listdir("../../b"), os.path.exists("../b"))
        os.chdir("..")
        print(here(), os.listdir("."), os.chdir(".."), here(), umount(b"b"))
        """,
        """
        done /b /b /b/open ['a']
        /b/deep /b/deep ['a'] ['a'] False
        /b ['a'] None  done
        """,
    ),
    "a directory of a mount over which something is mounted": (
        """
        os.makedirs("a/deep/er"), os.mkdir("s")
        def told(fd):  # by which name it was opened in the tree of a bind mount a view cannot tell
            name = os.readlink(f"/proc/self/fd/{fd}").replace(TOP, "")
            return name.replace("/a/", "/b/") if make is bind_a else name
        def look(*names):
            print(here(), *(sorted(os.listdir(name)) for name in names), told(held), told(file))
        def bind_a():
            return bind("a", "b")
        def new():
            return mount(b"x", b"b", b"tmpfs")
        for make in bind_a, new:
            print(make.__name__, make())
            os.makedirs("b/deep/er", exist_ok=True), os.chdir("b/deep")
            file, held = os.open("f", os.O_CREAT | os.O_RDWR), os.open(".", os.O_RDONLY)
            print(bind(TOP + "/s", TOP + "/b/deep")), look("..", "../../s"), os.chdir("er")
            look(".."), os.chdir(TOP), os.fchdir(held), look("..", "../../s"), os.chdir("../..")
            print(umount(b"b/deep"), here(), os.close(file), os.close(held), umount(b"b"))
        """,
        """
        bind_a done
        done
        /b/deep ['a', 'deep'] [] /b/deep /b/deep/f
        /b/deep/er [] /b/deep /b/deep/f
        /b/deep ['a', 'deep'] [] /b/deep /b/deep/f
        done  None None done
        new done
        done
        /b/deep ['deep'] [] /b/deep /b/deep/f
        /b/deep/er [] /b/deep /b/deep/f
        /b/deep ['deep'] [] /b/deep /b/deep/f
        done  None None done
        """,
    ),
    "a slash behind the name of a file": (
        """
        os.mkdir("a/in")
        print(bind("a/a", "b/b/"), bind("a/a/", "b/b"), bind("a/a", "b/"), bind("a", "b/b/"))
        print(bind("a/", "b/"), umount(b"b/"), umount(b"b/b/"), mount(b"x", b"b/b/", b"tmpfs"))
        print(mount(None, b"b/b/", None, PRIVATE), mount(None, b"b/b/", None, BIND | REMOUNT))
        print(bind("a/nono/", "b/b"), bind("a/a", "b/nono/"), bind("a/a/", "b/nono"))
        """,
        """
        ENOTDIR ENOTDIR ENOTDIR ENOTDIR
        done done ENOTDIR ENOTDIR
        ENOTDIR ENOTDIR
        ENOENT ENOENT ENOENT
        """,
    ),
    "options of a tmpfs": (
        """
        for options in (b"mode=750", b"mode=0", b"size=0,nr_inodes=0", b"rw,ro,mode=755"):
            print(mount(b"x", b"b", b"tmpfs", 0, options), oct(os.stat("b").st_mode), umount(b"b"))
        """,
        """
        done 0o40750 done
        done 0o40000 done
        done 0o41777 done
        done 0o40755 done
        """,
    ),
    "a file that is mapped": (
        """
        print(mount(b"x", b"b", b"tmpfs"))
        with open("b/f", "w") as file:
            file.write("text")
        libc.mmap.restype = ctypes.c_void_p
        file = os.open("b/f", os.O_RDONLY)
        at = ctypes.c_void_p(libc.mmap(None, ctypes.c_size_t(4), 1, 2, file, 0))
        os.close(file)
        print(umount(b"b"), umount(b"b"), libc.munmap(at, ctypes.c_size_t(4)), umount(b"b"))
        """,
        """
        done
        EBUSY EBUSY 0 done
        """,
    ),
    "a file that is open for writing": (
        """
        def remount(name, flags=RDONLY):
            return mount(None, name, None, REMOUNT | BIND | flags)
        print(mount(b"x", b"b", b"tmpfs"))
        file, other = os.open("b/f", os.O_CREAT | os.O_RDWR), os.open("b/f", os.O_RDONLY)
        print(remount(b"b"), os.write(file, b"text"), os.close(file), remount(b"b"))
        print(remount(b"b"), os.access("b/f", os.W_OK), remount(b"b", 0))
        file = os.open("b/f", os.O_WRONLY | os.O_APPEND)
        print(os.close(other), bind("b", "a"), remount(b"a"), os.write(file, b" more"))
        print(open("a/f").read(), os.close(file), umount(b"a"), umount(b"b"))
        """,
        """
        done
        EBUSY 4 None done
        done False done
        None done done 5
        text more None done done
        """,
    ),
    "kinds of sharing": (
        """
        os.mkdir("a/in")
        def kinds(path, *wanted):
            print(*(mount(None, path.encode(), None, kind) for kind in wanted))
        kinds("b", PRIVATE, SHARED, SLAVE, UNBINDABLE, PRIVATE | REC)
        print(bind("a", "b"))
        kinds("b", PRIVATE, SHARED, SLAVE, UNBINDABLE, PRIVATE | REC | SILENT)
        kinds("b", PRIVATE | SHARED, SLAVE | SHARED, PRIVATE | RDONLY, PRIVATE | MOVE)
        kinds("b/in", PRIVATE, PRIVATE | SHARED)
        kinds("/", PRIVATE, PRIVATE | REC, PRIVATE | SLAVE)
        print(umount(b"b"), mount(b"a", b"b", None, BIND | PRIVATE), umount(b"b"))
        print(mount(b"x", b"b", b"tmpfs", 0xC0ED0000), os.listdir("b"), umount(b"b"))
        """,
        """
        EINVAL EINVAL EINVAL EINVAL EINVAL
        done
        done done done done done
        EINVAL EINVAL EINVAL EINVAL
        EINVAL EINVAL
        done done EINVAL
        done done done
        done [] done
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
