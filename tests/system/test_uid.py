"""A virtual root's files: each script natively as root, and in a view as somebody who is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import users
from tests.system.view import ONLY_IDS, run_in_view, scratch_directory, without_note

USER = 65534 if os.getuid() == 0 else os.getuid()
as_root = pytest.mark.skipif(os.getuid() != 0, reason="the native twin needs root")
LIST = "list() { find . -mindepth 1 -printf '%P %y %m %U:%G %n\\n' | sort; }\n"

SCRIPTS = {
    "chown": """
        touch a b; ln -s a link; mkdir d
        chown 5 a; chown :6 b; chown 7:8 d; chown -h 9:10 link; chown 11 link; list
        chmod 4755 a; list; chown 12 a; list; chmod 2644 a; chown 13 a; list
        chmod 6755 b; chown :77 b; list; chmod 7777 d; chown 3 d; list
        chown -R 0:0 .; list
    """,
    "modes": """
        touch a; chmod 0 a; echo x > a; cat a; mkdir -m 0 d; touch d/inside; list
        (umask 777; touch b; mkdir e; mkfifo f); list
        python3 -c 'import os; os.close(os.open("c", os.O_CREAT | os.O_WRONLY, 0o400))'
        echo y > c; cat c; list; mkdir -m 3711 g; list
        python3 -c 'import os; f = os.open("a", 0); os.fchmod(f, 0o6111)'
        list
    """,
    "devices": """
        mknod null c 1 3; mknod -m 600 disk b 259 70000; mknod p p; list
        stat -c '%n %F %t %T' null disk p
        python3 -c 'import os; print([os.lstat(f).st_rdev for f in ("null", "disk", "p")])'
        mv disk d2; ln null n2; list; rm null; chown 4:5 n2; list
    """,
    "set-group-id": """
        mkdir d; chown 0:50 d; chmod 2775 d; mkdir d/e; touch d/f; ln -s f d/l; mkfifo d/p; list
        mkdir d/e/deeper; chmod 777 .
        setpriv --reuid 5 --regid 6 --clear-groups sh -c 'touch x; id -u'
        chmod g-s d; touch d/g; list
    """,
    "moving": """
        echo 1 > a; echo 2 > b; mkdir d e; chown 1:1 a; chown 2:2 b; chown 3:3 d; touch d/x
        mv a c; list; mv c b; list; ln b d/l; list; chown 4 d/l; list
        python3 -c 'import os; os.rename("d", "e")'; list; rm e/l; list; rm -r e; mkdir e; list
        exec 5> open; chown 9 open; rm open; stat -Lc '%u %h' /proc/self/fd/5; touch open; list
    """,
    "dropped": """
        touch mine; chmod 777 .
        setpriv --reuid 1234 --regid 99 --clear-groups sh -c '
            touch his; mkdir hisdir; ln -s x hislink; chmod 2755 hisdir
            chown 0 his; chown :98 his; chown :99 his; chmod 600 mine; chown 1234 mine
            mknod dev c 1 3; setfattr -n trusted.x -v 1 his'
        list
    """,
    "attributes": """
        touch a; ln -s a l; mkdir d; setfattr -n trusted.x -v 12 a; setfattr -n trusted.y -v 3 a
        getfattr -d -m - a; setfattr -x trusted.x a; getfattr -d -m - a; setfattr -x trusted.x a
        setfattr -hn trusted.z -v 4 l; getfattr -hd -m - l; setcap cap_net_raw+ep a; getcap a
        chown 5 a; getcap a; getfattr -n trusted.y a
        python3 -c '
        import errno, os
        for flags in (os.XATTR_CREATE, os.XATTR_REPLACE, os.XATTR_REPLACE, os.XATTR_CREATE):
            try: os.setxattr("d", b"trusted.q", b"7", flags)
            except OSError as error: print(errno.errorcode[error.errno])
        print(os.listxattr("d"), os.getxattr("d", b"trusted.q"))
        os.removexattr("d", b"trusted.q"); print(os.listxattr("d"))'
    """,
    "attributes that cannot be": """
        touch f; mkdir d; ln -s f l; mknod c c 1 3; mknod b b 8 1; mkfifo p; mknod w c 0 0
        cat > try.py << EOF
        import errno, os
        def told(*name):
            call, *args = name
            try: result = call(*args, follow_symlinks=False)
            except OSError as error: result = errno.errorcode[error.errno]
            print(call.__name__, *[str(arg)[:12] for arg in args], result)
        names = ("trusted.", "security.", "user.", "system.", "trusted", "", "trusted." + "x" * 248,
                 "security." + "x" * 246, "security." + "x" * 247, "user.a", "user." + "x" * 251)
        for name in names:
            for file in "fdlcbp":
                told(os.setxattr, file, name, b"1", 0)
                told(os.setxattr, file, name, b"1", os.XATTR_CREATE)
                told(os.setxattr, file, name, b"1", os.XATTR_REPLACE)
                told(os.removexattr, file, name)
                told(os.removexattr, file, name)
                told(os.listxattr, file)
        fd = os.open("f", os.O_RDONLY)
        for name in names:
            for call in (lambda: os.setxattr(fd, name, b"1"), lambda: os.removexattr(fd, name)):
                try: print(name[:12], call())
                except OSError as error: print(name[:12], errno.errorcode[error.errno])
        EOF
        python3 try.py
        chmod 755 .; setpriv --reuid 1234 --regid 99 --clear-groups python3 -c '
        import errno, os
        for name in ("trusted.", "security."):
            for call in (lambda: os.setxattr("f", name, b"1"), lambda: os.removexattr("f", name)):
                try: print(call())
                except OSError as error: print(errno.errorcode[error.errno])'
    """,
    "access lists": """
        touch a; mkdir d; chmod 640 a; setfacl -m u:5:rwx,g:6:r a; getfacl -n a; list
        chmod 777 a; getfacl -n a; chmod 700 a; getfacl -n a; list
        setfacl -b a; getfacl -n a; setfacl -d -m u:7:rx d; getfacl -n d
        touch d/f; mkdir d/e; getfacl -n d/f d/e; setfacl -d -m u:7:rx a
    """,
    "default lists": """
        shown() { stat -c '%n %a' D/* E/*; getfacl -n D/* E/*; }
        mkdir D E F; setfacl -d -m u:5:rwx D; setfacl -d -m u::rwx,g::r-x,o::--x E; touch F/before
        for d in D E; do for mask in 022 077 0 0227; do (umask $mask
        touch $d/f$mask; mkdir $d/d$mask; mkdir -m 1700 $d/m$mask; mkfifo $d/p$mask
        mknod $d/c$mask c 1 5; ln -s f$mask $d/l$mask; mkdir $d/d$mask/e; touch $d/d$mask/e/f
        stat -c '%n %a' $d/d$mask/e $d/d$mask/e/f; touch F/f$mask; mkdir F/d$mask); done; done
        python3 -c '
        import os
        for mode in (0o666, 0o600, 0o444, 0o4755, 0o1777, 0o2, 0):
            os.close(os.open("D/o%o" % mode, os.O_CREAT | os.O_WRONLY, mode))
            os.close(os.open("E/o%o" % mode, os.O_CREAT | os.O_WRONLY, mode))'
        shown; stat -c '%n %a' F/*; setfacl -k D; touch D/last; mkdir D/dir; shown
        busybox touch E/static; cp F/before E/copied; stat -c %a E/static E/copied
    """,
    "special bits": """
        umask 027; python3 -c '
        import os, stat
        for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFREG, stat.S_IFSOCK):
            for mode in (0o1755, 0o4711, 0o2755, 0o7777, 0o1000, 0o1044):
                name = "%o" % (kind | mode)
                os.mknod(name, kind | mode, 5)
                print(name, "%o" % os.lstat(name).st_mode)
        for mode in (0o1755, 0o4711, 0o2755, 0o7777, 0o1000):
            os.mkdir("d%o" % mode, mode)
            os.close(os.open("f%o" % mode, os.O_CREAT | os.O_RDWR, mode))'
        list
    """,
    "openat2": """
        cat > try.py << EOF
        import ctypes, errno, fcntl, os, struct
        libc = ctypes.CDLL(None, use_errno=True)
        def make(name, flags, mode, resolve):
            how = struct.pack("3Q", flags | os.O_CREAT | os.O_WRONLY, mode, resolve)
            fd = libc.syscall(437, -100, name.encode(), how, len(how))
            if fd < 0: return print(name, errno.errorcode[ctypes.get_errno()])
            print(name, fcntl.fcntl(fd, fcntl.F_GETFD))
            os.close(fd)
        for number, resolve in enumerate((0, 4, 8, 16)):
            for mode in (0o4604, 0o666, 0o7777, 0o10000) + (0o44,) * (not os.getuid()):
                for flags in (0, os.O_CLOEXEC, os.O_EXCL):
                    make("%s/%d-%o" % (os.environ["D"], number, mode), flags, mode, resolve)
        make("none/x", 0, 0, 0); make("/%s/x" % os.environ["D"], 0, 0o600, 16)
        EOF
        mkdir d e f; chmod 777 d f; chown :50 f; chmod g+s f; setfacl -d -m u:5:rwx e
        D=d python3 try.py; D=e python3 try.py
        D=f setpriv --reuid 1234 --regid 99 --clear-groups python3 try.py; list
    """,
    "programs": """
        chmod 755 .; cp /usr/bin/id id; chmod 4755 id; cp /usr/bin/id gid; chown 5:6 gid
        chmod 6755 gid; cp /usr/sbin/capsh capsh; chmod 755 capsh
        setcap cap_chown,cap_kill+ep capsh
        as() { setpriv --reuid 1234 --regid 99 --clear-groups "$@"; }
        as ./id -u; as ./id -ru; as ./gid; as ./capsh --has-p=cap_chown && echo has
        as setpriv --no-new-privs ./id -u; as sh -c './id -u'; ./gid; as env LD_X=1 ./id -g
        as ./capsh --has-p=cap_sys_admin || echo has not; as /usr/bin/id -u; setpriv -d | head -4
    """,
    "archives": """
        mkdir -p t/d; for i in 1 2 3 4 5 6 7; do echo $i > t/$i; chown $i:$((i+10)) t/$i; done
        chmod 4711 t/1; chmod 0 t/2; mknod t/dev b 3 4; chown 8:9 t/d
        tar --numeric-owner --sort=name --mtime=@0 -cf t.tar t; sha256sum < t.tar
        mkdir u; tar -xpf t.tar -C u; list
        (cd t; find . | cpio --quiet -o -H newc > ../t.cpio 2> /dev/null); mkdir v
        (cd v; cpio --quiet -i -d < ../t.cpio); cp -a t w; install -o 3 -g 4 -m 6750 t/1 x; list
    """,
    "priorities": """
        nice -n -5 nice; nice -n -5 nice -n -30 nice; nice -n 3 nice -n -3 nice
        renice -n -7 -p 999999
        nice -n -5 python3 -c '
        import os, resource
        def lower(value):
            try: os.setpriority(os.PRIO_PROCESS, 0, value)
            except OSError as error: print(error.strerror)
            print(value, os.getpriority(os.PRIO_PROCESS, 0))
            if os.fork() == 0: os._exit(os.getpriority(os.PRIO_PROCESS, os.getppid()) + 20)
            print(os.wait()[1] >> 8)
        for value in (-5, -11, -2, 4, -99, 99, -1): lower(value)
        os.setpriority(os.PRIO_PROCESS, 0, -4)
        resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
        os.setresuid(1234, 1234, 1234)
        for value in (-5, -4, -3, -4, 7, 6): lower(value)'
        ionice; ionice -c 1 -n 3 ionice; ionice -c 1 ionice -c 2 -n 7 ionice; ionice -c 3 ionice
        ionice -c 1 sh -c 'ionice -p $$; ionice -c 3 true; ionice -p 999999'
        setpriv --reuid 1234 --clear-groups ionice -c 1 true
        setpriv --reuid 1234 --clear-groups nice -n -1 true
    """,
    "others": """
        u=$((100000 + $$)) # natively another user in each run
        sleep 60 & a=$!; setpriv --reuid $u --clear-groups setsid sleep 60 & b=$!; sleep 0.2
        show() { for p in $a $b; do nice=$(python3 -c 'import os, sys
        print(os.getpriority(0, int(sys.argv[1])))' $p); echo $nice $(ionice -p $p); done; }
        show; renice -n -5 -p $a $b >/dev/null; show; renice -n 3 -p $a >/dev/null; show
        renice -n -7 -u $u >/dev/null; show
        ionice -c 1 -n 2 -p $a $b; show; ionice -c 2 -n 5 -u $u; show; ionice -c 1 -u $u; show
        setpriv --reuid $u --clear-groups renice -n -9 -p $a 2>&1 | sed 's/[0-9]* (/(/'
        setpriv --reuid $u --clear-groups renice -n -9 -p $b 2>&1 | sed 's/[0-9]* (/(/'
        setpriv --reuid $u --clear-groups renice -n 15 -p $b >/dev/null; show
        setpriv --reuid $u --clear-groups ionice -c 3 -p $a; show
        setpriv --reuid $u --clear-groups ionice -c 3 -p $b; show
        setsid sh -c 'sleep 60 & echo $! >pid; renice -n -3 -g 0 >/dev/null; nice; ionice -c 1 -P 0
        python3 -c "import os; print(os.getpriority(1, 0))"; ionice -P 0; kill $(cat pid)'
        kill $a $b; renice -n 0 -u 9$u 2>&1 | sed s/9$u//; ionice -c 1 -u 9$u
    """,
    "ids": """
        id; setpriv --reuid nobody --regid nogroup --clear-groups id
        setpriv --reuid 7 --init-groups true
        setpriv --dump | grep -v Securebits | head -3; capsh --has-p=cap_chown
    """,
}


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that everybody may write to, for two runs that call it the same."""
    with scratch_directory("viewos-uid-") as path:
        yield path


def _run(modules: list[str] | None, user: int, place: Path, script: str, pure: str = "") -> str:
    place.mkdir()
    os.chown(place, user, user)
    lines = "\n".join(line[8:] for line in script.splitlines())
    argv = ["sh", "-c", LIST + "umask 022\n" + lines]
    if modules is None:
        argv = ["setpriv", "--clear-groups", *argv]
    result = run_in_view(
        modules, argv, user=user, cwd=place, stderr=subprocess.STDOUT, env={"VIEWOS_PURE": pure}
    )
    return re.sub(r"\d+ blocks\n", "", without_note(result.stdout).decode())


@as_root
@pytest.mark.parametrize("pure", ["", "1"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_as_root_would(scratch: Path, name: str, pure: str) -> None:
    """By the accelerator, and by Python alone."""
    natively = _run(None, 0, scratch / "native", SCRIPTS[name])
    virtually = _run(["uid:0:0"], USER, scratch / "view", SCRIPTS[name], pure)
    assert virtually == natively


@as_root
@pytest.mark.parametrize("name", ["chown", "modes", "devices", "dropped", "attributes"])
def test_behind_another_name(scratch: Path, name: str) -> None:
    """What is remembered belongs to the backing."""
    natively = _run(None, 0, scratch / "native", SCRIPTS[name])
    backing = scratch / "view"
    backing.mkdir(mode=0o755)
    os.chown(backing, USER, USER)
    lines = "\n".join(line[8:] for line in SCRIPTS[name].splitlines())
    argv = ["sh", "-c", LIST + "umask 022; cd /mnt\n" + lines]
    result = run_in_view(
        [f"vfs:/mnt={backing}", "uid:0"], argv, user=USER, stderr=subprocess.STDOUT
    )
    assert without_note(result.stdout).decode() == natively


CHROOT = """
        mkdir -p rt/bin rt/etc rt/x/y rt/d; cp /bin/busybox rt/bin/; cd rt/bin
        for i in sh ls cat pwd id readlink stat chroot mkdir mknod; do ln -s busybox $i; done
        cd ../..; ln -s /x/y rt/abs; echo root:x:0:0::/:/bin/sh > rt/etc/passwd
        printf '#!/bin/sh\\necho script $0\\n' > rt/x/s; chmod 755 rt/x/s
        chroot rt /bin/sh -c '
            pwd; ls /; cd /x/y; pwd; cd ../../..; pwd; ls -d abs/..; ls /abs/..; cat /etc/passwd
            cd /; ls ..; ls ../..; cat ../../etc/passwd; cat x/../../etc/passwd
            cd x; ls ../..; ls ../../x/..
            busybox ln -s ../../etc up; ls up/; stat -c %n ../../../x; ls /..; ls /../x/../../etc
            /x/s; ls /usr; chroot /x /s; chroot / /bin/pwd; stat -c %u /etc/passwd; cd /x; pwd
            mknod /d/null c 1 3; stat -c "%F %t %T" /d/null; readlink /abs; id -u'
        chroot nowhere true; chroot rt/etc/passwd true; chroot --userspec=5:6 rt /bin/id -u
        setpriv --reuid 5 --clear-groups --regid 5 chroot rt /bin/id
        ls -l rt/d | cut -c 1-10; pwd | sed 's,.*/,,'"""


@as_root
@pytest.mark.parametrize("pure", ["", "1"])
def test_another_root_directory(scratch: Path, pure: str) -> None:
    natively = _run(None, 0, scratch / "native", CHROOT)
    modules = ["vfs:/=/", "uid:0:0"]
    virtually = _run(modules, USER, scratch / "view", CHROOT, pure)
    assert virtually == natively.replace("native", "view")


def test_a_root_directory_takes_claims(scratch: Path) -> None:
    argv = ["chroot", str(scratch), "true"]
    result = run_in_view(["uid:0"], argv, user=USER)
    assert b"viewos: chroot needs a view with a claim on all paths" in result.stderr
    assert result.returncode == 125


DROP = """
        mkdir pub priv; echo s > priv/secret; echo t > pub/top; chmod 700 priv; chmod 600 pub/top
        echo r > pub/read; chmod 644 pub/read; mkdir -m 1777 tmp; touch tmp/roots; chmod 755 .
        printf '#!/bin/sh\necho ran\n' > pub/run; chmod 744 pub/run
        as() { setpriv --reuid 1234 --regid 99 --clear-groups "$@"; }
        as cat pub/read priv/secret pub/top; as sh -c 'echo x > pub/new'; as sh -c 'echo > pub/read'
        as touch tmp/mine; as rm -f tmp/roots; as mv tmp/roots tmp/x; as rm tmp/mine; as ls priv
        as ls -l priv/secret; as pub/run; as sh -c 'cd priv'; as mkdir pub/d; as ln -s x pub/l
        as ln pub/read pub/hard; as chmod 777 pub/read; as test -r pub/top || echo unreadable
        as test -w pub/read || echo unwritable; test -w pub/read && echo root writes
        chmod 640 pub/top; chown 0:99 pub/top; as cat pub/top; chown 1234 priv; as cat priv/secret
        as sh -c 'echo mine > priv/n; cat priv/n'; as kill -0 $$ 2> /dev/null || echo no signal
        as grep -E '^(Uid|Gid|Groups|CapEff|CapPrm):' /proc/self/status; stat -c %u /proc/self
        as sh -c 'stat -c "%u %g" /proc/$$'; as truncate -s 0 pub/read; as sh -c 'cd pub; cat read'
        setfacl -m u:1234:rw pub/read; as sh -c 'echo acl > pub/read'; cat pub/read"""


@as_root
def test_who_drops_the_root_loses_it(scratch: Path) -> None:
    natively = _run(None, 0, scratch / "native", DROP)
    virtually = _run(["uid:0:0,drop"], USER, scratch / "view", DROP)
    assert virtually == natively


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["run", "-m", "uid:0", "--"], ONLY_IDS),
        (["run", "-m", "uid:0,drop", "--"], b""),
        (["run", "-m", "uid:7", "--"], b""),
        (["fakeroot", "--"], b""),
    ],
)
def test_that_only_ids_change_is_said_once(command: list[str], said: bytes) -> None:
    program = (
        "import os\n"
        "for _ in range(2):\n"
        "    if os.fork() == 0:\n"
        "        os.setuid(7); os._exit(0)\n"
        "    os.wait()\n"
    )
    argv = [sys.executable, "-m", "viewos", *command, "/usr/bin/python3", "-S", "-c", program]
    result = run_in_view(None, argv, user=USER, check=True)
    assert (result.stdout, result.stderr) == (b"", said)


