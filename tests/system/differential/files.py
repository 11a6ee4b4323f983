"""Programs that create files and change what is known about them."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import TREE, Case, Table


def tree(script: str) -> Case:
    """A case that finds one of everything."""
    return Case(script, given=TREE)


TABLE: Table = {
    "touch": tree("""
        touch new; touch -d '2000-01-02 03:04:05.678901234 UTC' set; touch -r tree/one ref
        touch -c none
        touch -a -d '1990-01-01 UTC' set; touch -m -d '1991-01-01 UTC' new
        touch -t 200102030405.06 stamp
        touch -h -d '2002-02-02 UTC' tree/link tree/dangling
        touch -d '2003-03-03 UTC' tree/link tree/a
        touch -d 1950-01-01 old; touch -d 2030-01-01 future; touch missing/x; touch tree/one/x
        touch tree/
        touch ''; touch tree/dangling; ls -l --time-style=full-iso tree/nowhere | wc -l
        touch -d nonsense x
        touch tree/dirlink; touch .; touch -- -dash; chmod 000 tree/run; touch tree/run; echo $?
        touch /mnt/abs
        touch -d '2001-01-01 UTC' - >out; umask 0; touch wide; umask 777; touch narrow
        chmod 500 tree/empty
        touch tree/empty/x; echo $?; touch /etc/passwd/x; touch /proc/self/x
    """),
    "chmod": tree("""
        chmod 4751 tree/run; chmod u-s,g+s tree/run; chmod -R go-rwx tree/a; chmod +t tree/empty
        chmod -v 644 tree/one
        chmod -c 600 tree/one tree/run; chmod --reference=tree/run tree/one
        chmod a+X tree/one tree/empty; chmod = tree/größe
        chmod 777 tree/link; chmod 700 tree/dangling; chmod 700 missing; chmod xyz tree/one
        chmod -f 1 missing; echo $?
        chmod 00755 tree/empty; chmod 2755 tree/empty; chmod 755 tree/empty; chmod 0 tree/fifo
        chmod 600 /etc/passwd.no
        umask 027; chmod +w,+x tree/one; chmod g=u tree/one; chmod 640 tree/one/
        chmod 700 tree/dirlink/; chmod 1777 .; chmod 755 .
        chmod 600 /proc/self/comm; echo $?; chmod -R a-x tree; echo $?; chmod -R u+X tree
    """),
    "chown as root": Case(
        """
        chown nobody tree/one; chown 1:2 tree/run; chown :daemon tree/a; chown -R 5:6 tree/a
        chown -h 7 tree/link
        chown 8 tree/link; chown 9 tree/dangling; chown -h 9 tree/dangling
        chown --from=5 10 tree/a/two; chown -v 11 tree/run
        chmod 6755 tree/run; chown 12 tree/run; chgrp 13 tree/one; chgrp -h 14 tree/dirlink
        chgrp -R -L 15 tree/empty
        chown --reference=tree/run tree/größe; chown nosuchuser tree/one; chown 1 missing
        chown 16 tree/fifo; chgrp daemon tree
        chown -RH 17 tree/dirlink; chown -RP 18 tree/dirlink; chown 4294967295 tree/one; echo $?
        chown 4294967294 tree/one; chown '' tree/one
    """,
        given=TREE,
        users=(0,),
    ),
    "chown as nobody": Case(
        """
        chown nobody tree/one; echo $?; chown 0 tree/one; echo $?; chgrp nogroup tree/one; echo $?
        chgrp 0 tree/one
        chown nobody:nogroup tree/run; chmod 6755 tree/run; chown nobody tree/run
        chown -h nobody tree/link; chown 0 /etc/passwd
        chgrp 0 /etc/passwd; chown 65534 missing; touch /etc/x; rm /etc/passwd; chmod 777 /etc
        cat /etc/shadow; ls /root; mkdir /x
        cd /root; echo $?; mv /etc/passwd /etc/x; ln /etc/passwd /etc/hard; ln -s /etc/shadow soft; cat soft
        cp /etc/hostname h; >/etc/hostname; ls /proc/1/fd
    """,
        given=TREE,
        users=(65534,),
    ),
    "mktemp": """
        name=$(mktemp); stat -c '%a %s' $name; rm $name; dir=$(mktemp -d); stat -c %a $dir
        rmdir $dir
        cd /mnt; t=$(mktemp XXXXXX); stat -c %a $t; rm $t; mktemp xx
        mktemp missing/XXXXXX | wc -c; mktemp -u XXX | wc -c
        t=$(mktemp -p . --suffix=.c aXXXX); ls | wc -l; echo $t | cut -c1-3; rm $t
        TMPDIR=/mnt mktemp -t bXXXXX | cut -c1-6; rm b*
        TMPDIR=/mnt/no mktemp -q; echo $?; mktemp -d -p /mnt dXXX | wc -c; rmdir d???
        tempfile -h >/dev/null 2>&1; ls
    """,
    "mkfifo and mknod": r"""
        mkfifo f; mkfifo -m 600 g; mkfifo f; mknod h p; mknod -m 640 i p; mkfifo missing/x
        mkfifo ''; umask 077; mkfifo j
        mknod k c 1 3; echo $?; mknod l b 7 200; echo $?; mknod; mknod x c; mknod x p 1 2
        mknod -m 666 n c 1 5; echo $?
        (echo in >f) & cat f; wait; (echo second >g &) ; read line <g; echo $line
        test -p f && echo fifo
        cat h & printf 'a\nb\n' | tee h >/dev/null; wait; echo done; timeout 0.2 cat i; echo $?
    """,
    "devices as root": Case(
        """
        mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod full c 1 7; echo x >null; cat null
        head -c 5 zero | od -c
        echo x >full; echo $?; stat -c '%F %t %T' null zero full; cp -a null copied; cp null plain
        cp -r null recursive; tar cf t null zero
        rm null; tar xpf t; rm t; mv zero moved; chmod 600 moved; chown 1:2 moved
        [ -c moved ] && echo char; dd if=moved bs=1 count=2 status=none | od -c
        mknod loop b 7 250; [ -b loop ] && echo block; cat loop; echo $?; ln moved linked
        test -w full; echo $?
    """,
        users=(0,),
    ),
    "pathchk, basename, dirname": tree("""
        pathchk tree/one; pathchk "$(printf %0256d 0)"; echo $?; pathchk -p 'a b'
        pathchk -P -- -x; pathchk ''; pathchk tree/one/x
        basename /mnt/tree/one; dirname tree/a/two; basename -s .c x.c; dirname /; basename /
        pathchk "$(printf %05000d 0)" | cut -c1-20
        namei tree/a/two; namei -l tree/absolute; namei -m tree/dangling; namei missing/x; echo $?
    """),
    "sync": tree("""
        sync tree/one; sync -d tree/one; sync -f tree/a; sync missing; sync tree/dangling; echo $?
        sync tree/fifo & exec 3<>tree/fifo; wait; chmod 0 tree/run; sync tree/run; echo $?
    """),
    "acl": Case(
        """
        setfacl -m u:1:rw,g:2:r tree/one; getfacl tree/one; getfacl -n tree/a
        setfacl -d -m u:3:rwx tree/a; touch tree/a/new; mkdir tree/a/dir
        getfacl -n tree/a/new tree/a/dir; setfacl -x u:1 tree/one; setfacl -b tree/run
        setfacl -R -m u:4:x tree/a; getfacl -R -n tree/a
        getfacl tree/one --omit-header >saved; setfacl --set-file=saved tree/run
        setfacl -k tree/a; getfacl -n missing; setfacl -m u:1:r missing
        setfacl -m bad tree/one; cp -p tree/one kept; cp --preserve=all tree/one kept2
        getfacl -n kept; ls -l tree/one | cut -c1-11; setfacl -m m::r tree/one
        getfacl -n -t tree/one; setfacl -P -m u:1:r tree/link; chmod g=w tree/one
        getfacl -ne tree/one; umask 077; touch tree/a/dir/masked; getfacl -R tree/a >all
        setfacl --restore=all
    """,
        given=TREE,
    ),
    "attributes": tree("""
        setfattr -n user.one -v first tree/one; setfattr -n user.two -v 0x00ff tree/one
        getfattr tree/one; getfattr -d tree/one; getfattr -n user.two -e hex tree/one
        getfattr -n user.none tree/one; setfattr -x user.one tree/one
        setfattr -x user.one tree/one; setfattr -n user.x -v 1 tree/a tree/link
        getfattr -d tree/a tree/link
        setfattr -h -n user.x -v 1 tree/link; echo $?; getfattr -h -d -m - tree/link
        setfattr -n user.x -v 1 tree/fifo; echo $?; setfattr -n bad.name -v 1 tree/one
        setfattr -n trusted.t -v 1 tree/one; echo $?; getfattr -d -m - tree/one
        getfattr -R -d tree; setfattr -n user.x missing; cp -a tree/one copied
        cp --preserve=xattr tree/one c2
        cp tree/one c3; mv copied moved; getfattr -d moved c2 c3
        getfattr --only-values -n user.two moved | od -c; setfattr -n user. -v 1 tree/one
        setfattr -n user.big -v "$(printf %03000d 0)" c3
        setfattr -n user.e tree/run; getfattr -d tree/run; chmod 000 tree/run
        getfattr -d tree/run; setfattr -n user.f tree/run; echo $?; getfattr -L -d tree/absolute
        getfattr -n user.x tree/a/; setfattr -n security.foo -v 1 tree/one; echo $?
    """),
    "chattr": tree("""
        lsattr -d tree/a | cut -c1-4; chattr +i tree/one; echo $?; lsattr tree/one
        echo x >tree/one; rm -f tree/one; chmod 600 tree/one; ln tree/one x; mv tree/one y
        touch tree/one
        chattr -i tree/one; chattr +a tree/run; echo x >>tree/run; echo x >tree/run
        chattr -a tree/run; chattr +d +A tree/größe; lsattr tree/größe; chattr +i missing
        chattr +Q tree/one; lsattr missing
        chattr +i tree/a; touch tree/a/x; rm -f tree/a/two; mkdir tree/a/d; chattr -i tree/a
        lsattr -R tree/a >/dev/null; lsattr tree/link; echo $?; chattr -d -A tree/größe
    """),
    "capabilities as root": Case(
        """
        cp /bin/true t; setcap cap_net_raw+ep t; getcap t; cp -a t copied; cp t plain
        getcap copied plain; echo x >>copied; getcap copied; setcap -r t; getcap -r .
        setcap bad t; echo $?
        setcap cap_chown=p t; chown 1 t; getcap t; setcap cap_net_raw+ep missing; echo $?
        tar cf x --xattrs --xattrs-include='*' t plain; mkdir d
        tar xf x -C d --xattrs --xattrs-include='*'; rm x; getcap -r d
    """,
        users=(0,),
    ),
    "a name like that of what is removed": r"""
        mkdir "q (deleted)" "r (deleted)" r; cd "q (deleted)"; /bin/pwd; echo x >f; cat ../"q (deleted)"/f
        ls ..; readlink /proc/self/cwd; cd ..; cat "q (deleted)/../q (deleted)/f"; cd r; rmdir ../r
        /bin/pwd; readlink /proc/self/cwd; ls .. 2>&1; ls; cat ../f; cd ..; mv "q (deleted)" q; ls
        cd "r (deleted)"; rmdir "../r (deleted)"; /bin/pwd; readlink /proc/self/cwd
    """,
    "umask": """for mask in 000 022 077 027 777 111; do umask $mask; umask; umask -S; >f$mask; mkdir d$mask
