"""mount and umount in a view: by mount(8), whose calls the module mount answers, and by viewos."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.control import NAME, SLEEP, Ground, ground
from tests.system.mounts import CALLS
from tests.system.users import NOBODY, python
from tests.system.view import run_in_view

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(120)
MODULES = ["uid:0", "mount"]


@pytest.fixture
def top(ground: Ground) -> Path:
    return ground.path


def says(ground: Ground, script: str, modules: list[str] | None = MODULES) -> str:
    """What a script says as the virtual root of a view, in the directory with a and b."""
    script = script.replace("VIEWOS", f"{python(ground.user)} -m viewos")
    done = run_in_view(
        modules,
        ["sh", "-c", "exec 2>&1; " + script],
        user=ground.user,
        cwd=ground.path,
        env=ground.env,
    )
    return (done.stdout + done.stderr).decode()


def test_a_bind_mount(ground: Ground, top: Path) -> None:
    """What findmnt, df and the files of /proc say of it agrees."""
    text = says(
        ground,
        "mount --bind a b && cat b/a && touch b/new && findmnt -no TARGET b && df --output=target b"
        " && mountpoint b && cut -d' ' -f2 /proc/mounts | grep b$; umount b && ls b; mountpoint b",
    )
    b = f"{top}/b"
    assert text == f"in a\n{b}\nMounted on\n{b}\nb is a mountpoint\n{b}\nb\nb is not a mountpoint\n"
    assert sorted(os.listdir(top / "a")) == ["a", "new"] and os.listdir(top / "b") == ["b"]


def test_read_only(ground: Ground) -> None:
    text = says(
        ground,
        "mount --bind -o ro a b; touch b/x; findmnt -no OPTIONS b | cut -c1-2;"
        " mount -o remount,bind,rw b; touch b/x && rm b/x; mount -o remount,bind,ro b; touch b/y",
    )
    refused = "touch: cannot touch 'b/{}': Read-only file system\n"
    assert text == refused.format("x") + "ro\n" + refused.format("y")


def test_a_file_and_a_tmpfs(ground: Ground, top: Path) -> None:
    text = says(
        ground,
        "mount --bind a/a b/b && cat b/b && umount b/b && cat b/b;"
        "mount -t tmpfs -o mode=750 none b && stat -c '%a %U' b && touch b/x && ls b;"
        "umount b; ls b;"
        "mount -t tmpfs -o mode=9 none b 2>/dev/null || echo refused",
    )
    assert text == "in a\nin b\n750 root\nx\nb\nrefused\n"


def test_they_are_told_in_their_order(ground: Ground, top: Path) -> None:
    """Of another mount, which has a line already, and of directories."""
    script = (
        "mkdir b/x b/y b/z; mount --bind a b/x; mount -t proc proc b/y; mount --bind a b/z;"
        " cut -d' ' -f2 /proc/mounts | grep /b/; umount b/x b/y b/z"
    )
    assert says(ground, script) == "".join(f"{top}/b/{name}\n" for name in "xyz")


def test_mounts_stack(ground: Ground) -> None:
    script = "mkdir b/in; mount --bind a b; mount --bind /usr a; ls -d b/a a/bin; umount a b; ls a"
    assert says(ground, script) == "a/bin\nb/a\na\n"


ERRNO = """
BIND, REMOUNT, MOVE, PRIVATE = 0x1000, 0x20, 0x2000, 1 << 18
print(mount(b"nono", b"b", None, BIND), mount(b"a", b"nono", None, BIND),
      mount(b"a", b"b/b", None, BIND), mount(b"a/a", b"b", None, BIND),
      mount(None, b"/", None, PRIVATE))
print(mount(b"a", b"b", None, MOVE), mount(b"x", b"b", b"nosuchfs"), umount(b"nono"),
      mount(b"x", b"b", b"tmpfs", 0, b"zz=1"), mount(b"a", b"b", None, BIND | REMOUNT))
print(mount(b"a", b"b", None, BIND))
here = os.open("b/a", os.O_RDONLY)
print(umount(b"b"), umount(b"b", 2), os.read(here, 10))
for call, name in ((430, "fsopen"), (428, "open_tree"), (433, "fspick"),
                   (467, "open_tree_attr")):
    print(name, libc.syscall(call, -100, b"b", 0), errno.errorcode[ctypes.get_errno()])
"""


def test_errnos(ground: Ground, top: Path) -> None:
    """Those of mount(2) for a privileged caller, where the view answers; else the kernel's."""
    (top / "errnos.py").write_text(CALLS + ERRNO)
    lines = says(ground, "python3 errnos.py").splitlines()
    assert lines[0] == "ENOENT ENOENT ENOTDIR ENOTDIR done"
    kernels = "ENODEV" if ground.user == 0 else "EPERM"
    assert lines[1] == f"EINVAL {kernels} ENOENT EINVAL EINVAL"
    assert lines[2:4] == ["done", "EBUSY done b'in a\\n'"]
    newer = ("fsopen", "open_tree", "fspick", "open_tree_attr")
    assert lines[4:] == [f"{name} -1 ENOSYS" for name in newer]


