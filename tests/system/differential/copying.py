"""Programs that copy, move, link, and remove."""

from __future__ import annotations

from .case import BUSYBOX, TREE, Case, Table


def tree(script: str) -> Case:
    """A case that finds one of everything."""
    return Case(script, given=TREE)


TABLE: Table = {
    "cp": tree("""
        cp tree/one copy; cp -v tree/run tree/a/two .; cp tree/one tree/a/two tree/empty
        cp -t tree/empty tree/run; cp -T tree/one other; cp -n tree/run copy; cat copy
        cp -i tree/run copy </dev/null; echo $?; cp -b tree/run copy; cp -S .old -b tree/one copy
        cp --backup=numbered tree/one copy; cp -u tree/one tree/run; cp -f tree/one copy
        cp --remove-destination tree/one other; cp --parents tree/a/b/deep tree/empty
        cp -p tree/one dated; cp --preserve=mode,timestamps tree/run dated2
        cp tree/fifo f </dev/null &
        wait_for=$!; echo through >tree/fifo; wait $wait_for; cat f
        cp --attributes-only tree/run attr
        cp -l tree/one hardlink; cp -s /mnt/tree/one softlink; cp -P tree/link plink
        cp -H tree/link hlink; cp -L tree/dirlink/deep l; cp tree/link dereferenced
        cp /dev/null null; cp /proc/self/comm comm; cat comm
    """),
    "cp -a": tree("""
        cp -a tree copied; cp -a tree/. dots; cp -av tree/a again | sort; diff -r tree/a again
    """),
    "cp -r": tree("""
        cp -r tree/a copied; cp -rL tree/a follow; cp -R tree/link tree/dirlink tree/dangling .
        cp -rp tree/a kept; cp -rT tree/a kept; cp -r --preserve=links tree linked
        cp -dr tree/dirlink d; mkdir s t; cp -r s s; echo $?; cp -r t t/in; echo $?
        cp -rs /mnt/tree/a symbolic; cp -rl tree/a hard; cp -ru tree/a copied
        cp -r --copy-contents tree/a/two contents
    """),
    "cp sparse": tree("""
        cp --sparse=always tree/sparse always; cp --sparse=never tree/sparse never
        cp --sparse=auto tree/sparse auto; cp --reflink=auto tree/sparse reflink
        cp --reflink=always tree/sparse no 2>&1; echo $?; cmp always never; cmp auto reflink
        head -c 300000 /dev/zero >zeros; cp --sparse=always zeros holes; cmp zeros holes
    """),
    "cp errors": tree("""
        cp; echo $?; cp tree/one; cp tree x; cp missing x; cp tree/one missing/x
        cp tree/one tree/one
        cp tree/one tree/link; cp tree/one tree/run missing; cp -r tree/one/ x; cp tree/dangling x
        cp tree/one tree/dangling; cp tree/one ''; cp '' x; chmod 444 tree/run
        cp tree/one tree/run
        chmod 000 tree/a/two; cp tree/a/two x; cp tree/one /proc/nonono; cp tree/one /nonono/x
        cp -r tree/a tree/one; cp tree/a/hard tree/one; echo $?; chmod 500 tree/empty
        cp tree/one tree/empty/x; echo $?; cp tree/one /dev/full; echo $?; cat tree/link
    """),
    "mv": tree("""
        mv tree/one moved; mv -v tree/run tree/empty; mv -n tree/a/two moved
        mv -b tree/a/two moved
        mv tree/a tree/b; mv -T tree/b tree/c; mv tree/link tree/dangling tree/empty
        mv tree/c/hard tree/c/b/deep .; mv missing x; mv tree/empty tree/empty/x; mv tree tree
        mv hard hard; mv tree/fifo hard -v; mv -T tree/c hard; mv -t tree hard; mv deep/ x
        mkdir full1 full2; touch full1/x full2/y; mv -T full1 full2; mv full1 full2; mv -f full2 z
        mv -u moved z; mv moved -t missing; mv z 'with space'; mv --strip-trailing-slashes tree/ t
        touch -d 2001-02-03 t/sparse t/largest; mv t/sparse t/largest
        mv -i t/größe t/largest </dev/null
    """),
    "mv to another file system": tree("""
        mkdir /dev/shm/viewos-mv.$$ && cd /dev/shm/viewos-mv.$$ || exit
        mv /mnt/tree . && find . | sort; ls -lR --time-style=full-iso tree/a; mv tree /mnt/back
        touch -d 2001-02-03 x; chmod 640 x; mv x /mnt/x; ln -s y link; mv link /mnt
        mv /mnt/back/run .; cat run; rm run; ls -A; cd ..; rmdir viewos-mv.$$
    """),
    "ln": tree("""
        ln tree/one hard; ln -s tree/one soft; ln -sf tree/run soft; ln -sr tree/a/two relative
        ln -sv tree/a d; ln -s x d; ln -snf tree/empty d; ln -sT tree/a d; ln tree/one hard
        echo $?
        ln -f tree/run hard; ln -b tree/one hard; ln tree/a x; echo $?; ln missing x
        ln -L tree/link l
        ln -P tree/link p; ln tree/link q; ln -s a; ln tree/one tree/run tree/empty
        ln -t . tree/a/two
        ln -s '' empty; ln -s "$(printf %05000d 0)" long; ln tree/dangling dang
        ln -L tree/dangling n
        ln -s tree/a/ slash; ls slash; ln tree/one new/; ln tree/one missing/new; ln tree/fifo ff
    """),
    "link and unlink": tree("""
        link tree/one new; link tree/one new; link tree/a x; link missing x; link tree/link l
        unlink new; unlink new; unlink tree/a; unlink tree/link; unlink tree/dangling
        unlink tree/one/x
        unlink tree/fifo; unlink ''; unlink tree/empty/; unlink; echo $?; link tree/run/ x
        unlink tree/run/
    """),
    "rm": tree("""
        rm tree/one; rm tree/a; rm -d tree/empty; rm -d tree/a; rm missing; rm -f missing; echo $?
        rm -v tree/link tree/dirlink; rm tree/dangling/; rm -rv tree/a | sort
        rm -i tree/run </dev/null
        rm -- tree/-dash; rm tree/-none; rm -r .; rm -r tree/.; rm; rm -f; echo $?
        chmod 444 tree/run; rm tree/run </dev/null; mkdir -p locked/in; touch locked/in/x
        chmod 500 locked/in
        rm -rf locked; echo $?; chmod -f 700 locked/in; rm -I tree/* </dev/null
        rm -rf --one-file-system tree
        rm ''; rm -rf ''; echo $?; ls
    """),
    "rmdir and mkdir": tree("""
        mkdir new; mkdir new; mkdir -p new/a/b/c; mkdir -v -p new/a/x/y; mkdir -m 700 private
        mkdir -m u=rwx,g=s,o=t special; mkdir -p -m 711 p/q/r; umask 077; mkdir masked
        mkdir -p m/n
        umask 022; mkdir tree/one/x; mkdir tree/dangling; mkdir tree/dirlink
        mkdir -p tree/dirlink
        mkdir -p tree/dirlink/x/; mkdir tree/one; mkdir -p tree/one; mkdir ''; mkdir missing/x
        mkdir t/
        mkdir "$(printf %0256d 0)"; mkdir "$(printf %0255d 0)"; mkdir .; mkdir ..; mkdir -p .
        mkdir /
        rmdir new; rmdir -p new/a/b/c; rmdir -v new/a/x/y; rmdir tree/dirlink; rmdir tree/one
        rmdir t/
        rmdir missing; rmdir . ; rmdir ..; rmdir m/.; rmdir --ignore-fail-on-non-empty tree
        echo $?
        rmdir ''; rmdir /; mkdir -p p/q/r; rmdir -p p/q/r; echo $?; chmod 500 tree/a
        mkdir tree/a/n; echo $?
    """),
    "install": tree("""
        install tree/run bin; install -m 600 tree/one config; install -d dirs/a/b
        install -D tree/one x/y/z
        install -v -t dirs tree/one tree/run; install -p tree/one kept
        install -m u=rw,go= -C tree/one c
        install -C -m 600 tree/one c; install -b tree/run config; install -d -m 711 closed
        install tree/missing x; echo $?; install tree/a x; echo $?
        install -s tree/one s 2>&1 | tail -1
        cp /bin/true prog; install -s prog stripped; ./stripped; echo $?; install tree/link l
        install -m 4755 tree/run setuid; install -g $(id -g) tree/one g
        install -o $(id -u) tree/one o
        install -o daemon tree/one d; echo $?
    """),
    "shred and truncate": tree("""
        printf secret >s; shred s; stat -c %s s; printf 12345 >t; shred -u t; ls
        shred -n 1 -z -s 4096 s
        cmp -n 4096 s /dev/zero && echo zero; rm s; shred missing; echo $?; shred tree/a
        truncate -s 10 a; truncate -s +5 a; truncate -s -3 a; truncate -s '%7' a
        truncate -s '<5' a
        truncate -r tree/sparse b; truncate -c -s 5 c; truncate -s 5 tree/a
        truncate -s 1 missing/x
        truncate -s 3 tree/link; cat tree/one; truncate -s 0 tree/dangling
        truncate -s 4 tree/empty/
        truncate -s 1T big; stat -c %s big; truncate -s 8E huge; echo $?; rm -f big huge
        truncate -o -s 1 k
        chmod 444 tree/run; truncate -s 1 tree/run; echo $?; truncate -s 0 tree/dirlink/deep
    """),
    "dd": tree("""
        dd if=tree/a/two of=copy status=none; dd if=tree/a/two bs=3 skip=1 count=1 status=none
        dd if=tree/one of=copy conv=notrunc seek=2 bs=1 status=none
        dd if=/dev/zero of=z bs=1k count=4 2>&1 | head -2
        dd if=/dev/zero of=hole bs=1 count=1 seek=100000 status=none
        dd if=tree/one conv=ucase status=none
        dd if=missing; dd of=tree/a if=tree/one; dd if=tree/one of=x oflag=excl status=none
        dd if=tree/one of=x conv=excl status=none; dd if=tree/one of=x conv=excl
        dd if=tree/sparse of=s conv=sparse bs=4k status=none
        dd if=tree/one of=y oflag=append conv=notrunc status=none
        dd if=tree/one of=w conv=nocreat; dd if=tree/link iflag=nofollow
        dd if=tree/dirlink iflag=directory,nofollow
        dd if=tree/one of=f conv=fsync,fdatasync status=none; head -c 8192 /dev/zero >d
        dd if=d of=e iflag=direct bs=4096 status=none
        printf abc | dd of=p status=none; dd if=tree/one iflag=noatime status=none; dd bad=1
        echo $?
    """),
    "rsync": tree("""
        rsync -aHAX tree/ copy; rsync -aHAXin tree/ copy; rsync -a --delete -i tree/a/ copy/
        rm -rf copy
        rsync -r tree/a plain; rsync -rlptD tree plain2
        rsync -a --link-dest=/mnt/tree tree/ linked
        rsync -aS tree/sparse s; rsync -a --exclude 'd*' tree ex
        rsync -ab --suffix=.bak tree/run plain2/tree/one
        rsync -a --inplace tree/one inplace; rsync -ac --chmod=F600 tree/run moded
        rsync missing x 2>&1 | head -1
        rsync -a --remove-source-files tree/one gone; rsync --list-only tree/a/ | cut -c1-30
        rsync -a --files-from=/dev/stdin . lists </dev/null
    """),
    "busybox files": Case(
        """
        cp -a tree copy; ls copy; mv copy/a copy/b; ln -s x copy/l; ln copy/one copy/two
        rm -r copy/b
        mkdir -p q/w/e; rmdir q/w/e; touch q/f; chmod 640 q/f; install -m 700 copy/run bin
        stat -c '%a %s' bin
        du -a copy/one; find copy -type l | sort; readlink -f copy/link; realpath copy/dirlink
        truncate -s 9 q/f
        dd if=tree/one of=q/g 2>/dev/null; cat q/g; tar cf t.tar copy; tar tf t.tar | sort
        rm t.tar; mkfifo ff
        cp missing x; mv missing x; rm missing; cat missing; ls missing; rmdir tree
        mktemp -d /mnt/q/tXXXXXX | wc -c
        rm -r q/t*; sed -i s/o/0/ copy/two; grep -r deep tree/a; diff tree/one copy/two
        cmp tree/one copy/two; which sh
    """,
        given=TREE,
        shell=BUSYBOX,
    ),
    "rename -n and exchange": tree("""
        mv --no-copy tree/one x 2>&1 | head -1; cp -r tree/a d; ./tree/run 1 2
        PATH=$PATH:/mnt/tree run 3
        cp tree/run 'run with space'; './run with space'; ln -s tree/run r; ./r; cd tree; ./run
        cd a; ../run
        mv ../run ../../run; ../../run x; rm ../../run; ../../run; echo $?
    """),
}
