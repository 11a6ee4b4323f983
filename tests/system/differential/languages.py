"""Interpreters, their libraries for files, and what they pack."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import TREE, Case, Table

TABLE: Table = {
    "python os": Case(
        r"""
        python3 -IS - <<'E'
import os, stat, shutil, tempfile, glob, pathlib, filecmp, fnmatch, errno
def t(f, *a, **k):
    try: r = f(*a, **k)
    except OSError as e: r = f"{type(e).__name__} {errno.errorcode[e.errno]} {e.filename} {e.filename2}"
    print(f.__name__, a, k, r)
    return r
for root, dirs, files in sorted(os.walk("tree")): print(root, sorted(dirs), sorted(files))
for e in sorted(os.scandir("tree"), key=lambda e: e.name): print(e.name, e.is_dir(), e.is_file(), e.is_symlink(), e.stat(follow_symlinks=False).st_size if not e.is_dir() else "")
d = os.open("tree", os.O_RDONLY | os.O_DIRECTORY)
for name in ("one", "link", "dangling", "a", "missing", "dirlink/deep", "../tree/one", "/mnt/tree/one"):
    t(os.access, name, os.W_OK, dir_fd=d); t(os.readlink, name, dir_fd=d)
    r = None
    try: s = os.stat(name, dir_fd=d, follow_symlinks=False); print(oct(s.st_mode), s.st_nlink, s.st_mtime_ns)
    except OSError as e: print(e)
t(os.mkdir, "new", 0o700, dir_fd=d); t(os.rename, "one", "uno", src_dir_fd=d, dst_dir_fd=d)
t(os.link, "uno", "dos", src_dir_fd=d, dst_dir_fd=d); t(os.symlink, "x", "y", dir_fd=d)
t(os.unlink, "dos", dir_fd=d); t(os.rmdir, "new", dir_fd=d); t(os.mkfifo, "pipe", 0o600, dir_fd=d)
t(os.chmod, "uno", 0o640, dir_fd=d); t(os.utime, "uno", ns=(10**18, 10**18 + 1), dir_fd=d)
t(os.utime, "link", (1, 2), dir_fd=d, follow_symlinks=False)
t(os.replace, "tree/uno", "tree/one"); t(os.removedirs, "tree/empty"); t(os.makedirs, "p/q/r")
t(os.makedirs, "p/q"); t(os.removedirs, "p/q/r"); t(os.listdir, "missing")
t(os.listdir, "tree/one"); t(os.chdir, "tree/one"); t(os.truncate, "tree/run", 5)
t(os.link, "tree/link", "ln", follow_symlinks=False); t(os.link, "tree/link", "ln2")
t(os.setxattr, "tree/one", "user.x", b"1"); t(os.listxattr, "tree/one")
t(os.getxattr, "tree/one", "user.none"); t(os.removexattr, "tree/one", "user.x")
t(os.statvfs, "missing"); print(os.statvfs("tree").f_namemax)
t(os.open, "tree/one", os.O_CREAT | os.O_EXCL); t(os.open, "tree/link", os.O_NOFOLLOW)
t(os.open, "tree/one", os.O_DIRECTORY); t(os.open, "tree", os.O_WRONLY); t(os.open, "", 0)
t(os.open, "x" * 5000, 0)
os.chdir(d); print(os.getcwd()); os.fchdir(os.open("a", 0)); print(os.getcwd(), os.listdir("."))
os.chdir(".."); t(os.open, b"gr\xc3\xb6\xc3\x9fe", 0)
print(sorted(glob.glob("**", recursive=True))); print(sorted(pathlib.Path(".").rglob("*e*")))
print(pathlib.Path("absolute").resolve(), os.path.realpath("dirlink/.."), os.path.samefile("one", "a/hard"), os.path.ismount("/mnt/tree"), os.path.exists("dangling"), os.path.lexists("dangling"))
shutil.copytree(".", "/mnt/copy", symlinks=True, ignore=shutil.ignore_patterns("fifo", "pipe"))
shutil.copy2("one", "two"); shutil.move("two", "a"); shutil.make_archive("/mnt/arch", "tar", "a")
print(shutil.which("sh"), shutil.disk_usage(".").total > 0, filecmp.cmp("one", "a/hard"), filecmp.dircmp(".", "/mnt/copy").left_only)
shutil.rmtree("/mnt/copy"); os.unlink("/mnt/arch.tar")
with tempfile.TemporaryDirectory(dir="/mnt") as x: open(x + "/f", "w").close()
with tempfile.TemporaryFile(dir="/mnt") as x: x.write(b"1"); print(os.fstat(x.fileno()).st_nlink)
with tempfile.NamedTemporaryFile(dir="/mnt") as x: print(stat.filemode(os.stat(x.name).st_mode))
print(os.listdir("/mnt"))
E
    """,
        given=TREE,
    ),
    "python packages": """
        mkdir -p pkg/sub
        echo 'print(__name__, __file__); from . import sub; import data' >pkg/__init__.py
        echo 'x = 1; print(__file__)' >pkg/sub/__init__.py; echo 'y = 2' >data.py
        echo 'print("main", __file__)' >pkg/__main__.py; PYTHONPATH= python3 -c 'import pkg'
        python3 -m pkg; python3 pkg; (cd /; PYTHONPATH=/mnt python3 -m pkg)
        unset PYTHONDONTWRITEBYTECODE
        python3 -I -m compileall -q --invalidation-mode unchecked-hash pkg data.py
        ls __pycache__ pkg/__pycache__; python3 -m zipfile -c z.zip pkg data.py; rm -r pkg; (cd /
        PYTHONPATH=/mnt/z.zip python3 -S -c 'import pkg, sys; print(pkg.sub.__file__)' 2>&1 | tail -1)
        python3 -m zipapp -h >/dev/null; python3 missing.py; echo $?; python3 .; echo $?
        echo 'raise SystemExit(__file__)' >e.py; python3 e.py; echo $?; echo '1/0' >t.py
        python3 /mnt/t.py; python3 < t.py; python3 -m tarfile -c t.tar data.py
        python3 -m tarfile -l t.tar; rm *.tar *.zip
    """,
    "python venv": Case(r"""
        /usr/bin/python3 -m venv --without-pip v
        v/bin/python -c 'import sys; print(sys.prefix, sys.executable)'; . v/bin/activate
        python -c 'import sys; print(sys.prefix)'; echo 'x = 5' >v/lib/python3*/site-packages/m.py
        python -c 'import m; print(m.x, m.__file__)'; cat v/pyvenv.cfg; cd /
        python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; cd /mnt
        /usr/bin/python3 -m venv --without-pip --copies w
        w/bin/python -c 'import sys; print(sys.executable, sys.prefix)'
        /usr/bin/python3 -m venv --without-pip --symlinks --clear v
        ls -l v/bin/python3 | sed 's/.*v.bin/v.bin/'
        printf '#!/mnt/v/bin/python\nimport sys; print(sys.argv, sys.prefix)\n' >s; chmod 755 s
        ./s a; rm -r v w
    """),
    "python asyncio, subprocess, selectors": r"""
        python3 -IS - <<'E'
