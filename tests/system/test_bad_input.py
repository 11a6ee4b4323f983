"""Bad input gets one clear line and a right status: 2 wrong words, 125 viewos fails, 126, 127."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.command import USERS, python, said, viewos
from tests.system.view import Place, place, run_in_view

pytestmark = pytest.mark.timeout(90)
as_root = pytest.mark.skipif(os.getuid() != 0, reason="mounts need root")
BAD = Path(__file__).with_name("badmodules.py")


as_one_user = pytest.mark.parametrize("here", USERS[-1:], indirect=True)
"""Where who asks makes no difference."""


@pytest.fixture(params=USERS, ids=lambda user: f"as-{user}")
def here(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A directory with a tree, a file, and modules in files."""
    with place("native", request.param) as where:
        (where.real / "tree").mkdir()
        os.chown(where.real / "tree", where.user, where.user)
        (where.real / "file").touch()
        (where.real / "bad.py").write_text(BAD.read_text())
        (where.real / "import.py").write_text("import nothing_like_it\n")
        (where.real / "syntax.py").write_text("ok = 1\nclass X(:\n")
        (where.real / "exits.py").write_text("import sys; sys.exit(3)\n")
        (where.real / "empty.py").write_text("x = 1\n")
        yield where


def run(here: Place, *words: str | bytes, **kw: object) -> tuple[int, str]:
    """(status, the one line)."""
    return said(viewos("run", *words, user=here.user, cwd=here.real, **kw))


# ---- -m -----------------------------------------------------------------------------------------

SPECS = {
    # unknown modules, wrong words: the module, the word, an example
    "vsf:/a=/b": (2, "there is no module 'vsf': did you mean vfs?"),
    "zzz": (2, "there is no module 'zzz': `viewos modules` lists those that there are"),
    "": (2, "-m '': a module's name is missing (see `viewos modules`)"),
    ":/a=/b": (2, "-m ':/a=/b': a module's name is missing (see `viewos modules`)"),
    "vfs": (2, "module vfs: expected PATH=BACKING (for example: -m vfs:..."),
    "vfs:": (2, "module vfs: expected PATH=BACKING (for example: -m vfs:..."),
    "vfs:/a": (2, "module vfs: '/a': expected PATH=BACKING, ro behind one, or msghdr=off (f..."),
    "vfs:a=b": (2, "module vfs: 'a=b': PATH must begin with a slash (for example: -m vfs:/mnt..."),
    "vfs:/a=": (2, "module vfs: '/a=': BACKING is empty (for example: -m vfs:/mnt=/tmp/x..."),
    "vfs:/a=/b,": (2, "module vfs: there is an empty item (a comma too many?) (for example..."),
    "vfs:/a=/b\\": (2, "-m 'vfs:/a=/b\\\\': the backslash at the end has nothing to quote"),
    "hostname": (2, "module hostname: expected NAME[.DOMAIN] (for example: -m hostname:builder..."),
    "hostname:a,b": (2, "module hostname: 'b': expected one NAME[.DOMAIN]..."),
    "uid:no-such-user": (2, "module uid: 'no-such-user': there is no user 'no-such-user' (for..."),
    "uid:4294967295": (2, "module uid: '4294967295': 4294967295 is no uid: it lies between..."),
    "tmpfs:/a,mode=10000": (2, "module tmpfs: 'mode=10000': a mode is an octal number up to..."),
    "tmpfs:/a,mode=77777": (2, "module tmpfs: 'mode=77777': a mode is an octal number up to..."),
    # backings
    "vfs:/mnt=/no/where": (125, "vfs: /no/where: no such file or directory (it should stand..."),
    "vfs:/x=tree,/y=nowhere": (125, "vfs: .../nowhere: no such file or directory (it should ..."),
    "vfs:/etc=file": (125, "vfs: .../file is no directory, unlike /etc, behind which it should..."),
    "vfs:/etc/passwd=tree": (125, "vfs: .../tree is a directory, unlike /etc/passwd, behind..."),
    "vfs:/mnt=file/below": (125, "vfs: .../file/below: no such file or directory (it should..."),
    # files
    "nofile.py": (2, "module nofile.py: no such file"),
    "./tree:X": (2, "module ./tree: is a directory"),
    "import.py": (125, "module import.py: line 1: ModuleNotFoundError: No module named 'nothi..."),
    "syntax.py": (125, "module syntax.py: line 2: SyntaxError: invalid syntax (syntax.py..."),
    "exits.py": (125, "module exits.py: line 1: SystemExit: 3"),
    "empty.py": (2, "empty.py: name the class, empty.py:CLASS (it has none at all)"),
    "bad.py": (2, "bad.py: name the class, bad.py:CLASS (it has Cancels, ..."),
    "bad.py:Missing": (2, "bad.py has no module class Missing (it has Cancels, ..."),
    "bad.py:time": (2, "bad.py has no module class time (it has Cancels, ..."),
    "bad.py:Fine:x": (2, "module bad.py: 'x': this module takes nothing behind its name"),
    # classes
    "bad.py:StartRaises": (125, "module startraises: start(): line 16: ValueError: two lines"),
    "bad.py:StartNoFile": (125, "module startnofile: No such file or directory: /no/where"),
    "bad.py:StartExits": (125, "module startexits: start(): line ...: SystemExit: 9"),
    "bad.py:ItemsExit": (125, "module bad.py: SystemExit: 9"),
    "bad.py:ClaimsExit": (125, "module claimsexit: claims(): line ...: SystemExit: 9"),
    "bad.py:Init": (125, "module bad.py: TypeError: Init.__init__() missing 1 required pos..."),
    "bad.py:FromItems": (125, "module bad.py: from_items() gave 3, and no module"),
    "bad.py:NoClaims": (125, "module noclaims: claims(): TypeError: 'NoneType' object is not..."),
    "bad.py:NotAClaim": (125, "module notaclaim: claims(): '/mnt' is no Claim"),
    "bad.py:Text": (125, "module text: claims(): the prefix '/mnt' is no bytes"),
    "bad.py:Relative": (125, "module relative: claims(): the prefix 'mnt' is no absolute path"),
    "bad.py:NoBacking": (125, "module nobacking: claims(): the backing None is no bytes"),
    "bad.py:Nul": (125, "module nul: claims(): the prefix '/mnt\\x00' is no absolute path"),
    "bad.py:Operation": (125, "module operation: claims(): there is no operation opne"),
    "bad.py:Syscalls": (125, "module syscalls: syscalls(): there is no nonsense"),
}  # fmt: skip