def test_the_kernels_file_systems(ground: Ground) -> None:
    """/proc and its like can be seen a second time, as debootstrap and chroot's users want it."""
    text = says(
        ground,
        "mount -t proc proc b && ls b | grep -x uptime && readlink b/self | grep -c . &&"
        " stat -fc %T b && findmnt -no FSTYPE b; umount b; ls b;"
        " mount -t sysfs sysfs b && ls -d b/kernel; umount b",
    )
    assert text == "uptime\n1\nproc\nproc\nb\nb/kernel\n"


def test_a_file_system_that_the_view_has_not(ground: Ground, top: Path) -> None:
    """What a view keeps from its programs is not shown by a mount either."""
    modules = [f"vfs:/proc={top}/a", *MODULES]
    assert says(ground, "mount -t proc proc b 2>/dev/null || ls b", modules) == "b\n"


def test_natively_nothing_changes(ground: Ground) -> None:
    """Without the module, mount(2) is the kernel's."""
    if ground.user != NOBODY:
        return
    text = says(ground, "mount --bind a b", ["vfs:/=/"])
    assert (
        text
        == run_in_view(
            None, ["sh", "-c", "mount --bind a b 2>&1"], user=ground.user, cwd=ground.path
        ).stdout.decode()
    )


def test_from_outside(ground: Ground, top: Path) -> None:
    with ground.view([f"vfs:/mnt={top}/a", "mount"], SLEEP):
        for words in ((f"{top}/b", "/mnt"), ("-o", "ro", "a/a", "b/b")):
            assert ground.says("mount", "-V", NAME, *words, cwd=top) == ""
        assert ground.says("exec", NAME, "cat", "/mnt/b") == "in b\n"
        assert ground.says("umount", "-V", NAME, "/mnt", cwd=top) == ""
        assert ground.says("exec", NAME, "cat", "/mnt/a", f"{top}/b/b") == "in a\nin a\n"
        said = ground.says("exec", NAME, "sh", "-c", f"echo > {top}/b/b")
        assert "Read-only file system" in said
        assert ground.says("umount", "-V", NAME, "b/b", "-l", cwd=top) == ""
        assert ground.says("umount", "-V", NAME, "/mnt", cwd=top) == ""
        assert ground.says("umount", "-V", NAME, "/mnt") == (
            "viewos: /mnt: not mounted by the view\nstatus 125\n"
        )
        assert ground.says("umount", "-V", NAME, "", cwd=top) == (
            "viewos: '': not mounted by the view\nstatus 125\n"
        )
        wrong = {
            ("/usr", "/no/such"): "viewos: /no/such: mount point does not exist",
            ("/no/such", "/mnt"): "viewos: vfs: /no/such: no such file or directory",
            ("-t", "zzz", "/usr", "/mnt"): "viewos: there is no module 'zzz'",
            ("-t", "hostname", "x", "/mnt"): "viewos: hostname is no module that can be mounted",
            ("-o", "ro,zz", "/usr", "/mnt"): "viewos: vfs: there is no option zz",
            ("/proc/self/cwd", "/mnt"): "viewos: /proc/self/cwd: what a link of /proc/PID leads to",
            ("/usr", "/proc/self/cwd"): "viewos: /proc/self/cwd: what a link of /proc/PID leads to",
            ("", ""): "viewos: '': mount point does not exist",
            ("/usr", ""): "viewos: '': mount point does not exist",
            ("", "/mnt"): "viewos: vfs: '': no such file or directory",
            ("/mnt",): "viewos: viewos mount: expected SOURCE DIRECTORY",
        }
        for given, text in wrong.items():
            said = ground.says("mount", "-V", NAME, *given)
            assert said.startswith(text) and said.count("\n") == 2, said


def test_a_module_that_shows_more_stays(ground: Ground, top: Path) -> None:
    with ground.view([f"vfs:/mnt={top}/a,/media={top}/b"], SLEEP):
        assert ground.says("umount", "-V", NAME, "/media") == (
            "viewos: /media: layer 0 shows more than that: `viewos module rm 0` removes all of it\n"
            "status 125\n"
        )
        assert ground.says("exec", NAME, "cat", "/mnt/a", "/media/b") == "in a\nin b\n"


