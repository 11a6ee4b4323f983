"""Real programs in views of the hostname and uid modules, and of modules from files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.view import Place, place, prefix, run_in_view, without_note

pytestmark = pytest.mark.timeout(120)

USERS = (0, 65534) if os.getuid() == 0 else (os.getuid(),)
PYTHON = "/usr/bin/python3"


@pytest.fixture(params=USERS, ids=lambda user: f"as-{user}")
def here(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A directory of that user, outside of any view."""
    with place("native", request.param) as where:
        yield where


def output(here: Place, modules: Sequence[str], argv: Sequence[str], status: int = 0) -> str:
    """What the command prints in a view of the modules, on stdout."""
    result = run_in_view(modules, argv, user=here.user, cwd=here.real)
    assert result.returncode == status, (result.stdout, result.stderr)
    if status == 0:
        assert without_note(result.stderr) == b""
    return result.stdout.decode()


def python(here: Place, modules: Sequence[str], program: str, status: int = 0) -> str:
    """What a Python program prints in a view of the modules."""
    return output(here, modules, [PYTHON, "-S", "-c", textwrap.dedent(program)], status)


# ---- hostname -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ["uname", "-n"], ["hostname"], ["busybox", "uname", "-n"],
        ["cat", "/proc/sys/kernel/hostname"],
        ["sh", "-c", "cd /proc/sys && cat kernel/hostname"],
        [PYTHON, "-c", "import socket; print(socket.gethostname())"],
        ["sysctl", "-n", "kernel.hostname"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_host_name(here: Place, argv: list[str]) -> None:
    if shutil.which(argv[0]) is None:
        pytest.fail(f"{argv[0]} is needed")
    assert output(here, ["hostname:box.example.org"], argv) == "box\n"


@pytest.mark.parametrize("module", ["hostname:box", "hostname:box,noproc"])
@pytest.mark.parametrize("personality", ["i686", "linux64", "--uname-2.6"])
def test_the_personality_of_a_program_shows(here: Place, personality: str, module: str) -> None:
    argv = ["sh", "-c", f"uname -mr; setarch {personality} uname -mr; uname -mr"]
    wanted = run_in_view(None, argv, check=True).stdout.decode()
    assert output(here, [module], argv) == wanted
    assert output(here, [module], ["setarch", "i686", "uname", "-n"]) == "box\n"
    assert output(here, [module + ",machine=arm"], ["uname", "-m"]) == "arm\n"


def test_the_domain_name(here: Place) -> None:
    modules = ["hostname:box.example.org"]
    assert output(here, modules, ["domainname"]) == "example.org\n"
    assert output(here, modules, ["cat", "/proc/sys/kernel/domainname"]) == "example.org\n"
    with open("/proc/sys/kernel/domainname") as file:
        real = file.read()
    assert output(here, ["hostname:box"], ["cat", "/proc/sys/kernel/domainname"]) == real


def test_everybody_may_set_the_name_within_the_view(here: Place) -> None:
    before = socket.gethostname()
    script = "hostname other; uname -n; (hostname third); uname -n; cat /proc/sys/kernel/hostname"
    assert output(here, ["hostname:box"], ["sh", "-c", script]) == "other\nthird\nthird\n"
    assert socket.gethostname() == before


def test_writing_to_proc_sets_the_name(here: Place) -> None:
    script = "echo fourth > /proc/sys/kernel/hostname; uname -n; hostname"
    assert output(here, ["hostname:box"], ["sh", "-c", script]) == "fourth\nfourth\n"


def test_a_name_that_is_refused(here: Place) -> None:
    program = """
        import errno, socket
        for name in ("x" * 65, "x" * 64):
            try:
                socket.sethostname(name)
                print("set", len(socket.gethostname()))
            except OSError as error:
                print(errno.errorcode[error.errno])
    """
    assert python(here, ["hostname:box"], program) == "EINVAL\nset 64\n"


def test_without_proc(here: Place) -> None:
    script = "uname -n; cat /proc/sys/kernel/hostname"
    expected = "box\n" + socket.gethostname() + "\n"
    assert output(here, ["hostname:box,noproc"], ["sh", "-c", script]) == expected


def test_the_upper_name_counts(here: Place) -> None:
    assert output(here, ["hostname:low", "hostname:high"], ["uname", "-n"]) == "high\n"


def test_other_fields_of_uname(here: Place) -> None:
    module = "hostname:box,release=5.4.0,machine=i686,sysname=Other,version=mine,noproc"
    assert output(here, [module], ["uname", "-snrvm"]) == "Other box 5.4.0 mine i686\n"
    program = "import os; print(*os.uname())"
    assert output(here, ["hostname:box,version=,noproc"], ["uname", "-v"]) == "\n"
    assert python(here, [module], program) == "Other box 5.4.0 mine i686\n"


def test_the_name_in_etc(here: Place) -> None:
    script = (
        "hostname -f; cat /etc/hostname; tail -n +2 /etc/hosts | cmp - {} && ls -l /etc/hostname"
    )
    hosts = here.real / "hosts"
    shutil.copy("/etc/hosts", hosts)
    hosts.chmod(0o644)
    shown = output(here, ["hostname:box.example.org,etc"], ["sh", "-c", script.format(hosts)])
    assert shown.startswith("box.example.org\nbox\n-rw-r--r--")


def test_only_a_virtual_root_sets_the_name(here: Place) -> None:
    script = "hostname b; hostname; setpriv --reuid 5 --clear-groups hostname c; hostname"
    for modules in (["hostname:a", "uid:0"], ["uid:0", "hostname:a"]):
        result = run_in_view(modules, ["sh", "-c", script], user=here.user)
        assert result.stdout == b"b\nb\n"
        assert b"must be root" in result.stderr
    assert run_in_view(["uid:5", "hostname:a"], ["hostname", "b"], user=here.user).returncode


@pytest.mark.skipif(os.getuid() != 0, reason="unshare(CLONE_NEWUTS) needs root")
def test_a_name_space_of_its_own() -> None:
    script = (
        "hostname; unshare -u sh -c 'hostname; hostname c; hostname; uname -r'; hostname; uname -r"
    )
    result = run_in_view(["hostname:a,release=5.4.0"], ["sh", "-c", script], check=True)
    release = os.uname().release
    assert result.stdout.decode() == f"a\na\nc\n{release}\na\n5.4.0\n"


# ---- uid ------------------------------------------------------------------------------------


def test_id(here: Place) -> None:
    assert output(here, ["uid:0:0"], ["id"]) == "uid=0(root) gid=0(root) groups=0(root)\n"
    assert output(here, ["uid:1234:5678"], ["sh", "-c", "id -u; id -g; id -G"]) == (
        "1234\n5678\n5678\n"
    )
    assert output(here, ["uid:0"], ["whoami"]) == "root\n"
    assert output(here, ["uid:0"], ["bash", "-c", "echo $UID $EUID"]) == "0 0\n"
    assert output(here, ["uid:54321"], ["id", "-g"]) == "54321\n"


def test_a_user_of_the_database(here: Place) -> None:
    native = subprocess.run(["id", "-G", "daemon"], capture_output=True, timeout=20, check=True)
    script = "id -un; id -gn; id -G"
    assert output(here, ["uid:daemon"], ["sh", "-c", script]) == (
        "daemon\ndaemon\n" + native.stdout.decode()
    )


def test_a_static_program(here: Place) -> None:
    assert output(here, ["uid:0:0"], ["busybox", "id", "-u"]) == "0\n"
    assert output(here, ["uid:1:2"], ["busybox", "sh", "-c", "busybox id -g"]) == "2\n"


SETS = """
    import os
    def say(): print(*os.getresuid(), *os.getresgid(), os.getgroups())
    def attempt(function, *ids):
        try:
            function(*ids)
        except OSError as error:
            print(error.strerror)
    say()
    os.setgroups([7, 5]); say()
    os.setresgid(10, 11, 12); os.setresuid(0, 1000, 0); say()
    attempt(os.setgroups, [1])
    os.seteuid(0); os.setregid(20, 20); say()
    os.setuid(1000); say()
    attempt(os.setuid, 0); attempt(os.setresuid, -1, -1, 0); attempt(os.setgid, 5)
    os.setresuid(1000, 1000, 1000)
    if os.fork() == 0:
        say()
        os.execv("/usr/bin/id", ["id", "-u"])
    os.wait()
"""
SETS_SAY = """\
0 0 0 0 0 0 []
0 0 0 0 0 0 [5, 7]
0 1000 0 10 11 12 [5, 7]
Operation not permitted
0 0 0 20 20 20 [5, 7]
1000 1000 1000 20 20 20 [5, 7]
Operation not permitted
Operation not permitted
Operation not permitted
1000 1000 1000 20 20 20 [5, 7]
1000
"""


def test_changing_ids(here: Place) -> None:
    program = textwrap.dedent(SETS)
    assert output(here, ["uid:0:0"], [PYTHON, "-u", "-S", "-c", program]) == SETS_SAY


@pytest.mark.skipif(os.getuid() != 0, reason="the native twin needs root")
def test_changing_ids_natively() -> None:
    result = subprocess.run(
        ["setpriv", "--clear-groups", PYTHON, "-u", "-S", "-c", textwrap.dedent(SETS)],
        capture_output=True, timeout=20, check=True,
    )  # fmt: skip
    assert result.stdout.decode() == SETS_SAY


def test_a_program_with_threads_changes_its_ids(here: Place) -> None:
    """libc makes the call in every thread, and aborts when one of them hears another answer."""
    program = """
        import os, threading
        go_on = threading.Event()
        threads = [threading.Thread(target=go_on.wait) for _ in range(5)]
        for thread in threads: thread.start()
        os.setresuid(5, 6, 7); os.setreuid(6, 5); os.setresuid(6, 6, 6)
        go_on.set()
        for thread in threads: thread.join()
        print(*os.getresuid())
    """
    assert python(here, ["uid:0"], program) == "6 6 6\n"


def test_each_process_has_its_own(here: Place) -> None:
    script = "setpriv --reuid=5 --clear-groups id -u; setpriv --reuid=6 --keep-groups id -u; id -u"
    assert output(here, ["uid:0:0"], ["sh", "-c", script]) == "5\n6\n0\n"


def test_setpriv_drops_for_good(here: Place) -> None:
    program = """
        import os
        print(*os.getresuid(), *os.getresgid(), os.getgroups())
        os.setuid(0)
    """
    argv = ["setpriv", "--reuid=1234", "--regid=99", "--clear-groups", PYTHON, "-c"]
    argv.append(textwrap.dedent(program))
    result = run_in_view(["uid:0"], argv, user=here.user)
    assert result.stdout == b"1234 1234 1234 99 99 99 []\n"
    assert b"PermissionError" in result.stderr
    assert result.returncode == 1


@pytest.mark.skipif(os.getuid() != 0, reason="su reads /etc/shadow, whatever it believes to be")
def test_su() -> None:
    argv = ["su", "-s", "/bin/sh", "-c", "id -u; id -g; id -G", "nobody"]
    native = subprocess.run(argv, capture_output=True, timeout=20, check=True)
    result = run_in_view(["uid:0"], argv, check=True)
    assert result.stdout == native.stdout


IDS_C = r"""
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>
#include <unistd.h>
int main(int argc, char **argv) {
    uid_t r, e, s;
    getresuid(&r, &e, &s);
    printf("%lu %lu %lu %lu %lu %u %u %u\n", getauxval(AT_UID), getauxval(AT_EUID),
           getauxval(AT_GID), getauxval(AT_EGID), getauxval(AT_SECURE), r, e, s);
    if (argc > 1) {
        printf("%d", setfsuid(5));
        printf(" %d %d\n", setfsuid(-1), setfsuid(-1));
        fflush(stdout);
        setresuid(7, 8, argv[1][0] - '0');
        execl(argv[0], argv[0], NULL);
    }
    return 0;
}
"""


@pytest.fixture(params=["-static", "-no-pie"], ids=["static", "dynamic"])
def ids_program(here: Place, request: pytest.FixtureRequest) -> str:
    """A compiled program that says who it is, and with an argument once more after an exec."""
    source, program = here.real / "ids.c", here.real / "ids"
    source.write_text(IDS_C)
    subprocess.run(["gcc", request.param, "-o", program, source], check=True, timeout=60)
    program.chmod(0o755)
    return str(program)


def test_the_auxiliary_vector(here: Place, ids_program: str) -> None:
    assert output(here, ["uid:0:0"], [ids_program, "8"]) == (
        "0 0 0 0 0 0 0 0\n0 5 5\n7 8 0 0 1 7 8 8\n"
    )
    assert output(here, ["uid:3:4"], [ids_program]) == "3 3 4 4 0 3 3 3\n"


def test_an_exec_saves_the_effective_id(here: Place, ids_program: str) -> None:
    assert output(here, ["uid:0:0"], [ids_program, "9"]).endswith("\n7 8 0 0 1 7 8 8\n")


def test_bad_pointers(here: Place) -> None:
    program = """
        import ctypes, errno
        libc = ctypes.CDLL(None, use_errno=True)
        good = ctypes.create_string_buffer(4)
        for number, *args in ((118, 8, 8, 8), (118, good, good, 8), (115, 10, 8), (115, -1, good),
                              (116, 1, 8), (116, 70000, good), (63, 8), (170, 8, 1)):
            result = libc.syscall(ctypes.c_long(number), *args)
            print(number, result, errno.errorcode.get(ctypes.get_errno()) if result < 0 else "")
    """
    expected = (
        "118 -1 EFAULT\n118 -1 EFAULT\n115 -1 EFAULT\n115 -1 EINVAL\n"
        "116 -1 EFAULT\n116 -1 EINVAL\n63 -1 EFAULT\n170 -1 EFAULT\n"
    )
    assert python(here, ["uid:0:1", "uid:0", "hostname:box"], program) == expected


def test_many_groups(here: Place) -> None:
    program = "import os; os.setgroups(range(65536)); print(len(os.getgroups()))"
    assert python(here, ["uid:0"], program) == "65536\n"


def test_the_limit_that_carries_the_state_does_not_show(here: Place) -> None:
    program = """
        import os, resource
        os.setresuid(5, 5, 5)
        print(resource.getrlimit(10), resource.prlimit(0, 10))
    """
    assert python(here, ["uid:0"], program) == "(-1, -1) (-1, -1)\n"


def test_all_three_together(here: Place) -> None:
    (here.real / "file").write_text("hello\n")
    script = "id -u; uname -n; cat /mnt/file; setpriv --reuid=9 --clear-groups cat /mnt/file"
    modules = [f"vfs:/mnt={here.real}", "hostname:box", "uid:0"]
    assert output(here, modules, ["sh", "-c", script]) == "0\nbox\nhello\nhello\n"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("uid:no-such-user", ["uid", "no-such-user"]),
        ("uid:0:no-such-group", ["uid", "no-such-group"]),
        ("uid:4294967295", ["uid", "4294967295"]),
        ("uid", ["uid", "uid:0"]),
        ("uid:0,1", ["uid", "1"]),
        ("uid:0:", ["uid", "0:"]),
        ("hostname", ["hostname", "NAME"]),
        ("hostname:a,b", ["hostname", "b"]),
        ("hostname:" + "x" * 65, ["hostname", "64"]),
    ],
)
def test_a_wrong_spec_is_one_line(module: str, words: list[str]) -> None:
    result = run_in_view([module], ["true"])
    assert result.returncode in (2, 125)
    assert result.stderr.count(b"\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr.decode()


# ---- modules from files -----------------------------------------------------------------------


@contextmanager
def module_file(here: Place, text: str) -> Iterator[Path]:
    """A module's file that the user may read."""
    path = here.real / "mine.py"
    path.write_text(textwrap.dedent(text))
    path.chmod(0o644)
    yield path


def logged(
    here: Place, module: str, argv: Sequence[str]
) -> tuple[subprocess.CompletedProcess[bytes], str]:
    """(the result, the log) of a command in a view of one module."""
    log = here.real / "log"
    words = prefix([module], user=here.user)
    at = words.index("run") + 1
    words[at:at] = ["--log", str(log)]
    result = run_in_view(None, [*words, *argv], user=here.user, cwd=here.real)
    return result, log.read_text() if log.exists() else ""


BROKEN = """
    from viewos import VirtualModule

    class Broken(VirtualModule):
        def uname(self, call):
            raise RuntimeError("broken on purpose")

        def getsid(self, call):
            return "no number"

        async def sethostname(self, call):
            raise KeyError("later")
"""


def test_a_module_that_raises_fails_one_call(here: Place) -> None:
    with module_file(here, BROKEN) as path:
        script = "uname -n; echo survived"
        result, log = logged(here, f"{path}:Broken", ["sh", "-c", script])
    assert result.returncode == 0
    assert result.stdout == b"survived\n"
    assert b"Input/output error" in result.stderr
    assert log.count("Traceback") == 1
    assert "RuntimeError: broken on purpose" in log
    assert 'raise RuntimeError("broken on purpose")' in log
    assert "mine.py" in log


def test_nonsense_and_an_async_error_are_eio_too(here: Place) -> None:
    program = """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        for number in (124, 170):
            print(libc.syscall(ctypes.c_long(number), b"x", 1), ctypes.get_errno())
    """
    with module_file(here, BROKEN) as path:
        argv = [PYTHON, "-S", "-c", textwrap.dedent(program)]
        result, log = logged(here, f"{path}:Broken", argv)
    assert result.stdout == b"-1 5\n-1 5\n"
    assert log.count("Traceback") == 2
    assert "'no number' is no answer to getsid" in log
    assert "KeyError: 'later'" in log


SLOW = """
    import time
    import anyio
    from viewos import VirtualModule

    class Slow(VirtualModule):
        async def sethostname(self, call):
            await anyio.sleep(call.args.len / 10)
            return 0

        def setdomainname(self, call):
            time.sleep(call.args.len / 10)
            return 0

        def getppid(self, call):
            return 4321
"""
WAITING = """
    import ctypes, os, threading, time
    libc = ctypes.CDLL(None)  # without the interpreter's lock, unlike socket.sethostname
    def wait(tenths): libc.CALL(b"x" * tenths, tenths)
    threads = [threading.Thread(target=wait, args=(30,)) for _ in range(12)]
    began = time.monotonic()
    for thread in threads: thread.start()
    print({os.getppid() for _ in range(100)}, any(not t.is_alive() for t in threads))
    for thread in threads: thread.join()
    print(time.monotonic() - began < 20)
"""


@pytest.mark.parametrize("slow", ["sethostname", "setdomainname"], ids=["async", "plain"])
def test_a_slow_handler_holds_up_nobody(here: Place, slow: str) -> None:
    with module_file(here, SLOW) as path:
        program = WAITING.replace("CALL", slow)
        assert python(here, [f"{path}:Slow"], program) == "{4321} False\nTrue\n"


TREE = """
    from viewos import Entry, TreeModule

    class Tree(TreeModule):
        mount_point = b"/srv/tree/of/data"

        def entries(self, path):
            if path == b"/sub":
                return [Entry.file(b"%d" % n, n, mtime_ns=n * 10**9) for n in range(1, 40)]
            if path:
                return []
            return [Entry.directory(b"sub"), Entry.directory(b"empty"),
                    Entry.file(b"script", mode=0o755), Entry.symlink(b"link", b"sub/7")]

        def read(self, path):
            if path == b"/script":
                return b"#!/bin/sh\\necho $0 runs\\n"
            return b"x" * int(path.rpartition(b"/")[2])
"""


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("cat link; echo; wc -c < sub/9; ls", "xxxxxxx\n9\nempty\nlink\nscript\nsub\n"),
        ("./script", "./script runs\n"),
        ("find . -type f | wc -l", "40\n"),
        ("find sub -newermt @38", "sub\nsub/39\n"),
        ("cp -a . $OUT/copy && diff -r . $OUT/copy && echo same", "same\n"),
        ("tar cf $OUT/t.tar . && tar xf $OUT/t.tar -C $OUT && cat $OUT/link", "xxxxxxx"),
        ("tar cf $OUT/t.tar . && tar df $OUT/t.tar && echo same", "same\n"),
        ("stat -c %h . sub empty", "4\n2\n2\n"),
        ("touch new; rm link; echo > script; mv sub other; chmod 0 script; ls | wc -l", "4\n"),
        ("cat missing/x sub/7/x", ""),
    ],
)
def test_a_tree_made_of_data(here: Place, script: str, expected: str) -> None:
    out = here.real / "out"
    out.mkdir()
    os.chown(out, here.user, here.user)
    with module_file(here, TREE) as path:
        result = run_in_view(
            [f"{path}:Tree"],
            ["sh", "-c", f"cd /srv/tree/of/data && {{ {script}; }}"],
            user=here.user, cwd=here.real, env={"OUT": str(out)},
        )  # fmt: skip
    assert result.stdout.decode() == expected, result.stderr
    errors = result.stderr.decode().splitlines()
    if "touch" in script:
        assert len(errors) == 5
        assert all("Read-only file system" in line for line in errors)
    elif "missing" in script:
        assert [line.rpartition(": ")[2] for line in errors] == [
            "No such file or directory", "Not a directory",
        ]  # fmt: skip
    else:
        assert errors == []