def matches(shown: str, text: str) -> bool:
    """`...` stands for anything."""
    at = 0
    first, *rest = shown.split("...")
    if not text.startswith(first):
        return False
    for part in rest:
        at = text.find(part, at)
        if at < 0:
            return False
    return bool(rest) or text == shown


@as_one_user
@pytest.mark.parametrize("spec", SPECS)
def test_a_wrong_module(here: Place, spec: str) -> None:
    status, line = SPECS[spec]
    found = run(here, "-m", spec, "--", "echo", "ran")
    assert found[0] == status
    assert matches(line, found[1]), found[1]


def test_a_module_below_one_that_fails_is_stopped(here: Place) -> None:
    below = ("-m", "bad.py:StartRaisesAbove")
    words = ["run", *below, "-m", "bad.py:StartRaises", *below, "--", "true"]
    result = viewos(*words, user=here.user, cwd=here.real)
    assert (result.returncode, result.stdout) == (125, b"started\nstopped\n")


CANNOT_STOP = {
    "StopRaises": "module stopraises: stop(): line 26: ValueError: late",
    "StopExits": "module stopexits: stop(): line ",
}


@pytest.mark.parametrize("name", CANNOT_STOP)
def test_a_module_that_cannot_stop(here: Place, name: str) -> None:
    """The program has ended: the log alone can say it."""
    words = ["run", "--log", "log", "-m", f"bad.py:{name}", "--", "echo", "ran"]
    result = viewos(*words, user=here.user, cwd=here.real)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"ran\n", b"")
    assert CANNOT_STOP[name] in (here.real / "log").read_text()


def test_dotdot_in_a_prefix(here: Place) -> None:
    words = ["run", "-m", "bad.py:DotDot", "--", "ls", "-d", "/mnt/bin"]
    assert viewos(*words, user=here.user, cwd=here.real).stdout == b"/mnt/bin\n"


