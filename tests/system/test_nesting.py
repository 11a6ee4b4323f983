"""Views in views: made by the one monitor, entered by the process itself."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import zipapp
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_fuzz import CALLS, difference, fuzz, ground
from .users import python
from .view import place, prefix, run_in_view, without_note
from .witness import build

NOBODY = 65534
USERS = [0, NOBODY]
VIEWOS = "python3 -m viewos run"
PR_VIEWOS, CONTACT, ENTER = 0x56494557, 1, 2

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def top() -> Iterator[Path]:
    """Two trees, a and b, that say what they are, and an empty directory."""
    path = Path(tempfile.mkdtemp(prefix="viewos-nest-"))
    path.chmod(0o755)
    for name in ("a", "b"):
        (path / name).mkdir()
        (path / name / name).write_text(f"in {name}\n")
    for name in ("empty", "bin", "lib", "lib64", "usr"):
        (path / name).mkdir()
    yield path
    shutil.rmtree(path)


def says(modules: list[str], script: str, *, user: int = 0, **kw: object) -> str:
    """Output and status of a shell script in a view; VIEWOS stands for `viewos run`."""
    words = ["sh", "-c", script.replace("VIEWOS", VIEWOS)]
    done = run_in_view(modules, words, user=user, **kw)  # type: ignore[arg-type]
    text = (done.stdout + done.stderr).decode()
    return text + (f"status {done.returncode}\n" if done.returncode else "")


# ---- what is seen ----


@pytest.mark.parametrize("user", USERS)
def test_an_inner_view_is_the_outer_one_with_more_on_top(top: Path, user: int) -> None:
    text = says(
        [f"vfs:/mnt={top}/a"],
        "cat /mnt/a; VIEWOS -m vfs:/media=/mnt -m hostname:inner -- sh -c '"
        "cat /media/a /mnt/a; hostname; touch /media/new 2>/dev/null; ls /media'; "
        "ls /media; hostname",
        user=user,
    )
    new = "new\n" if user == 0 else ""
    host = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout
    assert text == f"in a\nin a\nin a\ninner\na\n{new}{host}"


@pytest.mark.parametrize("user", USERS)
def test_fakeroot_nests(user: int) -> None:
    with place("native", user) as here:
        fakeroot = f"{python(user)} -m viewos fakeroot"
        script = (
            f"{fakeroot} -s 'sa,ved' -- sh -c 'id -u; touch f; chown bin f; stat -c %U f; exit 4'; "
            f"echo $?; {fakeroot} -i 'sa,ved' -- stat -c %U f"
        )
        words = [python(user), "-m", "viewos", "run", "--nestable", "--", "sh", "-c", script]
        done = run_in_view(None, words, user=user, cwd=here.real)
        assert (done.stdout, done.stderr) == (b"0\nbin\n4\nbin\n", b"")
        words = prefix(["vfs:/mnt=/usr"], user=user) + fakeroot.split() + ["--", "true"]
        done = run_in_view(None, words, user=user)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1
        assert done.stderr.endswith(b"start that one with `viewos run --nestable`\n")


@pytest.mark.parametrize("user", USERS)
def test_ten_deep(top: Path, user: int) -> None:
    (top / "deep.sh").write_text(
        "d=${1:-0}\n"
        "[ $d = 10 ] && { hostname; ls /mnt; cat /media/a; exit 7; }\n"
        f"case $d in *[02468]) t={top}/a ;; *) t={top}/b ;; esac\n"
        f"exec {VIEWOS} -m vfs:/mnt=$t -m hostname:h$d -- sh {top}/deep.sh $((d+1))\n"
    )
    text = says([f"vfs:/media={top}/a"], f"sh {top}/deep.sh", user=user)
    assert text == "h9\nb\nin a\nstatus 7\n"


def test_the_inner_claim_hides_the_outer_one(top: Path) -> None:
    text = says(
        [f"vfs:/mnt={top}/a"],
        f"VIEWOS -m vfs:/mnt={top}/b -- sh -c 'ls /mnt'; ls /mnt; "
        f"VIEWOS -m vfs:/mnt={top}/empty -- sh -c 'ls /mnt; echo x >/mnt/made'; ls /mnt",
    )
    assert text == "b\na\na\n"
    assert (top / "empty" / "made").read_text() == "x\n"


def test_the_working_directory_is_entered_again(top: Path) -> None:
    text = says(
        [f"vfs:/media={top}/a"],
        f"cd {top}/empty; VIEWOS -m vfs:{top}/empty={top}/b -- sh -c 'pwd; ls'; "
        "cd /media; VIEWOS -m vfs:/mnt=. -- sh -c 'pwd; ls /mnt'; "
        f"VIEWOS -C {top}/b -- sh -c 'pwd; ls'; cd /mnt; "
        f"VIEWOS -m vfs:/={top},/bin=/bin,/lib=/lib,/lib64=/lib64,/usr=/usr -- ls -d a b",
    )
    assert text == (
        f"{top}/empty\nb\n/media\na\n{top}/b\nb\na\nb\n"
        "viewos: /mnt is no directory of the view: starting in /\n"
    )


# ---- processes ----


def test_nothing_stands_between() -> None:
    text = says(
        ["hostname:out"],
        "echo $$; VIEWOS -m hostname:in -- sh -c 'echo $PPID; kill -TERM $$'; echo $?; "
        "VIEWOS -- sh -c 'exit 9'; echo $?; VIEWOS -- /no/such/program; echo $?",
    )
    first, second, *rest = text.splitlines()
    assert first == second
    assert rest[0:2] == ["143", "9"]
    assert rest[2:] == [
        "127",
        "Terminated",
        "viewos: /no/such/program: No such file or directory",
    ] or ("127" in rest and "viewos: /no/such/program: No such file or directory" in rest)


@pytest.mark.parametrize("how", [
    'env -i "PATH=$PATH" "PYTHONPATH=$PYTHONPATH"', "setsid -w", "nohup", "unshare -p -f",
])  # fmt: skip
def test_it_is_found_from_anywhere(top: Path, how: str) -> None:
    text = says([f"vfs:/mnt={top}/a"], f"{how} {VIEWOS} -m vfs:/media=/mnt -- cat /media/a")
    assert text.replace("nohup: ignoring input\n", "") == "in a\n"


def test_a_daemon_of_a_view_starts_one(top: Path) -> None:
    script = (
        f"setsid sh -c 'sleep 0.3; {VIEWOS} -m vfs:/media=/mnt -- cat /media/a >{top}/empty/out' &"
    )
    assert says([f"vfs:/mnt={top}/a"], script) == ""
    assert (top / "empty" / "out").read_text() == "in a\n"


def test_another_copy_of_viewos_starts_one(top: Path) -> None:
    import viewos

    shutil.copytree(Path(viewos.__file__).parent, top / "copy" / "viewos")
    script = (
        f"PYTHONPATH={top}/copy:$PYTHONPATH; export PYTHONPATH; cd /;"
        " VIEWOS -m hostname:in -- hostname"
    )
    assert says(["hostname:out"], script) == "in\n"


def test_another_virtual_environment_starts_one(top: Path) -> None:
    """With an interpreter and packages of its own, at a path that only the outer view shows."""
    import viewos

    venv = top / "a" / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    shutil.copytree(Path(viewos.__file__).parent, site / "viewos")
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    for name in ("prctl.py", "psutil", "pyseccomp.py", "anyio", "idna", "sniffio"):
        found = Path(packages) / name
        if found.exists():
            (site / name).symlink_to(found)
    for found in Path(packages).glob("_prctl*"):
        (site / found.name).symlink_to(found)
    run = "env -u PYTHONPATH /mnt/venv/bin/python -m viewos"
    text = says(
        [f"vfs:/mnt={top}/a"],
        f"cd /; {run} run -m vfs:/media=/mnt -m hostname:in -- sh -c 'cat /media/a; hostname';"
        "env -u PYTHONPATH /mnt/venv/bin/python -c 'import viewos; print(viewos.__file__)'",
    )
    assert text.splitlines()[:2] == ["in a", "in"]
    assert text.splitlines()[2].startswith("/mnt/venv/lib/python")


def test_a_zipapp_starts_one(top: Path) -> None:
    import viewos

    native = shutil.ignore_patterns("*.so", "*.c", "*.h", "__pycache__")
    source = top / "source"
    shutil.copytree(Path(viewos.__file__).parent, source / "viewos", ignore=native)
    shutil.copy(source / "viewos" / "__main__.py", source)
    with (source / "viewos" / "__init__.py").open("a") as file:
        file.write('\n__version__ = "of the archive"\n')
    zipapp.create_archive(source, top / "a" / "viewos.pyz")
    run = "python3 /mnt/viewos.pyz run"
    text = says(
        [f"vfs:/mnt={top}/a"],
        "python3 /mnt/viewos.pyz --version;"
        f"{run} -m hostname:in -m vfs:/media=/mnt -- sh -c 'hostname; cat /media/a';"
        f"{run} -m uid:0 -- true; echo $?",
    )
    assert text.startswith("viewos of the archive\nin\nin a\n125\n")
    assert "start that one with `viewos run --nestable`" in text
    # Natively too, with a monitor of its own.
    native_run = ["python3", f"{top}/a/viewos.pyz", "run", "-m", "hostname:out", "--", "hostname"]
    assert run_in_view(None, native_run).stdout == b"out\n"


# ---- modules ----

MODULE = """
from viewos import VirtualModule, hook