mkfifo p$mask; ln -s x l$mask; (echo y >s$mask); cp /bin/true c$mask; cat <<E >h$mask
x
E
done; umask 022; chmod -R u+rwX .""",
    "setgid directories": r"""
        mkdir d; chgrp 65534 d; chmod 2775 d; touch d/f; mkdir d/e; touch d/e/g; mkfifo d/p
        ln -s x d/l; cp /bin/true d/c; chmod g+s d/f; install -d -m 755 d/i; mkdir -m 755 d/m
        find d -printf '%p %m %G\n' | sort; chmod 755 d/e; chmod 0755 d/m; chmod 00755 d/i
        find d -printf '%p %m %G\n' | sort
    """,
    "sticky directories": Case(
        """
        mkdir d; chmod 1777 d; touch d/f; chown 1 d/f; chmod 666 d/f
        su() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }; su rm -f d/f
        su mv d/f d/g; su sh -c 'echo x >>d/f'; cat d/f; su touch d/mine; su rm d/mine; su rmdir d
        su ln d/f d/h; echo $?; cp /bin/cat c; chmod 4755 c; su ./c d/f; mkdir p; chmod 700 p
        su ls p; su cat p/x; su touch p/x; su sh -c 'cd p'; su cp d/f d/copied
        su chmod 600 d/copied; su chown 0 d/copied; su id -u; su stat -c %u d/copied
        su sh -c 'umask 077; >d/private'; cat d/private
    """,
        users=(0,),
    ),
    "hard links and inodes": """
        echo 1 >a; ln a b; ln b c; stat -c %h a; rm a; stat -c %h b c; echo 2 >>b; cat c; mv b d
        mkdir t; ln c t; cp -al t copy; mkdir s; ln c s/e; find . -samefile c | sort
        cp --preserve=links c s/e out 2>&1; test c -ef s/e; echo $?; i=$(stat -c %i c)
        find . -inum $i | sort; sed -i s/1/3/ c; stat -c '%n %h' c d s/e; ln -f d c; stat -c %h d
        du -a . | wc -l
    """,
    "odd names": r"""
        for name in ' ' '-' '--' '\' '*' '?' '[a]' '$x' '"' "'" '~' '#' ';' '&' '|' '<' '%s' "$(printf '\001\002')" "$(printf '\377\376')" "$(printf 'a\tb')" '...' '. ' "$(printf '\r')" 'ünï' '日本'
        do
            echo "$name" >"./$name"; cat "./$name"; mkdir "./d$name"
            cd "./d$name" && /bin/pwd && cd ..; mv "./$name" "./d$name/"
            ln -s "./d$name/$name" "./l$name"; cat "./l$name"; readlink "./l$name"; rm "./l$name"
        done; ls -b; ls -R | md5sum; find . -type f -print0 | sort -z | xargs -0 cat | md5sum
        rm -r ./d*; ls -A
    """,
    "long names": """
        n=$(printf %0255d 0); echo x >$n; cat $n; mv $n ${n%0}1; ln ${n%0}1 ${n%0}2
        ls | cut -c250-; mkdir d; mv 0* d; cat d/${n%0}1; echo y >0$n; echo $?; p=./; i=0
        while [ $i -lt 2046 ]; do p=$p./; i=$((i+1)); done; echo ${#p}; ls ${p}d | wc -l
        cat ${p}d/x; ls $p/d | wc -l; ls ././${p}d; p=${p%./}; ls ${p}d | wc -l; ls ${p}d/ | wc -l
        stat -c %F ${p}d
    """,
    "slashes": """
        mkdir d; echo x >f; ln -s d ld; ln -s f lf; ln -s gone g
        for n in f/ f/. f/.. d/ d// d/. d/.. //mnt//f ///mnt/f ld/ ld/. lf/ g/ g/. ./f .//f ../mnt/f d/../f f/../f ld/../f gone/../f /mnt/../mnt/f /../mnt/f d/./../f
        do
            cat "$n" >/dev/null; stat -c '%n %F' "$n"; stat -L -c '%n %F' "$n"; readlink "$n"
            echo $?; done; mkdir n/; mkdir n2/.; touch n3/; rmdir n/; mv f f2/; mv d d2/
            mv d2/ d3; ln -s x y/; rm d3/; rm lf/; rmdir ld/; unlink g/; rmdir d3/.; rmdir d3/..
            mkdir g/; mkdir g
    """,
}