import asyncio, os, selectors, signal, socket, subprocess, sys, multiprocessing
async def main():
    p = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print(await p.communicate(b"through"), p.returncode)
    async def handle(r, w): w.write(b"echo " + await r.readline()); await w.drain(); w.close()
    s = await asyncio.start_unix_server(handle, "sock")
    r, w = await asyncio.open_unix_connection("/mnt/sock"); w.write(b"hi\n")
    print(await r.read()); w.close(); s.close()
    rs = await asyncio.gather(*(asyncio.create_subprocess_shell(f"cd /; echo {n} >/mnt/a{n}; exit {n}") for n in range(8)))
    print([await x.wait() for x in rs])
    print(await asyncio.to_thread(os.listdir, "/mnt/"))
asyncio.run(main()); os.path.exists("sock") and os.unlink("sock")
r = subprocess.run(["sh", "-c", "cat; pwd; exit 3"], input="in", text=True, capture_output=True, cwd="/usr")
print(r)
print(subprocess.getstatusoutput("ls missing; cd missing"), os.popen("pwd").read(), os.system("exit 4"), os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "exit 5"))
def f(n): open(f"m{n}", "w").write(str(n)); return os.getcwd()
with multiprocessing.get_context("fork").Pool(4) as pool: print(pool.map(f, range(6)))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
signal.setitimer(signal.ITIMER_REAL, 0.01); print(signal.sigwait([signal.SIGALRM]))
p = subprocess.Popen(["sleep", "60"]); p.terminate(); print(p.wait())
p = subprocess.Popen(["sleep", "60"], start_new_session=True); os.killpg(p.pid, 9)
print(p.wait())
E
    """,
    "perl": Case(
        r"""
        perl - <<'E'