def test_the_real_files_stay_the_users(scratch: Path) -> None:
    """Nothing of what a virtual root does gives anything away."""
    _run(["uid:0"], USER, scratch / "view", SCRIPTS["chown"] + "        chmod 6711 a b")
    for path in (scratch / "view").iterdir():
        found = path.lstat()
        assert (found.st_uid, found.st_gid) == (USER, USER if os.getuid() == 0 else found.st_gid)
        assert not found.st_mode & 0o6000


def test_a_static_program_and_raw_calls(scratch: Path) -> None:
    script = "        busybox touch a; busybox chown 5:6 a; busybox stat -c '%u %g' a\n"
    script += '        python3 -c \'import os; os.chown("a", 7, -1); print(os.stat("a").st_uid)\''
    assert _run(["uid:0"], USER, scratch / "view", script) == "5 6\n7\n"


def test_files_of_which_nothing_is_remembered(scratch: Path) -> None:
    script = "        touch a; stat -c '%u %g' a /etc/passwd /proc/self/fd /bin/sh"
    root = "0 0\n" * 4
    assert _run(["uid:0"], USER, scratch / "a", script) == root
    real = f"0 0\n{root[4:12]}0 0\n"
    assert _run(["uid:0,unknown=real"], USER, scratch / "b", script).splitlines()[0] == "0 0"
    shown = _run(["uid:1234:99"], USER, scratch / "c", script).splitlines()
    assert shown == ["1234 99", "0 0", "1234 99", "0 0"], real
    shown = _run([f"uid:0,map={USER}=42"], USER, scratch / "d", script).splitlines()
    assert shown[1:] == ["0 0", "42 42", "0 0"]