def test_the_last_of_two_identical_prefixes(here: Place) -> None:
    (here.real / "tree" / "a").touch()
    words = ["run", "-m", "vfs:/mnt=/usr,/mnt=tree", "--", "ls", "/mnt"]
    assert viewos(*words, user=here.user, cwd=here.real).stdout == b"a\n"


def test_a_file_of_a_module_leaves_nothing_beside_it(here: Place) -> None:
    before = sorted(here.real.rglob("*"))
    words = ["run", "-m", "bad.py:Fine", "--", "true"]
    viewos(*words, user=here.user, cwd=here.real, env={"PYTHONDONTWRITEBYTECODE": ""})
    assert sorted(here.real.rglob("*")) == before


# ---- handlers -----------------------------------------------------------------------------------

HANDLERS = {
    "Exits": "SystemExit: 3",
    "Stops": "KeyboardInterrupt",
    "Cancels": "CancelledError",
    "NoErrno": "OSError: [Errno text] x",
    "Interrupts": "Interrupted",
    "Recurses": "RecursionError",
    "Nonsense": "'nonsense' is no answer to uname",
}


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_that_fails(here: Place, name: str) -> None:
    """EIO for that one call, a traceback in the log, and the view goes on."""
    script = "uname; cat file; uname; echo on"
    words = ["run", "--log", "log", "-m", f"bad.py:{name}", "--", "sh", "-c", script]
    result = viewos(*words, user=here.user, cwd=here.real)
    assert result.stdout == b"on\n"
    assert result.stderr.count(b"Input/output error") == 2
    log = (here.real / "log").read_text()
    assert log.count("Traceback") >= 2 and HANDLERS[name] in log
    assert log.count("uname by process ") == 2 and "a bug in the monitor" not in log


@pytest.mark.parametrize("name", ["TooGreat", "TooSmall", "Huge"])
def test_a_value_that_fits_no_register(here: Place, name: str) -> None:
    program = "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
    program += "print(libc.syscall(102), ctypes.get_errno())"
    words = ["run", "--log", "log", "-m", f"bad.py:{name}", "--", "python3", "-c", program]
    result = viewos(*words, user=here.user, cwd=here.real, timeout=20)
    assert result.stdout == b"-1 5\n"
    log = (here.real / "log").read_text()
    assert " is no answer to getuid" in log and "a bug in the monitor" not in log


def test_a_handler_that_hangs_holds_up_nobody(here: Place) -> None:
    script = "uname & cat file; ls tree; kill -KILL $!; wait; echo on"
    words = ["run", "-m", "bad.py:Hangs", "--", "sh", "-c", script]
    result = viewos(*words, user=here.user, cwd=here.real)
    assert (result.returncode, result.stdout) == (0, b"on\n")


def test_a_handler_that_prints(here: Place) -> None:
    """It has no stdout of the program's."""
    words = ["run", "-m", "bad.py:Prints", "--", "uname"]
    assert viewos(*words, user=here.user, cwd=here.real).stdout == b"Linux\n"


# ---- the command and its options ----------------------------------------------------------------

WORDS = {
    ("--log", "/no/where/log"): (125, "--log /no/where/log: No such file or directory"),
    ("--log", "tree"): (125, "--log .../tree: Is a directory"),
    ("-C", "/no/where"): (125, "/no/where: No such file or directory"),
    ("-C", "file"): (125, "file: Not a directory"),
    ("-m", "vfs:/mnt=tree", "-C", "/mnt/x"): (125, "/mnt/x: No such file or directory"),
    ("-C", b"\xff"): (125, "\\xff: No such file or directory"),
    ("-m", b"\xff"): (2, "there is no module '\\xff': `viewos modules` lists those..."),
    (b"--\xff",): (2, "viewos run: unknown option --\\xff (see `viewos run --help`)"),
    ("-m",): (2, "viewos run: -m needs MODULE[:ITEM,...] behind it"),
    ("--bogus",): (2, "viewos run: unknown option --bogus (see `viewos run --help`)"),
    ("--name", "a\x1b[2J"): (2, "viewos run: --name 'a\\x1b[2J': a name is at most 64 charac..."),
    ("--name", "x" * 65): (2, "viewos run: --name 'x...': a name is at most 64 characters tha..."),
    ("--log", ""): (2, "viewos run: --log needs the name of a FILE"),
    ("--layout", "x"): (2, "viewos run: --layout x: expected one of auto, direct, ancestor"),
    ("--help=x",): (2, "viewos run: --help takes no argument"),
}  # fmt: skip