class Answers(VirtualModule):
    def stop(self):
        with open({out!r}, "a") as file:
            file.write("stopped\\n")
    @hook({call!r})
    def answer(self, call):
        raise OSError(1, "no")
"""


def test_a_module_of_ones_own_by_a_path_of_the_view(top: Path) -> None:
    for call in ("sethostname", "getppid"):
        source = MODULE.format(out=f"{top}/empty/out", call=call)
        (top / "a" / f"{call}.py").write_text(source)
    text = says([f"vfs:/mnt={top}/a"], "cd /mnt; VIEWOS -m ./sethostname.py -- hostname x")
    assert "you must be root" in text
    text = says([f"vfs:/mnt={top}/a"], "cd /mnt; VIEWOS -m ./getppid.py -- hostname x")
    assert "does not trap (getppid)" in text and "--nestable" in text
    words = [sys.executable, "-m", "viewos", "run", "--nestable", "--", "sh", "-c"]
    script = f"cd {top}/a; {VIEWOS} -m ./getppid.py -- hostname x"
    said = run_in_view(None, [*words, script]).stderr
    assert b"does not trap (getppid): start that one with such a module" in said


@pytest.mark.parametrize(("inner", "script", "expected"), [
    ("uid:0", "id -u", "0\n"),
    ("uid:1234", "id -u; id -ru", "1234\n1234\n"),
    ("hostname:x,domain=y", "hostname; domainname", "x\ny\n"),
])  # fmt: skip
def test_modules_without_files(inner: str, script: str, expected: str) -> None:
    inside = f"VIEWOS -m {inner} -- sh -c '{script}'"
    if "domain" in inner:
        inside = inside.replace(",domain=y", ".y")
    outer = ["vfs:/=/"] if inner.startswith("hostname") else ["uid:7", "vfs:/=/"]
    assert says(outer, inside, user=NOBODY) == expected


def test_a_state_of_an_outer_module_is_kept() -> None:
    """The outer uid goes on as it was, and the inner one is another."""
    text = says(
        ["uid:0", "vfs:/=/"],
        "setpriv --reuid=7 --clear-groups sh -c 'id -u; VIEWOS -m hostname:h -- sh -c \"id -u\"'",
        user=NOBODY,
    )
    assert without_note(text.encode()) == b"7\n7\n"


def test_modules_are_stopped_at_the_end(top: Path) -> None:
    (top / "mine.py").write_text(MODULE.format(out=f"{top}/empty/out", call="sethostname"))
    script = f"VIEWOS -m {top}/mine.py -- true; cat {top}/empty/out 2>/dev/null; echo still there"
    assert says(["vfs:/=/"], script) == "still there\n"
    assert (top / "empty" / "out").read_text() == "stopped\n"


# ---- refusals ----


@pytest.mark.parametrize(("outer", "inner", "expected"), [
    (["hostname:x"], "-m vfs:/mnt=/usr -- true", "does not trap (accept, "),
    (["vfs:/=/"], "-m vfs:/media=/usr -- true", "does not trap (recvmmsg, recvmsg, sendmmsg,"),
    (["vfs:/=/"], "-m vfs:/mnt=/no/such -- true", "/no/such: no such file or directory"),
    (["vfs:/=/"], "-m nonsense -- true", "there is no module 'nonsense'"),
    (["vfs:/=/"], "-m ./none.py -- true", "none.py: no such file"),
    (["vfs:/=/"], "--log x -- true", "--log is for the outermost view"),
    (["vfs:/=/"], "--layout direct -- true", "--layout is for the outermost view"),
    (["vfs:/=/"], "--nestable -- true", "only the outermost view can be made nestable"),
])  # fmt: skip
def test_refusals(outer: list[str], inner: str, expected: str) -> None:
    text = says(outer, f"VIEWOS {inner}")
    assert expected in text
    assert text.count("\n") == 2
    assert "status 125" in text or "status 2" in text


def test_nestable_lets_any_module_in(top: Path) -> None:
    words = [sys.executable, "-m", "viewos", "run", "--nestable", "--", "sh", "-c"]
    inner = f"{VIEWOS} -m vfs:/mnt={top}/a -m uid:0 -m hostname:h --"
    script = f"{inner} sh -c 'cat /mnt/a; id -u; hostname'; test ! -e /mnt/a"
    done = run_in_view(None, [*words, script], check=True)
    assert (done.stdout, done.stderr) == (b"in a\n0\nh\n", b"")


def test_nestable_lets_any_option_in() -> None:
    for option in ("drop", "reach"):
        words = [sys.executable, "-m", "viewos", "run", "--nestable", "-m", "vfs:/=/", "--"]
        done = run_in_view(None, [*words, *prefix([f"uid:0,{option}"], nested=True), "id", "-u"])
        assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_other_credentials_may_not() -> None:
    """The modules of a view run in the monitor: who is less than it must not make them."""
    text = says(
        ["vfs:/=/"], "setpriv --reuid=65534 --clear-groups VIEWOS -m hostname:x -- hostname"
    )
    assert "only a program with the same ones can nest a view" in text
    assert text.count("\n") == 2


# ---- hostile callers ----

HOSTILE = """
import ctypes, json, os, socket, sys, errno
libc = ctypes.CDLL(None, use_errno=True)
def ask(what, number=0):
    result = libc.prctl(*map(ctypes.c_ulong, (PR_VIEWOS, what, number, 0, 0)))
    return result if result >= 0 else -ctypes.get_errno()