# ---- what is saved ------------------------------------------------------------------------------

MAKE = """
        touch a b c; mkdir d; chown 5:6 a; chmod 4755 b; mknod n c 1 3; chown 7 d; chown 8 c; rm c
        setfattr -n trusted.x -v 1 a"""
LOOK = """
        stat -c '%n %u:%g %f %t,%T' *; getfattr --only-values -n trusted.x a"""


def test_views_one_after_the_other(scratch: Path) -> None:
    log = scratch / "log"
    scratch.chmod(0o777)
    first = _run([f"uid:0,save={log}"], USER, scratch / "view", MAKE + LOOK)
    again = [f"uid:0,save={log}", f"uid:0,load={log}"]
    for modules in again:
        argv = ["sh", "-c", LOOK.strip()]
        found = run_in_view([modules], argv, user=USER, cwd=scratch / "view", check=True)
        assert found.stdout.decode() == first, modules


def test_fakeroot_and_this_one_understand_each_other(scratch: Path) -> None:
    scratch.chmod(0o777)
    place, theirs, ours = scratch / "view", scratch / "theirs", scratch / "ours"
    place.mkdir()
    os.chown(place, USER, USER)
    look = ["sh", "-c", "stat -c '%n %u:%g %f %t,%T' *"]
    make = MAKE.split("setfattr")[0].strip()

    def run(*words: str) -> str:
        result = run_in_view(None, words, user=USER, cwd=place, check=True)
        return result.stdout.decode()

    mine = [users.python(USER), "-m", "viewos", "fakeroot"]
    run("fakeroot", "-s", str(theirs), "sh", "-c", make)
    shown = run("fakeroot", "-i", str(theirs), *look)
    assert run(*mine, "-i", str(theirs), "-s", str(ours), "--", *look) == shown
    assert sorted(_essence(ours)) == sorted(_essence(theirs))
    assert run("fakeroot", "-i", str(ours), *look) == shown


def _essence(path: Path) -> list[str]:
    return [re.sub(r"nlink=\d+,", "", line) for line in path.read_text().splitlines()]