@as_one_user
@pytest.mark.parametrize("words", WORDS, ids=str)
def test_wrong_words(here: Place, words: tuple[str | bytes, ...]) -> None:
    status, line = WORDS[words]
    tail = () if len(words) == 1 else ("--", "echo", "ran")
    found = run(here, *words, *tail)
    assert (found[0], matches(line, found[1])) == (status, True), found[1]


COMMANDS = {
    "tree": (127, "tree: command not found"),
    "./tree": (126, "./tree: Permission denied"),
    "./file": (126, "./file: Permission denied"),
    "./nowhere": (127, "./nowhere: No such file or directory"),
    "": (127, ": command not found"),
    b"./\xff": (127, "./\\xff: No such file or directory"),
    " ": (127, " : command not found"),
    "-x": (127, "-x: command not found"),
}


@pytest.mark.parametrize("module", [(), ("-m", "vfs:/=/"), ("-m", "uid:7")], ids=str)
@as_one_user
@pytest.mark.parametrize("command", COMMANDS, ids=repr)
def test_a_wrong_command(here: Place, command: str | bytes, module: tuple[str, ...]) -> None:
    found = run(here, *module, "--", command, env={"PATH": "/usr/bin:/bin"})
    assert found == COMMANDS[command]


def test_bytes_that_are_no_text(here: Place) -> None:
    """Arguments, environment and names reach the program as they are."""
    script = b'printf "%s %s|" "$1" "$ODD"; ls /mnt; cat "/mnt/$1"'
    (here.real / "tree" / os.fsdecode(b"\xff\n\x01")).write_text("found\n")
    words = [b"sh", b"-c", script, b"sh", b"\xff\n\x01"]
    result = viewos(
        "run", "-m", "vfs:/mnt=tree", "--", *words, user=here.user, cwd=here.real,
        env={"ODD": "\udcfe "},
    )  # fmt: skip
    assert result.stderr == b""
    assert result.stdout == b"\xff\n\x01 \xfe |\xff\n\x01\nfound\n"


def test_a_hundred_modules(here: Place) -> None:
    modules = [word for n in range(100) for word in ("-m", f"vfs:/mnt/{n}=tree")]
    result = viewos("run", *modules, "--", "ls", "/mnt", user=here.user, cwd=here.real)
    assert result.stderr == b""
    assert set(map(str, range(100))) <= set(result.stdout.decode().split())


def test_a_spec_of_a_hundred_kilobytes(here: Place) -> None:
    """Its length alone is no fault; and a wrong word of that length is cut in the message."""
    items = [f"/mnt/{n:05}=tree" for n in range(6000)]
    spec = "vfs:" + ",".join(items)
    assert 90_000 < len(spec) < 131_072  # MAX_ARG_STRLEN
    words = ["run", "-m", spec, "--", "ls", "-d", "/mnt/05999"]
    result = viewos(*words, user=here.user, cwd=here.real, timeout=60)
    assert (result.returncode, result.stderr, result.stdout) == (0, b"", b"/mnt/05999\n")
    for wrong in ("vfs:" + "x" * 100_000, "vfs:/mnt=" + "x" * 100_000, "v" * 100_000):
        status, line = run(here, "-m", wrong, "--", "true")
        assert status in (2, 125)
        assert len(line) < 1000 and "[...]" in line


# ---- what surrounds it --------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS", "EINVAL"])
def test_seccomp_is_forbidden_or_too_old(here: Place, error: str) -> None:
    status, line = run(here, "--", "echo", "ran", forbid=[f"seccomp={error}"])
    assert status == 125
    assert "seccomp" in line and "viewos doctor" in line


@pytest.mark.parametrize("module", [(), ("-m", "vfs:/=/")], ids=str)
def test_an_outer_listener(here: Place, module: tuple[str, ...]) -> None:
    """A Python program in a view has no views of its own; `viewos run` nests."""
    script = "import viewos; viewos.View([]).run(['echo', 'ran'])"
    result = viewos(
        "run", *module, "--", python(here.user), "-c", script, user=here.user, cwd=here.real
    )
    assert (result.returncode, result.stdout) == (1, b"")
    last = result.stderr.decode().splitlines()[-1]
    assert "already has a seccomp listener (an outer view" in last