def line(data):
    s = socket.socket(fileno=ask(1))
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    return s.makefile().read()
assert ask(4) == -errno.EINVAL and ask(2, 1) == -errno.EPERM and ask(2, -1) == -errno.EPERM
assert ask(3) in (-errno.EPERM, -errno.EINVAL) # nobody remembers owners here
assert line(b"") == "" and line(b"{") == ""
def nest(**parameters):
    request = {"jsonrpc": "2.0", "id": 1, "method": "nest", "params": parameters}
    return line(json.dumps(request).encode() + b"\\n")
for data in (b"garbage\\n", b"[1]\\n", b'{"viewos": 99}\\n', b"\\xff\\xfe\\n"):
    assert "error" in line(data), data
try:
    assert line(b"x" * (2 << 20) + b"\\n") == ""
except (BrokenPipeError, ConnectionResetError):
    pass
assert "error" in nest(modules=[3], directory="/")
assert "error" in nest(modules=[], directory="relative")
assert "error" in nest(modules=[], directory="/", protocol=99)
held = [ask(1) for _ in range(50)]
assert min(held) > 2
number = json.loads(nest(modules=[], directory="/"))["result"]["view"]
if os.fork() == 0:
    os._exit(0 if ask(2, number) == -errno.EPERM else 1)
