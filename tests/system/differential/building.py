"""Compilers, linkers, make, and what looks into their products."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import Case, Table

SOURCE = r"""
mkdir src inc
printf '#include "lib.h"\n#include <stdio.h>\nint main(void) { printf("%%s %%d\\n", __FILE__, twice(VALUE)); return 0; }\n' >src/main.c
printf '#define VALUE 21\nint twice(int x);\n' >inc/lib.h
printf '#include "lib.h"\nint twice(int x) { return 2 * x; }\n' >src/lib.c
printf 'CFLAGS = -Iinc -g -MMD\nOBJ = $(patsubst %%,o/%%.o,main lib f0 f1 f2 f3 f4 f5)\nprog: $(OBJ)\n\t$(CC) -o $@ $^\no/%%.o: src/%%.c | o\n\t$(CC) $(CFLAGS) -c -o $@ $<\no:\n\tmkdir -p o\nclean:\n\trm -rf o prog\n-include o/*.d\n.PHONY: clean\n' >Makefile
for n in 0 1 2 3 4 5; do echo "int f$n(int x) { return x + $n; }" >src/f$n.c; done
"""


def source(script: str) -> Case:
    """A case that finds a small C project."""
    return Case(script, given=SOURCE)


TABLE: Table = {
    "make": source(r"""
        make -j2 >log; sort log; ./prog; make; touch -d '2001-01-01' o/*.o prog; make -q; echo $?
        make -s -j2 >log; ./prog; make -n clean; make clean; ls; make -C src; echo $?
        make -f missing; echo $?; make nothing; echo $?
        make -p -q 2>/dev/null | grep -c '^o/' >/dev/null; make -k -j2 bad prog 2>&1 | sort
        cat o/main.d; make --version | head -1
        echo 'x: ; @echo $(CURDIR) $(shell pwd) $(wildcard src/f*.c) $(realpath inc/../src) $(abspath x)' >m
        make -f m; cd src; make -C .. -f m --no-print-directory; make -f ../m -I ..; cd ..
        echo 'include none' >m2; make -f m2; echo $?
        printf 'a b c:\n\t@echo $@ >$@; cat $@\nall: a b c\n' >m3; make -f m3 -j3 -O all | sort
        ln -s m3 GNUmakefile; make a; make -B a; rm -f log
    """),
    "gcc": source(r"""
        gcc -Iinc -c src/lib.c -o lib.o; gcc -Iinc src/main.c lib.o -o prog; ./prog
        gcc -E -Iinc src/lib.c; gcc -S -Iinc src/lib.c -o -| grep -c twice
        gcc -M -Iinc src/main.c | tr ' ' '\n' | grep -c '\.h'; gcc -Iinc src/missing.c; echo $?
        gcc -c src/lib.c; echo $?; gcc -Iinc src/main.c 2>&1 | sed 's/cc[A-Za-z0-9]*\.o/T/'
        echo 'int main(void){return 3;}' | gcc -x c - -o three; ./three; echo $?
        gcc -pipe -save-temps=obj -Iinc -c src/lib.c -o t.o; ls
        gcc -g -Iinc -c /mnt/src/lib.c -o abs.o; gcc -flto -Iinc -O2 src/main.c src/lib.c -o lto
        ./lto; gcc -Iinc -o missing/x src/lib.c 2>&1 | sed 's/cc[A-Za-z0-9]*\.o/T/'
        gcc -print-prog-name=ld; gcc -print-file-name=crt1.o; gcc -Iinc -c src/lib.c -o /dev/null
        echo '@x' >args; echo -c -Iinc src/lib.c -o ar.o >x; gcc @x
        gcc -Iinc -fsyntax-only src/*.c; cd src; gcc -I../inc -c lib.c
        gcc -I ../inc -c ./main.c -o ../../mnt/m.o; TMPDIR=/mnt gcc -I../inc main.c lib.o -o p
        ./p; ls /mnt
    """),
    "ld, ldd, shared libraries": source("""
        gcc -Iinc -fPIC -shared -Wl,-soname,libl.so.1 src/lib.c -o libl.so.1.0
        ln -s libl.so.1.0 libl.so.1; ln -s libl.so.1 libl.so; gcc -Iinc src/main.c -L. -ll -o dyn
        ./dyn; echo $?; LD_LIBRARY_PATH=/mnt ./dyn; LD_LIBRARY_PATH=. ldd dyn | sed 's/(.*//'
        gcc -Iinc src/main.c -L. -ll -Wl,-rpath,'$ORIGIN' -o org; ./org; cd src; ../org
        ldd ../org | sed 's/(.*//'; cd ..; mkdir m; mv org m; m/org; echo $?
        gcc -Iinc src/main.c -L. -ll -Wl,-rpath,/mnt -o rp; cd /; mnt/rp; cd /mnt
        ld -r -o r.o /dev/null; echo $?; gcc -Iinc -c src/lib.c; ld -r -o r.o lib.o; nm r.o
        ld missing.o; echo $?; ld -shared -o l2.so lib.o; LD_PRELOAD=/mnt/libl.so.1 /bin/echo pre
        LD_PRELOAD=./no.so /bin/echo no
        LD_DEBUG=libs LD_LIBRARY_PATH=. ./dyn 2>&1 | grep -c trying
        gcc -static -Iinc src/main.c src/lib.c -o st; ./st; ldd st; echo $?; ldd missing; echo $?
        ldd src/lib.c; echo $?; /lib64/ld-linux-x86-64.so.2 ./rp
        /lib64/ld-linux-x86-64.so.2 --library-path . ./dyn; cp /lib64/ld-linux-x86-64.so.2 own
        gcc -Iinc src/main.c src/lib.c -Wl,--dynamic-linker=/mnt/own -o custom; ./custom; echo $?
        gcc -Iinc src/main.c src/lib.c -Wl,--dynamic-linker=/no/ld.so -o bad; ./bad; echo $?
        python3 -IS -c 'import ctypes; print(ctypes.CDLL("/mnt/libl.so").twice(4)); print(ctypes.CDLL("./libl.so.1").twice(5))'
        ldconfig -n /mnt; ls; rm own
    """),
    "ar, ranlib, strip, objdump": source("""
        gcc -Iinc -g -c src/*.c; ar rcsD libx.a *.o; ranlib -D libx.a; nm libx.a | sort
        gcc -o prog main.o -L. -lx; ./prog; strip -o stripped prog; ./stripped; strip lib.o
        nm lib.o; echo $?; objdump -d --no-show-raw-insn f1.o; objdump -h f1.o | head -8
        readelf -h f1.o | head -8; readelf -Wl prog | grep interp
        objcopy --only-keep-debug prog prog.debug; objcopy --add-gnu-debuglink=prog.debug stripped
        size f1.o; strings f2.o | sort -u | head -3; addr2line -e prog main; c++filt _Z1fv
        elfedit --output-osabi=Linux f0.o; objcopy -O binary f1.o raw; od -An -tx1 raw
        objcopy -I binary -O elf64-x86-64 inc/lib.h h.o; nm h.o; strip missing; echo $?
        strip src/lib.c; echo $?; chmod 755 f3.o; strip -g f3.o; stat -c %a f3.o; ar x libx.a f5.o
        nm -A f5.o; gprof missing; echo $?; objdump -S lib.o | head -3
        gcc --coverage -Iinc src/main.c src/lib.c -o cov; ./cov; ls *.gc*
        gcov cov-lib.gcda | head -2; rm *.gc* cov
    """),
    "cpp, as, c++": source(r"""
        cpp -P inc/lib.h
        printf '.globl x\nx: .long 5\n.incbin "inc/lib.h"\n.include "more.s"\n' >a.s
        echo '.long 6' >more.s; as a.s -o a.o; objdump -s a.o; as missing.s; echo $?
        printf '#include <iostream>\n#include "inc/lib.h"\nint main() { std::cout << VALUE << std::endl; }\n' >p.cc
        g++ p.cc -o p; ./p; echo 'int y;' >z.h; gcc z.h -o z.h.gch; ls z.*
        printf '#include "z.h"\nint main(void) { return y; }\n' >z.c; gcc -H z.c -o z 2>&1 | cat
        ./z; rm z.h.gch
    """),
    "configure": Case("""
        cat >configure <<'E'
#!/bin/sh
exec 5>config.log; echo "checking" >&5; srcdir=`dirname "$0"`; abs=`cd "$srcdir" && pwd`; echo "src $abs"
for try in 1 2 3 4 5 6; do
cat >conftest.c <<_ACEOF
#include <stdio.h>
int main(void) { FILE *f = fopen("conftest.out", "w"); fprintf(f, "$try"); return ferror(f) || fclose(f); }
_ACEOF
if { (eval gcc -o conftest conftest.c) 2>&5; } && ./conftest && test -s conftest.out; then echo "try $try: yes `cat conftest.out`"; fi
rm -rf conftest conftest.* ; done
test -w . && ac_cv=yes; sed -e "s,@srcdir@,$abs,g" <"$srcdir/Makefile.in" >Makefile; cat >config.status <<_ACEOF
echo again
_ACEOF
chmod +x config.status; ./config.status; (umask 077; mkdir conf$$.dir && echo >conf$$.dir/x && ln -s conf$$.dir/x conf$$.l && ln conf$$.dir/x conf$$.h && rm -rf conf$$*) && echo links
E
        echo 'all: ; @cat @srcdir@/Makefile.in; pwd' >Makefile.in; chmod 755 configure
        ./configure; make; mkdir build; cd build; ../configure; make; cd ..; rm -f config.log; ls
    """),
    "musl": Case(r"""
        printf '#include <stdio.h>\n#include <dirent.h>\n#include <sys/stat.h>\n#include <unistd.h>\n#include <stdlib.h>\nint main(int c, char **v) { char b[99]; struct stat s; printf("%%s %%s\\n", v[0], getcwd(b, 99)); mkdir("d", 0750); chdir("d"); puts(getcwd(b, 99)); FILE *f = fopen("x", "w"); fputs("musl", f); fclose(f); printf("%%d\\n", stat("x", &s) ? -1 : (int)s.st_size); rename("x", "../y"); symlink("../y", "l"); printf("%%d\\n", (int)readlink("l", b, 99)); puts(realpath("l", b)); DIR *d = opendir(".."); int n = 0; while (readdir(d)) n++; printf("%%d\\n", n); return system("cat y; pwd; cat ../y") & 127; }\n' >m.c
        musl-gcc -static m.c -o s; ./s; musl-gcc m.c -o dyn; ./dyn; ldd dyn >/dev/null 2>&1
        /lib/ld-musl-x86_64.so.1 ./dyn; cp $(readlink -f /lib/ld-musl-x86_64.so.1) own
        /mnt/own ./s; echo $?; ./own ./dyn; musl-gcc -Wl,--dynamic-linker=/mnt/own m.c -o third
        ./third; rm own; ./third; echo $?
    """),
}
