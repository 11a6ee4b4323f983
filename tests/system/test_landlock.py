"""A rule of Landlock on a directory reaches what is mounted beneath it: claims are mounts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.view import run_in_view, scratch_directory

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mount --bind"),
]
NOBODY = 65534
SCRIPT = r"""
import ctypes, errno, os, struct, sys
ADD_RULE, call = 445, ctypes.CDLL(None, use_errno=True).syscall
EXECUTE, WRITE, READ, READ_DIR = 1, 2, 4, 8
def said(result):
    return "OK" if result >= 0 else errno.errorcode[ctypes.get_errno()]
def tried(path, flags=os.O_RDONLY):
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "OK"
os.chdir(sys.argv[1])
handled = struct.pack("=QQQ", EXECUTE | WRITE | READ | READ_DIR, 0, 0)
rules = call(444, handled, 24, 0)
out = os.open("out", os.O_PATH)
def add(access, parent, kind=1, flags=0, fd=rules):
    return said(call(ADD_RULE, fd, kind, struct.pack("=Qi", access, parent), flags))
print(add(0, out), add(1 << 40, out), add(READ, 99), add(READ, out, 7), add(READ, out, 1, 1))
print(add(READ, out, fd=99), add(READ, out, fd=out), add(READ, rules))
print(said(call(ADD_RULE, rules, 1, 8, 0)), add(READ | READ_DIR, out))
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
print(said(call(446, rules, 0)))
for name in ("out/f", "out/in/f", "out/in/deep/f", "out/file", "other/f", "out/in", "other"):
    print(name, tried(name), tried(name, os.O_WRONLY), tried(name + "/..", os.O_RDONLY))
"""
MOUNTS = ("out/in=a", "out/in/deep=b", "out/file=c/f", "other=d")


@pytest.fixture
def tree() -> Iterator[Path]:
    with scratch_directory("viewos-landlock-") as path:
        for name in ("out/in", "other", "a/deep", "b", "c", "d"):
            (path / name).mkdir(parents=True)
        for name in ("out/f", "out/file", "a/f", "b/f", "c/f", "d/f"):
            (path / name).write_text(name)
        for name in (path, *path.rglob("*")):
            shutil.chown(name, NOBODY, NOBODY)
        yield path


def _in_view(tree: Path, user: int, **env: str) -> bytes:
    mounts = ",".join(f"{tree}/{m.replace('=', f'={tree}/')}" for m in MOUNTS)
    argv = ["python3", "-IS", "-c", SCRIPT, str(tree)]
    done = run_in_view([f"vfs:{mounts}"], argv, user=user, env=env, check=True)
    assert done.stderr == b""
    return done.stdout


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("env", [{}, {"VIEWOS_PURE": "1"}], ids=["C", "Python"])
def test_a_rule_reaches_the_claims_beneath_it(tree: Path, user: int, env: dict[str, str]) -> None:
    binds = "".join(
        f"mount --bind {tree}/{backing} {tree}/{point} && "
        for point, _, backing in (m.partition("=") for m in MOUNTS)
    )
    argv = ["unshare", "--mount", "sh", "-c", binds + 'exec python3 -IS -c "$@"', "sh"]
    natively = run_in_view(None, [*argv, SCRIPT, str(tree)])
    if natively.returncode != 0:
        pytest.skip(natively.stderr.decode())
    assert b"out/in/deep/f OK EACCES" in natively.stdout
    assert _in_view(tree, user, **env) == natively.stdout


EXECUTES = r"""
import ctypes, os, struct, sys
call = ctypes.CDLL(None, use_errno=True).syscall
rules = call(444, struct.pack("=QQQ", 1, 0, 0), 24, 0)
for path in ("/usr", *sys.argv[2:]):
    call(445, rules, 1, struct.pack("=Qi", 1, os.open(path, os.O_PATH)), 0)
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
assert not call(446, rules, 0)
for path in (sys.argv[1], os.path.relpath(sys.argv[1])):
    child = os.posix_spawnp("sh", ["sh", "-c", '"$0" || echo $?', path], os.environ)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("pure", ["", "1"])
def test_a_script_that_may_not_be_executed(tree: Path, user: int, pure: str) -> None:
    """The kernel is handed its interpreter, which may be."""
    script = tree / "a" / "script"
    script.write_text("#!/bin/echo ran\n")
    script.chmod(0o755)
    for rules, expected in ([], 2 * b"126\n"), ([str(tree / "a")], b"ran "):
        argv = ["python3", "-IS", "-c", EXECUTES, str(script), *rules]
        natively = run_in_view(None, argv, user=user, cwd=str(tree))
        env = {"VIEWOS_PURE": pure}
        seen = run_in_view(["vfs:/=/"], argv, user=user, env=env, cwd=str(tree))
        assert natively.stdout.startswith(expected)
        assert (seen.stdout, seen.stderr) == (natively.stdout, natively.stderr)
