"""Programs that put files into one file and take them out again."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import TREE, Case, Table

RICH = (
    TREE
    + """
setfattr -n user.note -v text tree/one; setfacl -m u:1:r tree/run
find tree -exec touch -h -d '2001-02-03 04:05:06 UTC' {} +
"""
)


def tree(script: str) -> Case:
    """A case that finds one of everything, ACLs and attributes among it."""
    return Case(script, given=RICH)


TABLE: Table = {
    "tar": tree("""
        tar cf t.tar tree; tar tvf t.tar --full-time; mkdir x; tar xpf t.tar -C x; tar df t.tar
        echo $?; tar xOf t.tar tree/a/two; tar rf t.tar tree/run; tar uf t.tar tree
        tar --delete -f t.tar tree/run; tar tf t.tar | wc -l; md5sum t.tar | cut -c33-
        tar xf t.tar tree/none; echo $?; tar xf missing; echo $?; tar cf x.tar missing; echo $?
        rm t.tar x.tar
        tar cf - tree | (mkdir y; cd y; tar xf -); tar cf - -C tree/a . | tar tf -
        tar czf t.tgz tree; tar tzf t.tgz | wc -l; mkdir z
        tar xzf t.tgz -C z --strip-components=1 tree/a
        tar xf t.tgz -C z --no-same-permissions --touch tree/run; cd z; tar xkf ../t.tgz
        tar xf ../t.tgz --keep-newer-files; tar xf ../t.tgz --overwrite tree/one
        tar xUf ../t.tgz tree/one; tar xf ../t.tgz --keep-old-files tree/one; cd ..; rm t.tgz
        tar cf /dev/full tree; echo $?
    """),
    "tar xattrs": tree("""
        tar --acls --xattrs --xattrs-include='*' -cpf t tree; mkdir x
        tar --acls --xattrs --xattrs-include='*' -xpf t -C x; getfattr -R -d x; getfacl -R -n x
        rm t
    """),
    "tar sparse": tree("""
        tar cSf t tree/sparse; mkdir x; tar xf t -C x; cmp x/tree/sparse tree/sparse
        truncate -s 100M big; echo x >>big; tar cSf t big; tar tvf t --full-time | cut -c1-32
        rm big; tar xSf t; stat -c '%s' big; rm t; tar --format=pax -cSf t big; tar xf t -C x
        rm t big
    """),
    "tar incremental": tree("""
        tar cf l0 -g snar tree; echo new >tree/new; touch -d 2001-02-03 tree/new; rm tree/run
        tar cf l1 -g snar tree; tar tf l1 | sort; mkdir x; tar xf l0 -g /dev/null -C x
        tar xf l1 -g /dev/null -C x; ls x/tree; rm l0 l1 snar
        tar cf m --exclude='a' --exclude-vcs tree; tar tf m | sort
        tar cMf v1 -L 200 tree </dev/null; echo $?; rm -f v1 m; tar cf h --hard-dereference tree
        tar tvf h --full-time | grep -c link; rm h; tar cf t --remove-files tree/a; ls tree
        tar xf t --one-top-level=top; tar cf s -h tree/link; tar tf s; rm s t
    """),
    "tar formats": tree("""
        for f in gnu pax ustar v7 oldgnu; do tar --format=$f -cf t tree/a tree/link tree/sparse
        mkdir $f; tar xf t -C $f; done; rm t; for c in gzip bzip2 xz zstd
        do tar -cf t --$c tree/a; tar tf t | wc -l; mkdir $c; tar xf t -C $c; done; rm t
        bsdtar cf t tree; bsdtar tf t | sort; mkdir b; bsdtar xpf t -C b; rm t
        bsdtar cf - @/dev/null; bsdtar --format zip -cf t tree/a; mkdir bz; bsdtar xf t -C bz
        rm t
    """),
    "cpio": tree("""
        find tree | sort | cpio -o -H newc 2>/dev/null >c; cpio -it <c; mkdir x; cd x
        cpio -idm <../c; cpio -idmu <../c; cpio -idm <../c 2>&1 | head -2; cd ..; rm c
        find tree -depth | sort | cpio -pdm y; find tree | sort | cpio -pdml z
        for f in odc ustar crc bin; do echo tree/one | cpio -o -H $f 2>/dev/null | cpio -t; done
        echo missing | cpio -o >/dev/null; echo $?; cpio -i <missing
        find tree | sort | cpio -o -H newc -F file; cpio -i --to-stdout tree/one <file; rm file
    """),
    "zip": tree("""
        zip -qr z.zip tree -x tree/fifo; unzip -l z.zip | tail -1; unzip -q z.zip -d x
        zip -y -qr l.zip tree/link tree/a; unzip -qo l.zip -d y; unzip -p z.zip tree/one
        unzip -t z.zip | tail -1; zip -q -d z.zip tree/one; unzip -q z.zip tree/one; echo $?
        zip -q -u z.zip tree/one; zip -q m.zip missing; echo $?; unzip missing; echo $?
        zip -qm mv.zip tree/run; ls tree; zipinfo -1 z.zip | sort; rm *.zip
    """),
    "gzip": tree("""
        gzip -k tree/one; gzip tree/run; ls tree; zcat tree/one.gz; gunzip tree/run.gz
        gzip -l tree/one.gz; gzip tree/one; gzip tree/missing; gzip tree/a; gzip tree/link
        echo $?; gzip -r tree/a; gunzip -r tree/a; gzip -c tree/größe | gunzip; gzip -f tree/link
        gzip -t tree/one.gz; gunzip -f tree/one.gz; gzip -S .x tree/run; gzip -n tree/a/b/deep
        zgrep deep tree/a/b/deep.gz; zdiff tree/a/b/deep.gz tree/a/b/deep.gz; gzip -d tree/größe
        echo $?; for f in $(find . -name '*.gz'); do rm $f; done
    """),
    "bzip2, xz, zstd, lz4": tree("""
        for c in bzip2 xz 'zstd -q' 'lz4 -q -m'; do $c -k tree/one; $c -t tree/one.*; rm tree/one
        $c -d tree/one.*; cat tree/one; rm -f tree/one.*; $c tree/missing; echo $?; $c tree/a
        echo $?; $c -c tree/a/two | $c -dc; cp -p tree/run r; $c -f r; ls r*; $c -df r.*
        stat -c '%a %y' r*; rm -f r*; done
    """),
    "dpkg-deb": Case(r"""
        mkdir -p p/DEBIAN p/usr/bin p/usr/share/x
        printf 'Package: x\nVersion: 1\nArchitecture: all\nMaintainer: me\nDescription: d\n' >p/DEBIAN/control
        printf '#!/bin/sh\necho x\n' >p/usr/bin/x; chmod 755 p/usr/bin/x; ln -s x p/usr/bin/y
        find p -exec touch -h -d '2001-02-03 UTC' {} +; dpkg-deb --root-owner-group -b p x.deb
        dpkg-deb -I x.deb | tail -6; dpkg-deb -c x.deb; dpkg-deb -x x.deb out
        dpkg-deb -e x.deb ctl; dpkg-deb -f x.deb Package; dpkg-deb -b missing; echo $?
        md5sum x.deb; ar t x.deb; dpkg-deb --fsys-tarfile x.deb | tar t; dpkg-deb -R x.deb raw
        dpkg-deb -x missing y; echo $?; dpkg -L bash | head -2; dpkg -S /bin/bash
        dpkg-query -W -f '${Package}\n' bash; mkdir -p db/info db/updates; : >db/status
        dpkg --admindir=/mnt/db --root=/mnt/none -l x 2>&1 | tail -1
    """),
    "fakeroot": Case("""
        fakeroot sh -c 'id -u; touch f; chown 1:2 f; stat -c "%u %g" f; mknod n c 1 3; stat -c %F n; mkdir d; chown -R 3 d; tar cf t f n d; tar tvf t | cut -c1-24; cp -a f g; stat -c %u g; rm t; cat /etc/shadow >/dev/null 2>&1; ls -ln f | cut -c1-16'
        stat -c '%u %F' f n | sed "s/^$(id -u) /me /"
        fakeroot -s state sh -c 'touch s; chown 5 s'; fakeroot -i state stat -c %u s; rm state
    """),
    "ar": Case(r"""
        echo a >a; echo b >b; touch -d 2001-02-03 a b; ar rcD l.a a b; ar t l.a
        ar tv l.a | cut -c11-; ar p l.a a; rm a; ar xo l.a a; cat a; ar d l.a b; ar t l.a
        ar r l.a missing; echo $?; ar t missing.a; echo $?; ar qD l.a b; ar mD l.a b
        ar rcTD thin.a a b; ar t thin.a; ranlib -D l.a; md5sum l.a thin.a
        printf 'create m.a\naddmod a\nsave\nend\n' | ar -M; ar t m.a; rm m.a
    """),
}
