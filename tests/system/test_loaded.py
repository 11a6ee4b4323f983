"""Programs that are started through their loader, of which no copy is made, beside a chroot."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .users import NOBODY
from .view import run_in_view

pytestmark = pytest.mark.timeout(60)
SOURCE = Path(__file__).parent / "witness" / "loaded.c"
GLIBC, MUSL = b"/lib64/ld-linux-x86-64.so.2", b"/lib/ld-musl-x86_64.so.1"
MUSL_HERE = b"/lib64/ld-my-x86_64.so.1"
PASSED = ("usr", "etc", "proc", "dev", "lib")
NOT_COPIED = 9 << 20
CHROOT = f'for n in {" ".join(PASSED)}; do mount --rbind /$n "$1/$n"; done; exec chroot "$@"'
LINKED = ["-DLIBRARY", "-Wl,-rpath,$ORIGIN/../lib"]
COMPILERS = {
    "glibc": ["gcc", *LINKED],
    "glibc, at its address": ["gcc", "-no-pie", *LINKED],
    "musl": ["musl-gcc"],
}
SCRIPTS = {
    "absolute": "/work/bin/p x",
    "relative": "bin/p x; ./bin/p; cd bin; ./p; ../bin/p y; PATH=:$PATH; p",
    "links": "/work/link x; ./link; cd bin; ../link; ../of-bin/p; /work/of-bin/p",
    "script": "./script a; /work/script",
    "itself": "bin/p again; ./link again",
    "descriptor": """/work/bin/p 3</work/bin/p; exec 3<bin/p; /dev/fd/3 x; /proc/self/fd/3
        python3 -c 'import os; os.execve(3, ["a", "b"], {})'""",
    "other names": "bash -c 'exec -a \"\" bin/p'; bash -c 'exec -a \"x y\" ./bin/p q'",
}


@pytest.fixture(scope="module", params=COMPILERS)
def top(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A root directory with loaders of its own."""
    top = Path(tempfile.mkdtemp(prefix="viewos-loaded-"))
    for name in (*PASSED, "lib64", "work/bin", "work/lib"):
        (top / name).mkdir(parents=True)
    (top / "bin").symlink_to("usr/bin")
    for name, here in (GLIBC, GLIBC), (MUSL, MUSL_HERE):
        shutil.copy(name, os.fsencode(top) + here)
    work = top / "work"
    library, program = work / "lib/library.so", work / "bin/p"
    make = ["gcc", "-x", "c", "-", "-shared", "-Wl,-soname,library.so", "-o", library]
    subprocess.run(make, input=b"int from_library = 1;", check=True, timeout=60)
    compiler = COMPILERS[request.param]
    libraries = [library] if LINKED[0] in compiler else []
    subprocess.run([*compiler, SOURCE, *libraries, "-o", program], check=True, timeout=60)
    program.write_bytes(program.read_bytes().replace(MUSL, MUSL_HERE))
    os.truncate(program, NOT_COPIED)
    (work / "link").symlink_to("bin/p")
    (work / "of-bin").symlink_to("bin")
    (work / "script").write_text("#!/work/bin/p -y\n")
    (work / "script").chmod(0o755)
    for path in (top, *top.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    try:
        yield top
    finally:
        shutil.rmtree(top)


def says(top: Path, script: str, user: int | None, **kw: object) -> str:
    """What a script says, None: in a chroot."""
    words = ["/bin/sh", "-c", f"exec 2>&1; cd /work; {script}"]
    if user is None:
        before = ("unshare", "-m", "--propagation", "private", "sh", "-c", CHROOT, "sh", str(top))
        done = run_in_view(None, words, before=before, timeout=30)
    else:
        module = f"vfs:/={top}" + "".join(f",/{name}=/{name}" for name in PASSED)
        done = run_in_view([module], words, user=user, cwd="/", timeout=30)
    return (done.stdout + done.stderr).decode()


@pytest.mark.skipif(os.getuid() != 0, reason="chroot(2) takes CAP_SYS_CHROOT")
@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_is_as_in_a_chroot(
    name: str, user: int, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = says(top, SCRIPTS[name], None)
    assert "loader 1" in expected
    for pure in ("", "1"):
        monkeypatch.setenv("VIEWOS_PURE", pure)
        assert says(top, SCRIPTS[name], user) == expected


@pytest.mark.skipif(os.getuid() != 0, reason="chroot(2) takes CAP_SYS_CHROOT")
def test_who_may_not_name_it_from_the_root(top: Path) -> None:
    """A relative name needs no permission above the working directory."""
    script = """
        mkdir -p closed/bin; cp bin/p closed/bin; chmod 700 closed; cd closed/bin
        LD_LIBRARY_PATH=/work/lib setpriv --reuid=1234 --clear-groups ./p x; rm -r /work/closed"""
    expected = says(top, script, None)
    assert "./p x: executed ./p\nloader 1" in expected
    assert says(top, script, 0) == expected