def test_a_module_leaves_nothing_behind(here: Place) -> None:
    scratch = here.real / "scratch"
    scratch.mkdir()
    os.chown(scratch, here.user, here.user)
    text = TREE + textwrap.indent(
        textwrap.dedent("""
        class Closed(Tree):
            def entries(self, path):
                return [Entry.directory(b"d", mode=0o500)] if not path else super().entries(b"/sub")
    """),
        "    ",
    )
    with module_file(here, text) as path:
        result = run_in_view(
            [f"{path}:Closed"], ["find", "/srv/tree/of/data", "-name", "7"],
            user=here.user, cwd=here.real, env={"TMPDIR": str(scratch)},
        )  # fmt: skip
    assert result.stdout == b"/srv/tree/of/data/d/7\n"
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Other: pass", ["mine.py", "Mine"]),
        ("class Mine: pass", ["Mine", "VirtualModule"]),
        ("1 / 0", ["mine.py", "ZeroDivisionError"]),
        (
            "from viewos import VirtualModule\nclass Mine(VirtualModule):\n"
            "    def unmae(self, call): ...",
            ["mine.py", "unmae"],
        ),
    ],
)
def test_a_file_that_holds_no_module(text: str, words: list[str]) -> None:
    with place("native", os.getuid()) as where, module_file(where, text) as path:
        result = run_in_view([f"{path}:Mine"], ["true"])
    assert result.returncode in (2, 125)
    assert result.stderr.count(b"\n") == 1, result.stderr.decode()
    for word in words:
        assert word in result.stderr.decode()


def test_views_without_paths_trap_no_path_calls() -> None:
    from viewos.abi.syscalls import PATH_SYSCALLS
    from viewos.modules.hostname import Hostname
    from viewos.monitor.plan import plan
    from viewos.monitor.setup import set_up, tear_down
    from viewos.view import View

    view = View([Hostname("box", proc=False)])
    set_up(view)
    try:
        assert not plan(view, 1 << 63).trap & PATH_SYSCALLS
    finally:
        tear_down(view)


def test_a_virtual_root_opens_untrapped() -> None:
    """All that is trapped of open is what may make a file."""
    from viewos.modules.uid import Uid
    from viewos.monitor.plan import plan
    from viewos.monitor.setup import set_up, tear_down
    from viewos.view import View

    view = View([Uid(0)])
    set_up(view)
    try:
        made = plan(view, 1 << 63)
    finally:
        tear_down(view)
    assert not made.trap & {"open", "openat", "access", "readlink", "read", "close"}
    rules = {(rule.name, rule.operator, rule.value) for rule in made.argument_rules}
    assert {("open", "&", os.O_CREAT), ("openat", "&", os.O_CREAT)} <= rules