assert os.wait()[1] == 0
assert ask(2, number) == 0 and ask(2, number) == 0
print("fine", flush=True)
""".replace("PR_VIEWOS", str(PR_VIEWOS))


@pytest.mark.parametrize("user", USERS)
def test_hostile_callers(user: int) -> None:
    done = run_in_view(["vfs:/=/"], ["python3", "-c", HOSTILE], user=user)
    assert (done.stdout, done.stderr) == (b"fine\n", b"")


def test_outside_of_views_there_is_nobody_to_ask() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(*map(ctypes.c_ulong, (PR_VIEWOS, CONTACT, 0, 0, 0))) == -1
    assert os.strerror(ctypes.get_errno()) == "Invalid argument"


# ---- the same bytes ----


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_calls_do_the_same_in_a_nested_view(seed: int) -> None:
    expected = fuzz("twin", seed, 0)
    program = build("callfuzz", folder=Path(__file__).parent / "fuzz")
    with ground("bound", 0) as here:
        (claim,) = here.modules or ("",)
        words = [
            *prefix([claim], nested=True),
            program,
            str(seed),
            str(CALLS),
            str(here.directory),
        ]
        run = run_in_view(["vfs:/media=/mnt"], words, timeout=90, cwd=str(here.directory.parent))
        top = next(p for p in here.directory.parents if p.name.startswith("viewos-fuzz-"))
        dump = subprocess.run([program, "dump", str(top)], capture_output=True, check=True)
    text = (run.stdout + dump.stdout).decode(errors="backslashreplace")
    got = [*text.splitlines(), f"status {run.returncode} {run.stderr.decode()[-2000:]}"]
    assert difference(expected, got) is None


@pytest.mark.parametrize("inproc", [True, False])
@pytest.mark.parametrize("user", [0, NOBODY])
def test_the_outer_view_shows_what_it_remembers_of_files(user: int, inproc: bool) -> None:
    """Also after a view was nested in it, to which its modules show files as well."""
    inner = f"{python(user)} -m viewos run -m vfs:/mnt=/usr --"
    script = f"""
        umask 22; touch file; {inner} true; chown 5 file; stat -c %u file
        {inner} sh -c 'stat -c %u file; chown 6 file; stat -c %u file'; stat -c %u file
        {inner} sh -c 'stat -c %u file; {inner} chown 7 file; stat -c %u file'; stat -c %u file
    """
    with place("native", user) as here:
        words = [*prefix(["uid:0"], user=user, inproc=inproc), "sh", "-c", script]
        words.insert(words.index("run") + 1, "--nestable")
        done = run_in_view(None, words, user=user, cwd=here.real)
    assert done.stdout.split() == [b"5", b"5", b"6", b"6", b"6", b"7", b"7"], done.stderr
