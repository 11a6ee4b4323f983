"""What Debian needs a root for, by an ordinary user with a virtual root, against the real one:

    python -m tests.interop.debian packages [NAME...]  # source packages built: the same .deb
    python -m tests.interop.debian system              # debootstrap, apt-get, useradd, su, sudo
    python -m tests.interop.debian --write-docs ...    # and the table in docs/foreign-roots.md

They take root, a mirror, and for `packages` deb-src lines in apt's sources; what the packages need
to be built is installed.
"""