def test_an_authors_file_system(ground: Ground, top: Path) -> None:
    """Its class says how it is mounted; -t names the entry point or, here, the file."""
    (top / "words.py").write_text(
        "from viewos import Entry, TreeModule\n"
        "class Words(TreeModule):\n"
        "    @classmethod\n"
        "    def from_mount(cls, source, target, options):\n"
        "        module = cls()\n        module.mount_point, module.word = target, source\n"
        "        return module\n"
        "    def entries(self, path):\n        return [Entry.file(b'word')]\n"
        "    def read(self, path):\n        return self.word + b'\\n'\n"
    )
    with ground.view([f"vfs:/mnt={top}/a", "mount"], SLEEP):
        said = ground.says("mount", "-V", NAME, "-t", f"{top}/words.py", "/hello", "/mnt")
        assert said == ""
        assert ground.says("exec", NAME, "cat", "/mnt/word") == "/hello\n"
        assert ground.says("umount", "-V", NAME, "/mnt") == ""
        assert ground.says("exec", NAME, "cat", "/mnt/a") == "in a\n"


def test_what_is_not_trapped_is_said(ground: Ground) -> None:
    with ground.view(["hostname:h,noproc"], SLEEP):
        said = ground.says("mount", "-V", NAME, "/usr", "/mnt")
        assert said.startswith("viewos: this needs system calls that the outermost view does not")
        assert "`viewos run --nestable`" in said


def test_what_another_mount_shows_stays(ground: Ground, top: Path) -> None:
    """A bind mount of a mount keeps that one: without it, it would show the machine's directory."""
    text = says(
        ground,
        "mkdir p2; mount -t tmpfs none a; mount --bind a p2; echo x > p2/x; umount a; echo $?;"
        " umount -l a; cat p2/x a/x; umount p2; umount a; echo $?; ls a p2",
    )
    busy = "umount: {0}/a: target is busy.\n"
    assert text == f"{busy}32\n{busy}x\nx\n0\na:\na\n\np2:\n".format(top)


def test_a_program_that_runs_holds_its_mount(ground: Ground, top: Path) -> None:
    text = says(
        ground,
        "mount -t tmpfs none a; cp /bin/sleep a; a/sleep 60 & sleep 0.3; umount a; echo $?;"
        " readlink /proc/$!/exe; exec 3>&2 2>/dev/null; kill $!; wait $!; exec 2>&3;"
        " umount a; echo $?",
    )
    assert text == f"umount: {top}/a: target is busy.\n32\n{top}/a/sleep\n0\n"


def test_a_mount_in_a_mount(ground: Ground, top: Path) -> None:
    text = says(
        ground,
        "mkdir a/in; mount --bind a b; mount -t tmpfs none b/in; touch b/in/x; umount b; echo $?;"
        " ls b/in; umount -l b; echo $?; ls b; mount | grep -c $PWD/b",
    )
    assert text == f"umount: {top}/b: target is busy.\n32\nx\n0\nb\n0\n"


def test_a_directory_under_a_mount(ground: Ground) -> None:
    """Who stands in it goes up to where the mount is seen."""
    text = says(
        ground,
        "mkdir b/deep; cd b/deep; mount --bind ../../a ..; mount --bind ../../a ../../b; ls .. ../;"
        " ls ../../b; cat ../../b/a ./../../b/a; ls /proc/self/cwd; echo x > ../../b/new;"
        " ls ../../a; umount ../../b; umount ../../b; ls ../../b",
    )
    assert text.splitlines() == [
        "..:", "a", "", "../:", "a", "a", "in a", "in a", "a", "new", "b", "deep",
    ]  # fmt: skip


def test_a_name_space_of_its_own(ground: Ground, top: Path) -> None:
    text = says(
        ground,
        "mount -t tmpfs none a; touch a/in; unshare -rm sh -c 'ls a; touch a/made'; ls a",
        ["mount"],
    )
    assert text == "in\nin\nmade\n" and os.listdir(top / "a") == ["a"]


@pytest.mark.parametrize("pure", ["", "1"])
def test_a_directory_of_two_names(
    ground: Ground, pure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its descriptor it is in the same mount as either neighbour."""
    monkeypatch.setenv("VIEWOS_PURE", pure)
    text = says(
        ground,
        "VIEWOS run -m vfs:/mnt=a -- sh -c 'echo x > x; ln x a/;"
        " ln a/x y; mv y a/; ls /mnt; stat -c %h x; ln x /mnt/q; cd /mnt; mkdir s; mv y s/; ls s'",
        None,
    )
    refused = "ln: failed to create hard link '/mnt/q' => 'x': Invalid cross-device link\n"
    assert text == f"a\nx\ny\n3\n{refused}y\n"


TREE = """
from viewos import Entry, TreeModule

class Tree(TreeModule):
    mount_point = b"/media"

    def entries(self, path):
        return [Entry.file(b"f", 3)] if path == b"/d" else [Entry.directory(b"d")]

    def read(self, path):
        return b"hey"
"""


def test_a_tree_of_a_module_has_a_line(ground: Ground, top: Path) -> None:
    (top / "tree.py").write_text(TREE)
    text = says(
        ground,
        "findmnt -no TARGET /media; mount --bind /media/d b; mountpoint b; cat b/f; umount b; ls b",
        [f"{top}/tree.py:Tree", *MODULES],
    )
    assert text == "/media\nb is a mountpoint\nheyb\n"
