"""strace and gdb inside the view."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .building import SOURCE
from .case import BASH, Case, Table

WORK = r"""
cat >work.c <<'E'
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int work(int n)
{
    char text[20];
    int fd = open("f", O_RDONLY, 0);
    int r = read(fd, text, 20);
    close(fd);
    return r + n;
}
int main(int argc, char **argv)
{
    printf("%d\n", work(argc));
    fflush(stdout);
    if (argc > 2) abort();
}
E
echo text >f
"""

TABLE: Table = {
    "strace": Case("""
        echo x >f; strace -o log -e trace=%file cat f; grep -c '"f"' log
        strace -o log -e trace=openat cat missing; echo $?; grep missing log
        strace -o log -e trace=chdir,getcwd sh -c 'cd /usr; /bin/pwd'; grep -v SIGCHLD log
        strace -o log -e trace=execve sh -c 'exec /bin/true'; grep -o 'execve("[^"]*"' log
        strace -e trace=none -e signal=all -o log sh -c 'kill -USR1 $$'; echo $?; tail -1 log
        strace -o log -e inject=unlink,unlinkat:error=EPERM rm f; echo $?; cat f
        strace -o log -e trace=mkdir,rmdir,rename,symlink,link,chmod,unlinkat,renameat2 sh -c 'mkdir d; rmdir d; mv f g; ln -s g l; rm l; chmod 600 g; mv g f'
        sed 's/si_pid=[0-9]*/N/' log | sort; strace -y -o log -e trace=read cat f
        grep -o '</mnt/f>' log; strace -c -o log true; head -1 log | wc -w
        strace -o missing/log true; echo $?; strace no-such; echo $?
        strace -e trace=stat,newfstatat,statx,readlink -o log readlink -f f; echo $?; rm log
    """),
    "strace -f": Case(
        """
        strace -f -o log -e trace=execve,chdir,mkdir sh -c 'cd /usr; (cd /mnt; mkdir a) & wait; /bin/true; cat /mnt/f | cat'; grep -c 'execve(' log; ls; strace -ff -o log -e trace=execve sh -c '/bin/true; /bin/echo x'; ls | grep -c log; rm log*; strace -f -o log python3 -IS -c 'import threading, os
def f(n): os.mkdir(f"t{n}"); open(f"t{n}/x", "w").write("y")
t = [threading.Thread(target=f, args=(n,)) for n in range(4)]; [x.start() for x in t]; [x.join() for x in t]; print(sorted(os.listdir(".")))'; grep -c exited log; strace -f -o log make -f - <<'E'
all: x y
x y: ; @echo $@ >$@; cat $@
E
        rm log; strace -D -o log true; until grep -q exited log; do :; done; rm log
        strace -f -o log bash -c 'for i in 1 2 3 4 5; do echo $i | cat | cat; done; cd /; pwd; exec 3</mnt/x; cat <&3'
        rm log; strace -f -o log sh -c './script'; rm log
    """,
        given=r"""
        echo x >f; printf '#!/bin/sh\necho script $0; mkdir made; cd made; /bin/pwd\n' >script
        chmod 755 script
    """,
    ),
    "gdb": Case(
        r"""
        gcc -g -O0 -Iinc src/main.c src/lib.c -o prog
        gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'break twice' -ex run -ex bt \
            -ex 'print x' -ex finish -ex 'info line main' -ex 'list twice' -ex 'info proc cwd' \
            -ex 'info proc exe' -ex 'info sharedlibrary' -ex 'python print(open("f").read())' \
            -ex c ./prog 2>&1 | sed 's/process [0-9]*/process N/; s/0x[0-9a-f]*/H/g'
        gdb -nx -batch -ex 'set follow-fork-mode child' -ex run \
            --args sh -c 'cat f; true' 2>&1 | sed 's/process [0-9]*/N/g' | tail -n 1
        gdb -nx -batch -ex 'catch syscall chdir' -ex run -ex bt -ex c -ex c -ex 'info inferiors' \
            --args sh -c 'cd /; pwd; exit 3' 2>&1 | grep -c Catchpoint
        echo 'pwd' >cmds; gdb -nx -batch -x cmds -ex 'shell pwd' -ex 'cd /' -ex pwd missing
        rm prog
    """,
        given=SOURCE + "\necho f >f",
    ),
    "gdb on a running process": Case(r"""
        mkfifo p; sh -c 'echo x >p; read y <p; echo $y; pwd' & read x <p
        gdb -nx -batch -p $! -ex 'info proc cwd' -ex detach 2>&1 | grep -o "cwd = .*"; echo go >p
        wait; sleep 60 & gdb -nx -batch -p $! -ex 'kill' 2>/dev/null | grep -c 'killed'; wait
        cat >w <<'E'
import os, subprocess
r, w = os.pipe(); p = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
s = subprocess.Popen(["strace", "-o", "log", "-p", str(p.pid)], stderr=subprocess.PIPE)
print(b"attached" in s.stderr.readline()); p.stdin.write(b"through\n"); p.stdin.close()
print(p.wait(), s.wait()); print(any("through" in l for l in open("log"))); os.unlink("log")
E
        python3 -IS w; gcore -h >/dev/null 2>&1; rm p
    """),
    "cores, and stepping over an open": Case(
        r"""
        gcc -g -O0 -no-pie work.c -o work; ulimit -c unlimited
        gdb() { command gdb -nx -batch -iex 'set debuginfod enabled off' "$@" 2>&1 | sed 's/LWP [0-9]*/N/; s/process [0-9]*/N/; s/0x[0-9a-f]*/H/g'; }
        gdb -ex 'break work' -ex run -ex next -ex next -ex 'print fd > 2' -ex next -ex 'print r' \
            -ex 'generate-core-file mine' -ex finish -ex kill ./work | grep -v 'Memory read failed'
        gdb -ex bt -ex 'print r' ./work mine | grep -v generated; (./work 2 3; echo $?) 2>/dev/null
        gdb -ex bt -ex 'info files' ./work core | grep -e main -e /mnt; rm -f core* mine
        gdb -ex run -ex 'bt -1' -ex kill --args ./work 2 3
        gdb -ex 'catch syscall openat' -ex run -ex 'delete' -ex c ./work | grep -c 'call to'
    """,
        given=WORK,
        shell=BASH,
        users=(65534,),
    ),
    "ltrace": Case(
        r"""
        gcc -O0 work.c -o work; ltrace -o log ./work; sed 's/ = .*//; s/(.*//' log
        ltrace -S -o log ./work; grep -c 'SYS_openat("f"' log; ltrace -f -o log sh -c 'cat f; ./work'
        grep -c exited log; ltrace -c -o log ./work; rm log
    """,
        given=WORK,
        users=(65534,),
    ),
    "ptrace by hand": """
        cc=$BIN/tracer; $cc /bin/sh -c "cd /usr; /bin/pwd; cat /mnt/f; mkdir /mnt/d; exit 4"
        echo $?; echo f >f; $cc /bin/cat f; $cc ./missing; echo $?; ls
    """,
}
