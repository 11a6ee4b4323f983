"""Programs that read, compare, sort, split, and edit what is in files."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import TREE, Case, Table

TEXT = (
    TREE
    + r"""
seq 1 200 >numbers; printf 'b 2\na 1\nc 3\n' >left; printf 'a x\nb y\nd z\n' >right
sort left >left.sorted; printf 'x\ty\nz\tw\n' >tabs; seq 200 -1 1 >down
"""
)


def text(script: str) -> Case:
    """A case that finds some text."""
    return Case(script, given=TEXT)


TABLE: Table = {
    "cat, head, tail": text("""
        cat tree/one tree/a/two; cat -A tabs; cat -n left; cat missing tree/one; cat tree; echo $?
        cat - left <right; cat <tree/one >tree/one; cat left >>left 2>&1; head -n 3 numbers
        head -c 5 numbers; head -v left right; head missing; tail -n 2 numbers
        tail -c 9 numbers; tail -n +198 numbers; tail -q left right; tac left; rev left; nl left
        nl -ba tabs; tail tree; echo $?; zcat missing; head -n -198 numbers
        cat tree/fifo & echo into >tree/fifo; wait
    """),
    "od, xxd, hexdump": text("""
        od -c tree/one; od -A x -t x1z -v left; od -N 4 -j 2 -t u2 left; od missing; od tree
        xxd left; xxd -p left | xxd -r -p; hexdump -C left; strings -n 2 left
        od -An -tx1 tree/sparse; xxd -i left; od -S 3 left; echo 6869 | xxd -r -p >out; cat out
    """),
    "sums": text("""
        for sum in md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum
        do $sum left right >$sum.txt; cat $sum.txt; $sum -c $sum.txt; $sum --tag left
        $sum missing; $sum -z left | od -c | tail -1; done; echo x >>left; md5sum -c md5sum.txt
        echo $?; md5sum --quiet -c md5sum.txt; rm right; md5sum -c md5sum.txt; echo $?
        sum tree/one; sum -s tree/one; cksum left numbers; cksum -a crc left; sum missing
        cksum tree; md5sum --ignore-missing -c md5sum.txt; md5sum --status -c md5sum.txt; echo $?
        cksum 'tree/with space'; md5sum tree/new*
    """),
    "sort": text(r"""
        sort numbers | md5sum; sort -n -r numbers | head -3; sort -k 2 left; sort -u left left
        sort -o left left; cat left; sort -c down; echo $?; sort -m left.sorted right; mkdir t
        sort -T t -S 16K --parallel=2 numbers down | md5sum; sort missing; sort tree; ls t
        TMPDIR=/mnt/t sort -S 10K numbers down | md5sum
        sort -z left | od -c; printf 'left\0right' >names; sort --files0-from=names
        sort -o missing/x left; echo $?
        sort --batch-size=2 -m left.sorted left.sorted right right
        sort -R --random-source=numbers left | wc -l; sort -T missing -S 16K numbers; echo $?
        sort --compress-program=gzip -T t -S 16K numbers down | md5sum
        seq 20000 | sort -S 64K -T t -r | md5sum
    """),
    "shuf, uniq, comm, join": text(r"""
        shuf -n 3 --random-source=numbers numbers; shuf -e a b --random-source=numbers
        shuf -i 1-5 --random-source=numbers -o out; cat out; uniq -c left; uniq left out; cat out
        comm left.sorted right; comm -12 left.sorted right; join left.sorted right
        join -a 1 -v 2 left.sorted right; join missing right; comm missing right
        paste left right; paste -s -d, left; cut -d' ' -f1 left; cut -c1 missing; tsort left
        printf 'a b\nb a\n' | tsort; fmt -w 10 numbers | head -2; fold -w 5 numbers | head -2
        expand tabs; unexpand -a tabs; tr a-z A-Z <left; pr -t -2 left; column -t left
        look a left.sorted; ptx -G left | head -2; wc left right missing; wc -c <numbers
        wc --files0-from=missing; numfmt --to=iec 2048; factor 12 97; seq -w 3; expr 1 + 2
        printf '%q\n' 'a b'
    """),
    "split and csplit": text("""
        mkdir s; cd s; split ../numbers; ls; rm x*; split -l 50 -d ../numbers part
        cat part0*| md5sum; rm part*; split -b 100 --additional-suffix=.txt ../numbers b; ls
        rm b*; split -n 3 ../numbers n; wc -c n*; rm n*; split -C 60 -a 3 ../left c; ls
        split -n r/2 ../left r; cat ra*
        split --filter='cat >$FILE.f; echo $FILE' -l 100 ../numbers f; ls; split missing
        split ../left missing/x; echo $?
        csplit ../numbers 50 '/^1[05]0$/' '{1}'; csplit -f y -b '%03d' -s ../left 2; ls
        csplit -z ../numbers '/^9/' '{*}' | wc -l; ls | wc -l; csplit ../left '/zzz/'; echo $?
        csplit missing 1; split -n 5 -e ../tree/one e; ls
    """),
    "tee": text("""
        echo x | tee a b; echo y | tee -a a; cat a b; echo z | tee missing/x; echo $?
        echo q | tee tree; echo $?; echo w | tee /dev/full; echo $?
        yes | head -1000 | tee big | md5sum; echo v | tee tree/link; cat tree/one
        echo 1 | tee /dev/stderr 2>&1; tee <left >right; cat right; echo n | tee tree/dangling
        ls -l --time-style=+ tree/nowhere | cut -c1-10; echo p | tee -p a >/dev/full; echo $?
    """),
    "diff and patch": text("""
        cp -r tree new; echo more >>new/one; rm new/a/b/deep; echo added >new/a/added
        diff -r --no-dereference tree new 2>&1; echo $?; diff left right
        diff -u --label a --label b left right; diff -y -W 30 left right; diff -q left right
        diff missing left; diff tree/a left; diff -rq tree/a new/a; diff --brief left left
        diff3 left right left.sorted; sdiff -s left right; cmp left right; cmp -l left right
        cmp -s left right; echo $?; cmp missing left; cmp left left
        diff -u --label left --label right left right >p; patch left <p; cat left
        patch -R left <p; patch -b left p; ls; patch -N left <p; echo $?; patch --dry-run right <p
        diff -ruN --label a/one --label b/one tree/one new/one >q; patch -p1 -d tree <q
        cat tree/one; patch -o out left.sorted p; patch missing <p; patch -i missing
        ls *.rej *.orig; rm -f *.rej
    """),
    "sed": text(r"""
        sed -n 3p numbers; sed -i s/a/A/ left; cat left; sed -i.bak -e 1d right
        cat right right.bak; sed -i s/x/y/ missing; echo $?; sed -i s/x/y/ tree; echo $?
        sed -n 'w out' left; cat out; sed '1r right' left; sed -s -n '$=' left right
        sed -i --follow-symlinks s/one/ONE/ tree/link; ls -F tree/link; cat tree/one
        sed -i s/ONE/1/ tree/a/hard; stat -c '%n %h' tree/one tree/a/hard
        sed -f script left; echo 's/A/b/' >script; sed -f script left; sed -i 's/x/y/w w.out' left
        printf 'R right\n' | sed -f - left; sed 'R missing' left; sed = left; chmod 400 left
        sed -i s/A/C/ left; stat -c %a left; chmod 500 tree/a
        sed -i s/t/T/ tree/a/two 2>/dev/null; echo $?; sed -i '$!d' numbers; cat numbers
        sed -n /x/p /dev/stdin <right; sed --debug -n p missing
    """),
    "grep": text("""
        grep 5 numbers | wc -l; grep -c 1 numbers; grep -n a left right; grep -r deep tree
        grep -R -D skip two tree 2>&1 | sort; grep -l a left right; grep -L zzz left right
        grep x missing; echo $?; grep -s x missing; echo $?; grep x tree; grep -q a left; echo $?
        grep -f left left; grep -A1 -B1 99 numbers; grep -o '[a-c]' left; grep -v a left
        grep -H -Z a left | od -c; grep end tree/sparse; grep -a end tree/sparse | tail -c 4
        grep --include='t*' -r . tree; grep -m 2 1 numbers; grep x left >left
        grep -D skip x tree/fifo; echo $?; egrep 'a|b' left 2>/dev/null; fgrep a left 2>/dev/null
        cat left | grep . -
    """),
    "awk": text("""
        for awk in mawk gawk 'busybox awk'; do $awk '{ s += $1 } END { print s }' numbers
        $awk '{ print $2 > "out." $1 }' left; cat out.*
        $awk 'BEGIN { while ((getline l < "right") > 0) print l; close("right"); "pwd" | getline d; print d; print "x" | "cat >piped"; close("piped"); print "a" >> "app"; system("ls app") }'
        $awk 1 missing; echo $?; $awk -f missing; $awk 'BEGIN { print "e" > "/dev/stderr" }'
        $awk '{ print FILENAME, FNR }' left right; printf '{ print NR }' >prog; $awk -f prog left
        $awk 'BEGIN { print "x" > "missing/y" }'; echo $?; rm -f out.* app; cat piped; done
        gawk -i inplace '{ print $1 }' left; cat left
    """),
    "ed, ex, m4, bc": text(r"""
        printf '1d\na\nnew\n.\nw\nq\n' | ed -s left; cat left
        printf 'r right\nw both\nq\n' | ed left; cat both; ed -s missing </dev/null; echo $?
        printf 'e tree\nq\n' | ed -s; printf '!pwd\nq\n' | ed -s
        printf 'w /no/x\nQ\n' | ed -s left; echo $?
        vim.tiny -u NONE -n -es -c '%s/b/B/' -c 'wq' right; echo $?; cat right
        vim.tiny -u NONE -es -c 'r left' -c 'w! new' -c 'q!' right; cat new; ls -A | sort
        vim.tiny -u NONE -es -c 'w /no/x' -c 'q!' right; echo $?
        printf 'define(X,hello)X include(left)undivert(right)syscmd(pwd)' | m4; m4 -I tree missing
        echo $?; echo 'esyscmd(ls tree/a)' | m4; echo 'mkstemp(tXXXXXX)' | m4 | wc -c; rm t??????
        echo '2^100; scale=5; 1/7' | bc; echo '1+1' >e; bc -q e </dev/null
        echo 3 4+p | dc 2>/dev/null || echo no dc
    """),
    "text programs on no file": """
        for p in cat tac nl od sort uniq cut wc head tail fold fmt expand unexpand paste tsort md5sum cksum sum grep sed awk cmp diff comm join tr rev split csplit shuf base64 base32 strings hexdump xxd gzip bzip2 xz zstd iconv
        do echo "$p:"; $p no/such/file x </dev/null 2>&1; echo $?
        $p . . </dev/null 2>&1 | tail -n 3; done
    """,
    "encodings": text(r"""
        base64 left | tee b; base64 -d b; base32 left; basenc --hex left
        iconv -f latin1 -t utf8 left; iconv missing; uuencode left l 2>/dev/null | wc -l
        base64 missing; od -c b | head -1; printf '\303\244' >u; iconv -f utf8 -t latin1 u | od -c
        iconv -f utf8 -t ascii u; echo $?; iconv -o out -f utf8 -t utf16 u; od -c out; expand u
        wc -m u
    """),
    "locate by PATH": text("""
        command -v ls cat; which -a sh; whereis -b ls | cut -c1-12; type cat; PATH=/mnt/tree
        run a; command -v run; nonono; echo $?; PATH=/mnt/tree:/bin; cp tree/run tree/cat2; cat2
        hash; PATH=tree:/bin; run b; cd tree; run c; PATH=:/bin; run d; PATH=/mnt/tree/one:/bin
        run; echo $?; PATH=/mnt/tree/empty:/bin; chmod 000 /mnt/tree/empty; true; run; echo $?
        chmod 644 run; PATH=/mnt/tree:/bin; run; echo $?
    """),
    "copying through descriptors": text("""
        exec 3<left 4>copy 5<>rw 6>>app; cat <&3 >&4; echo rw >&5; echo app >&6; cat /dev/fd/3
        cat /proc/self/fd/3; read x </dev/fd/5; echo $x
        ls -l /proc/self/fd/3 /proc/self/fd/4 | sed 's/.*-> //'; rm copy
        ls -l /proc/self/fd/4 | sed 's/.*-> //'; echo after >&4; cat /proc/self/fd/4
        echo more >>/proc/self/fd/4; stat -L -c '%h %s' /proc/self/fd/4; mv app moved
        readlink /proc/self/fd/6; echo z >/proc/self/fd/6; cat moved; cat <&5; exec 7<tree/a
        ls /proc/self/fd/7; ls /dev/fd/7/b; cd /proc/self/fd/7; cat b/deep; /bin/pwd
    """),
}