use strict; use File::Find; use File::Copy; use File::Path qw(make_path remove_tree)
use File::Temp; use File::Basename; use Cwd qw(getcwd abs_path realpath); use Fcntl ':flock'
use File::Spec; use IPC::Open3; use POSIX (); use File::stat ();
my @l
find({ wanted => sub { push @l, "$File::Find::name $File::Find::dir" }, no_chdir => 0 }, "tree")
print "$_\n" for sort @l;
find(sub { print "$File::Find::name\n" if -f && /^d/ }, "/mnt/tree")
finddepth(sub { rmdir }, "tree/empty");
print getcwd(), "\n", abs_path("tree/dirlink/.."), "\n", realpath("tree/absolute"), "\n"
copy("tree/one", "c") or die; move("c", "d") or die; make_path("x/y/z", { mode => 0700 })
remove_tree("x/y");
for my $f (glob("tree/*")) { print "$f ", join(",", map { $_ ? 1 : 0 } -e $f, -f _, -d _, -l $f, -p $f, -s $f, -x $f, -r _, -w _, -o _, -S _, -z _, -f $f && -T $f), "\n" } my @s = stat "tree/one"
print "@s[2,3,4,5,7,9]\n"; @s = lstat "tree/link"; print "@s[2,3,7,9]\n";
open my $h, "+>", "h" or die; flock $h, LOCK_EX or die; print $h "text"; seek $h, 0, 0
print <$h>, "\n"; truncate $h, 2; close $h; chmod 0640, "h"; utime 1000000000, 1000000001, "h"
rename "h", "i" or die; link "i", "j"; symlink "i", "k"; print readlink("k"), "\n"
unlink "j", "k"; open $h, "<", "missing" or print "$!\n"; open $h, ">", "tree" or print "$!\n"
opendir my $d, "tree/a"; print join(" ", sort readdir $d), "\n"; mkdir "m", 0711; chdir "m" or die
print `pwd`; chdir ".."; rmdir "m"; print `cat missing 2>&1`, $? >> 8, "\n"; system "exit 3"
print $? >> 8, "\n"; open my $p, "-|", "ls", "tree/a"; print <$p>; close $p; my $pid = fork
if (!$pid) { exec "sh", "-c", "echo child; exit 2" } waitpid $pid, 0; print $? >> 8, "\n"
print -e File::Temp->new(DIR => "/mnt")->filename ? "temp\n" : "no\n"; pipe my $r, my $w
print $w "x\n"; close $w; print <$r>; POSIX::mkfifo("f", 0600); print -p "f" ? "fifo\n" : ""
print STDERR "to stderr\n"; dbmopen(my %x, "db", 0600) and print "dbm\n"; print umask, "\n"
kill USR1 => $$ if 0; print "$0 $^X\n"; mkdir "tree/one/x" or print "$!\n"; local $^I = ".orig"
@ARGV = ("i"); while (<>) { s/t/T/; print } close ARGV; exit 6;
E
        echo $?; cat i; rm -f db*; perl -i -pe 's/T/t/' i; cat i
        perl -ne 'print "$ARGV\n"' tree/one missing; echo $?; perl missing.pl; echo $?; mkdir lib
        echo 'package M; print __FILE__, "\n"; 1' >lib/M.pm; perl -Ilib -MM -e 1
        perl -I/mnt/lib -e 'use M; use lib "lib"; do "./lib/M.pm"; require "./no.pl"'; echo $?
        printf '#!/usr/bin/perl -w\nprint "$0 @ARGV\\n"; require FindBin; print "$FindBin::Bin\\n"' >s
        chmod 755 s; ./s a; cd /; mnt/s b; cd mnt/lib; ../s c
    """,
        given=TREE,
    ),
    "a static Go program": Case("""
        $BIN/gofiles; echo $?; find . | sort; cd d 2>/dev/null; $BIN/gofiles again; echo $?
    """),
    "busybox applets": Case(
        """
        b=busybox; $b ls tree; $b find tree -type f | $b sort; $b tar cf t tree
        $b tar tf t | $b wc -l; $b mkdir x; $b tar xf t -C x; $b cp -a tree/a y
        $b md5sum tree/one; $b stat -c %s tree/one; $b ash -c 'cd tree; pwd; echo *'
        $b readlink -f tree/dirlink; $b diff -r tree/a y; $b sed -n 1p tree/one
        $b awk '{ print }' tree/one; $b vi -h 2>/dev/null; $b gzip -k tree/run
        $b zcat tree/run.gz; rm tree/run.gz t
        $b xargs ls <<E; $b cpio -o -H newc <<E 2>/dev/null | $b cpio -t 2>/dev/null; $b env -i $b env; $b which sh; $b timeout 5 $b true; echo $?; $b nohup $b true; $b setsid $b pwd; $b start-stop-daemon -S -x /bin/echo -- started; $b mktemp -d /mnt/tXXXXXX | $b wc -c; rmdir t??????; $b chroot / $b pwd 2>&1 | wc -l; $b nosuch; echo $?; cp $(command -v busybox) bb; ln -s bb ls; ./ls tree/a; ./bb pwd; exec -a x ./bb 2>/dev/null; ./bb realpath ls; rm bb
tree/a
E
tree/one
E
    """,
        given=TREE,
    ),
    "tclsh, lua, ruby of the machine": r"""
for p in tclsh lua ruby node php; do command -v $p >/dev/null || continue; done
busybox sh -c 'busybox --list | wc -l'; gawk 'BEGIN { print PROCINFO["version"] }'
bc <<<1 2>&1 | cut -c1-4; m4 --version | head -1; printf 'l foo.txt\n' | busybox ed missing
echo $?
    """,
}