# Calls that containers forbid, or that an older kernel lacks: views do without.
SPARE = [
    "unshare=EPERM", "close_range=EPERM", "openat2=ENOSYS", "process_vm_readv=EPERM",
    "process_vm_writev=EPERM", "pidfd_open=ENOSYS", "pidfd_getfd=EPERM", "statx=ENOSYS",
    "prlimit64=EPERM", "clone3=ENOSYS",
]  # fmt: skip
JOB = "cd /mnt/tree; umask 027; mkdir d; echo x > d/f; cd d; pwd; cat f; ls -l f | cut -c1-10"


@pytest.mark.parametrize("call", SPARE)
def test_a_call_that_views_can_spare(here: Place, call: str) -> None:
    words = ["run", "-q", "-m", f"vfs:/mnt={here.real}", "--", "sh", "-c", JOB]
    result = viewos(*words, user=here.user, cwd=here.real, forbid=[call])
    assert result.stderr == b""
    assert result.stdout == b"/mnt/tree/d\nx\n-rw-r-----\n"


def test_ids_are_not_believed_where_nothing_can_be_remembered(here: Place) -> None:
    program = "import os\ntry: os.setuid(5)\nexcept OSError as e: print(e.strerror)\n"
    program += "print(os.getuid())"
    words = ["run", "-q", "-m", "uid:0", "--", "python3", "-c", program]
    result = viewos(*words, user=here.user, cwd=here.real, forbid=["prlimit64=EPERM"])
    assert result.stdout == b"Operation not permitted\n0\n"


@as_root
def test_without_proc() -> None:
    hidden = ["unshare", "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"]
    for module in ((), ("-m", "vfs:/mnt=/usr")):
        status, line = said(viewos("run", *module, "--", "echo", "ran", before=hidden))
        assert status == 125
        assert line.startswith("/proc is not mounted") and "mount -t proc" in line


FULL = """
mount -t tmpfs -o size=64k,nr_inodes=6 none /opt && mkdir /opt/d && cd / && exec "$@"
"""
FILL = """
cd "$1"; yes | head -c 200000 > big; stat -c %s big; cp /etc/passwd two; stat -c %s two
for n in 3 4 5 6 7; do mkdir d$n; done; ln -s x link; truncate -s 3 big; echo more > two
cat big two; ls
"""


@as_root
def test_a_full_disk_under_the_backing() -> None:
    """The program hears ENOSPC where it would natively, and what is written is the same."""
    before = ["unshare", "-m", "sh", "-c", FULL, "sh"]
    native = run_in_view(None, ["sh", "-c", FILL, "sh", "/opt/d"], before=before)
    result = viewos(
        "run", "-m", "vfs:/mnt=/opt/d", "--", "sh", "-c", FILL, "sh", "/mnt", before=before
    )
    assert native.stderr.count(b"No space left on device") >= 3
    assert (result.returncode, result.stdout) == (native.returncode, native.stdout)
    assert result.stderr == native.stderr


@pytest.mark.parametrize("modules", [(), ("-m", "vfs:/mnt=tree"), ("-m", "hostname:x")], ids=str)
def test_sixteen_descriptors(here: Place, modules: tuple[str, ...]) -> None:
    limited = ["sh", "-c", 'ulimit -n 16; exec "$@"', "sh"]
    result = viewos(
        "run", *modules, "--", "sh", "-c", "cat file; ls /mnt >/dev/null; uname; ulimit -n",
        user=here.user, cwd=here.real, before=limited,
    )  # fmt: skip
    assert (result.stdout, result.stderr) == (b"Linux\n16\n", b"")


def test_no_home_and_no_environment(here: Place) -> None:
    result = viewos("run", "--", "/bin/echo", "ran", user=here.user, before=["env", "-u", "HOME"])
    assert (result.stdout, result.stderr) == (b"ran\n", b"")


def test_a_directory_that_is_gone(here: Place) -> None:
    gone = ["sh", "-c", 'mkdir gone; cd gone; rmdir ../gone; exec "$@"', "sh"]
    for modules in ((), ("-m", "vfs:/mnt=/usr"), ("-m", "vfs:/=/")):
        words = ["run", *modules, "--", "echo", "ran"]
        result = viewos(*words, user=here.user, cwd=here.real, before=gone)
        assert (result.stdout, result.stderr) == (b"ran\n", b""), modules


# ---- the scratch directory ----------------------------------------------------------------------

TREE = """
from viewos import Entry, TreeModule

class Tree(TreeModule):
    mount_point = b"/notes"
    def entries(self, path): yield Entry.file(b"x", 4)
    def read(self, path): return b"abc\\n"
"""


def test_tmpdir_points_nowhere(here: Place) -> None:
    (here.real / "tree.py").write_text(TREE)
    for where in ("/no/where", "/proc", str(here.real / "file")):
        words = ["run", "-m", "tree.py", "--", "cat", "/notes/x"]
        result = viewos(*words, user=here.user, cwd=here.real, env={"TMPDIR": where})
        assert (result.stdout, result.stderr) == (b"abc\n", b""), where


READ_ONLY = """
for d in /tmp /var/tmp /usr/tmp; do
    mount --bind $d $d 2>/dev/null && mount -o remount,bind,ro $d
done; exec "$@"
"""


@as_root
def test_nowhere_to_write() -> None:
    """Only views that make something need it."""
    module = Path("/opt/viewos-tree.py")
    module.write_text(TREE)
    before = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh"]
    try:
        result = viewos("run", "-m", str(module), "--", "true", before=before, cwd="/proc")
        status, line = said(result)
        assert status == 125
        assert line.startswith("scratch directory: ") and "TMPDIR" in line
        words = ["run", "-m", "vfs:/mnt=/usr", "--", "ls", "-d", "/mnt/bin"]
        assert viewos(*words, before=before, cwd="/proc").stdout == b"/mnt/bin\n"
    finally:
        module.unlink()


# ---- stdout and stderr --------------------------------------------------------------------------


def shell(here: Place, script: str) -> subprocess.CompletedProcess[bytes]:
    """A shell script in which `viewos` is the command."""
    words = ["sh", "-c", f'viewos() {{ {python(here.user)} -m viewos "$@"; }}; {script}']
    path = {"PATH": "/usr/bin:/bin"}
    return run_in_view(None, words, user=here.user, cwd=here.real, env=path)


# What is closed or full -> the status.
STREAMS = {
    "viewos run -m zzz -- true 2>&-": 2,
    "viewos run -- zzz 2>&-": 127,
    "viewos run -m zzz -- true <&- >&- 2>&-": 2,
    "viewos run -- true >&- 2>&-": 0,
    "viewos run -m zzz -- true 2>/dev/full": 2,
    "viewos run -- zzz 2>/dev/full": 127,
    "viewos --version >&-": 125,
    "viewos modules >&- 2>&-": 125,
    "viewos doctor >&-": 125,
    "viewos run --help >&-": 125,
    "viewos stop --help >&-": 125,
    "viewos ps >&-": 125,
    "viewos stop nosuch >&-": 125,
    "viewos --version >/dev/full": 125,
    "viewos doctor >/dev/full": 125,
}


@as_one_user
@pytest.mark.parametrize("script", STREAMS)
def test_streams_that_are_closed_or_full(here: Place, script: str) -> None:
    result = shell(here, f"{script}; echo $?")
    assert result.stdout == b"%d\n" % STREAMS[script]
    assert b"Traceback" not in result.stderr
    if ">/dev/full" in script and "2>" not in script:
        assert result.stderr == b"viewos: standard output: No space left on device\n"


GONE = "the current directory has been removed"
# In a directory that has been removed -> what is said.
REMOVED = {
    "run -m vfs:/mnt=rel -- true": f"viewos: rel: {GONE}\n",
    "trace -o t -- true": f"viewos: t: {GONE}\n",
    "run --log l -- true": f"viewos: l: {GONE}\n",
    "run --why a": f"viewos: a: {GONE}\n",
    "run -m vfs:/mnt=/usr -- viewos run -m vfs:/srv=rel -- true":
        "viewos: vfs: HERE (deleted)/rel: no such file or directory"
        " (it should stand behind /srv)\n",
    "run -m vfs:/mnt=/usr -- viewos module add vfs:/mnt=x":
        "viewos: vfs: HERE (deleted)/x: no such file or directory (it should stand behind /mnt)\n",
    "run -m vfs:/mnt=/usr -- viewos module add vfs:/mnt=/var": "",
}  # fmt: skip


@as_one_user
@pytest.mark.parametrize("words", REMOVED)
def test_the_current_directory_has_been_removed(here: Place, words: str) -> None:
    """The user was told that there is no such file, but not which."""
    inner = words.replace("-- viewos", f"-- {python(here.user)} -m viewos")
    result = shell(here, f"mkdir gone; cd gone; rmdir ../gone; viewos {inner}")
    said = REMOVED[words].replace("HERE", f"{here.real}/gone")
    assert result.stderr.decode() == said
    assert result.returncode == (125 if said else 0)


@as_one_user
@pytest.mark.parametrize("words", [
    "trace -e BYTE -- true", "run -m BYTE -- true", "run -m vfs:BYTE -- true",
    "run --name BYTE -- true",
    "trace -o out -m vfs:/mnt=. -e failed -- cat /mnt/BYTE; grep -a emulated out >&2",
])  # fmt: skip
def test_bytes_that_are_no_characters_are_shown(here: Place, words: str) -> None:
    """As they are, and not as Python has them in its texts."""
    words = words.replace("BYTE", r"$(printf 'a\377')")
    said = shell(here, f"viewos {words}").stderr
    assert b"a\xff" in said and b"udcff" not in said


def test_a_reader_that_leaves(here: Place) -> None:
    result = shell(here, "{ viewos modules; echo $? >&2; } | true")
    assert result.stderr in (b"141\n", b"0\n")


# ---- other architectures ------------------------------------------------------------------------

CODE = bytes.fromhex("b801000000bb07000000cd80")  # i386: exit(7)
ARCH = r"""
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(int argc, char **argv) {
    long r;
    if (!strcmp(argv[1], "i386")) {
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory");
    } else {
        r = syscall(0x40000000 + SYS_getpid);
        if (r < 0) r = -errno;
    }
    puts(r > 0 ? "answered" : strerror(-r));
    return 0;
}
"""


def elf(machine: int) -> bytes:
    """A 32-bit executable: EM_386 (3), or the x32 kind of EM_X86_64 (62)."""
    base, header = 0x08048000, 52 + 32
    return (
        struct.pack(
            "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, machine, 1, base + header, 52, 0, 0,
            52, 32, 1, 0, 0, 0,
        )
        + struct.pack("<8I", 1, 0, base, base, header + len(CODE), header + len(CODE), 5, 4096)
        + CODE
    )  # fmt: skip


@pytest.mark.parametrize("machine", [3, 62], ids=["i386", "x32"])
@pytest.mark.parametrize("module", ["vfs:/=/", "vfs:/mnt=tree", "uid:5"])
def test_a_32_bit_program_is_refused(here: Place, module: str, machine: int) -> None:
    program = here.real / "old"
    program.write_bytes(elf(machine))
    program.chmod(0o755)
    words = ["run", "-m", module, "--"]
    result = viewos(*words, "./old", user=here.user, cwd=here.real)
    assert result.returncode == 126
    assert result.stderr.decode().splitlines() == [
        "viewos: ./old: a 32-bit program cannot run in a view (its system calls have another"
        " table): use a 64-bit one",
        "viewos: ./old: Exec format error",
    ]
    result = viewos(*words, "sh", "-c", "./old; echo $?", user=here.user, cwd=here.real)
    assert result.stdout == b"126\n"
    assert result.stderr.count(b"a 32-bit program") == 1


@pytest.mark.parametrize("kind", ["i386", "x32"])
@pytest.mark.parametrize("modules", [(), ("-m", "vfs:/=/"), ("-m", "uid:5")], ids=str)
def test_calls_of_another_table_do_not_slip_by(
    here: Place, modules: tuple[str, ...], kind: str
) -> None:
    source, program = here.real / "arch.c", here.real / "arch"
    source.write_text(ARCH)
    subprocess.run(["gcc", "-o", program, source], check=True, timeout=60)
    result = viewos("run", *modules, "--", "./arch", kind, user=here.user, cwd=here.real)
    assert result.stdout == b"Function not implemented\n"
    line = result.stderr.decode()
    assert line.count("\n") == 1 and "they fail with ENOSYS, use a 64-bit program" in line
