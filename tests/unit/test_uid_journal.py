"""What the uid module remembers, in files: its log, and fakeroot's format."""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from viewos import File, Identity, ViewosError
from viewos.modules.uid import entries, faked
from viewos.modules.uid.entries import Entry, pack, unpack
from viewos.modules.uid.journal import Journal
from viewos.modules.uid.table import Record, Table

SOME = Record(5, 6, stat.S_IFREG | 0o4755, 0, ((b"trusted.a", b"1"),), False, 0o100644, 65024)


def _identity(number: int) -> Identity:
    return Identity(7, number, b"h1 \0\1" + number.to_bytes(4, "little"))


def _new(log: Journal) -> list[Entry]:
    found = list[Entry]()
    log.update(lambda *entry: found.append(entry))
    return found


def _write_one(log: Journal, number: int, record: Record | None) -> list[Entry]:
    found = list[Entry]()
    log.write(_identity(number), record, lambda *entry: found.append(entry))
    return found


def _write(log: Journal, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        _write_one(log, number, Record(number, number))


@pytest.mark.parametrize(
    "record",
    [SOME, Record(0, 0), SOME._replace(mode=None, gone=True), Record(1, 2, rdev=259), None],
)
def test_an_entry_comes_back(record: Record | None) -> None:
    data = pack(_identity(3), record)
    assert list(unpack(data)) == [(len(data), (_identity(3), record))]


def test_what_is_torn_is_not_read() -> None:
    first, second = pack(_identity(1), SOME), pack(_identity(2), SOME)
    for cut in range(len(second)):
        assert len(list(unpack(first + second[:cut]))) == 1
    for at in range(len(second)):
        spoilt = bytearray(second)
        spoilt[at] ^= 0x40
        assert len(list(unpack(first + bytes(spoilt)))) == 1


def test_two_that_share_a_log(tmp_path: Path) -> None:
    one, other = Journal(str(tmp_path / "log")), Journal(str(tmp_path / "log"))
    assert _new(one) == _new(other) == []
    _write_one(one, 1, SOME)
    assert _new(other) == [(_identity(1), SOME)]
    _write_one(other, 1, None)
    assert _new(one)[-1] == (_identity(1), None)
    one.close()
    other.close()


def test_a_writer_that_died_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Journal(str(path))
    assert _write_one(log, 1, SOME) == [(_identity(1), SOME)]
    whole, torn = pack(_identity(2), SOME), pack(_identity(3), SOME)[:-1]
    with open(path, "ab") as file:
        file.write(whole + torn)
    assert _new(log) == []
    assert [identity.inode for identity, _ in _write_one(log, 4, SOME)] == [2, 4]
    assert [identity.inode for identity, _ in entries.read(path) or ()] == [1, 2, 4]
    log.close()


def test_a_header_of_noughts_hides_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Journal(str(path))
    _write(log, 3)
    for left in (range(3), ()):
        with open(path, "r+b") as file:
            file.seek(16)
            file.write(bytes(8))
            if not left:
                file.truncate(64)
        _write_one(log, 9, SOME)
        assert [identity.inode for identity, _ in entries.read(path) or ()] == [*left, 9]
    log.close()


@pytest.mark.timeout(60)
def test_a_word_that_changes_is_seen_whole(tmp_path: Path) -> None:
    """What the kernel does for a log's header, which is read without a lock."""
    fd = os.open(tmp_path / "words", os.O_RDWR | os.O_CREAT)
    values = (b"\1" * 8, b"\2" * 8)
    os.pwrite(fd, values[0], 16)
    child = os.fork()
    if child == 0:
        while True:
            for value in values:
                os.pwrite(fd, value, 16)
    try:
        found = {os.pread(fd, 8, 16) for _ in range(300_000)}
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(fd)
    assert found == {*values}


@pytest.mark.parametrize("later", [0, 40])
def test_a_log_that_somebody_empties(tmp_path: Path, later: int) -> None:
    """It begins anew, for all who have it open, and nobody dies of it."""
    path = tmp_path / "log"
    one, other = Journal(str(path)), Journal(str(path))
    _write(one, 20)
    assert len(_new(other)) == 20
    os.truncate(path, 0)
    assert _new(one) == []
    _write(one, 1 + later, first=100)
    assert [entry[0].inode for entry in _new(other)] == list(range(100, 101 + later))
    _write_one(other, 7, SOME)
    assert [entry[0].inode for entry in _new(one)] == [7]
    assert len(entries.read(str(path)) or ()) == 2 + later
    one.close()
    other.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    """Two writers are killed again and again: nothing that one has been told is lost."""
    rng = random.Random(seed)
    path = str(tmp_path / "log")
    done: set[int] = set()
    for turn in range(12):
        pipes, children = [], []
        for half in range(2):
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                log = Journal(path)
                number = 1_000_000 * (2 * turn + half)
                while True:
                    _write_one(log, number, Record(number, number))
                    os.write(write, number.to_bytes(8, "little"))
                    number += 1
            os.close(write)
            pipes.append(read)
            children.append(child)
        time.sleep(rng.uniform(0.01, 0.06))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for read in pipes:
            with open(read, "rb") as pipe:
                data = pipe.read()
            done |= {int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)}
    found = [identity.inode for identity, _ in entries.read(path) or ()]
    assert done <= set(found)
    assert len(found) == len(set(found)) <= len(done) + 24


@pytest.mark.parametrize("spoil", ["cut", "middle", "size", "blank"])
def test_a_log_that_is_damaged(tmp_path: Path, spoil: str) -> None:
    """What is whole counts, what is written then too, and the user hears of the rest."""
    path = tmp_path / "log"
    log = Journal(str(path))
    _write(log, 9)
    log.close()
    data = bytearray(path.read_bytes())
    size = (len(data) - 64) // 9
    if spoil == "cut":
        del data[-3:]
    elif spoil == "blank":  # what a file system may leave of blocks that had not been written
        data[64 + 4 * size : 64 + 7 * size] = bytes(3 * size)
    else:
        data[64 + 4 * size + (3 if spoil == "size" else 20)] ^= 0x41
    path.write_bytes(data)
    left = {"cut": [*range(8)], "blank": [0, 1, 2, 3, 7, 8]}.get(spoil, [0, 1, 2, 3, 5, 6, 7, 8])
    told: list[str] = []
    assert [one[0].inode for one in entries.read(path, told.append) or ()] == left
    assert len(told) == 1 and "are damaged" in told[0]
    log = Journal(str(path))
    assert "were damaged" in log.damage
    (kept,) = tmp_path.glob("log.damaged-*")
    assert kept.read_bytes() == data
    assert [one[0].inode for one in _new(log)] == left
    _write_one(log, 100, SOME)
    log.close()
    log = Journal(str(path))
    assert not log.damage
    assert [one[0].inode for one in _new(log)] == [*left, 100]
    log.close()


def test_a_log_is_written_anew(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    one, other = Journal(path), Journal(path)
    for _ in range(6):
        _write(other, 1000)
    table = Table(one)
    table.refresh()
    before = os.path.getsize(path)
    one.tidy(table, len(table))
    assert os.path.getsize(path) < before / 4
    assert len(dict(_new(other))) == 1000
    _write_one(other, 1, SOME)
    assert dict(_new(one))[_identity(1)] == SOME
    one.close()
    other.close()


def _outdated(path: Path) -> Journal:
    """A log that is worth a rewrite, all of it read."""
    log = Journal(path.as_posix())
    for number in range(5000):
        _write_one(log, 7, Record(number, number))
    return log


def _is_rewritten(path: Path, log: Journal) -> bool:
    before = path.stat().st_ino
    log.tidy([(_identity(7), SOME)], 1)
    found = entries.read(path)
    assert found and found[-1][0] == _identity(7)
    assert not path.with_name("log.new").exists()
    return path.stat().st_ino != before


@pytest.mark.skipif(os.getuid() != 0, reason="needs another owner")
def test_what_is_rewritten_is_the_same_file_but_for_that(tmp_path: Path) -> None:
    """It became ours alone, and a link to it a file."""
    path, link = tmp_path / "log", tmp_path / "link"
    log = _outdated(path)
    log.close()
    os.chown(path, 5, 6)
    path.chmod(0o640)
    subprocess.run(["setfacl", "-m", "u:7:rw", path], check=True)
    access = os.getxattr(path, "system.posix_acl_access")
    subprocess.run(["setfacl", "-d", "-m", "u:8:rw", tmp_path], check=True)
    link.symlink_to("log")
    path.with_name("log.new").symlink_to("elsewhere")
    log = Journal(link.as_posix())
    _new(log)
    assert _is_rewritten(path, log)
    _write(log, 1)
    log.close()
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (5, 6, 0o660)
    assert os.getxattr(path, "system.posix_acl_access") == access
    assert link.is_symlink() and not (tmp_path / "elsewhere").exists()
    assert len(entries.read(link) or ()) == 2


@pytest.mark.parametrize("why", ["names", "rename", "open"])
def test_a_rewrite_that_cannot_be(
    tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log stays, and nobody looks for another one."""

    def refuse(*args: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "log"
    log = _outdated(path)
    if why == "names":
        path.with_name("other").hardlink_to(path)
    else:
        monkeypatch.setattr(os, "rename" if why == "rename" else "fsync", refuse)
    assert not _is_rewritten(path, log)
    monkeypatch.undo()
    other = Journal(path.as_posix())
    assert len(_new(other)) == 5000
    _write_one(log, 8, SOME)
    assert len(_new(other)) == 1
    log.close()
    other.close()


def test_a_damaged_log_that_cannot_be_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try left one more file."""

    def refuse(fd: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "log"
    log = Journal(path.as_posix())
    _write(log, 9)
    log.close()
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="full"):
        Journal(path.as_posix())
    assert os.listdir(tmp_path) == ["log"] and path.read_bytes() == data


def test_who_begins_forgets_what_is_gone(tmp_path: Path) -> None:
    log = Journal(str(tmp_path / "log"))
    _write(log, 2)
    _write_one(log, 2, SOME._replace(gone=True))
    log.close()
    table = Table(Journal(str(tmp_path / "log")))
    table.refresh()
    table.forget_gone()
    told: list[int] = []
    table.watch(lambda inode, known: bool(told.append(inode)))
    assert told == [0, 1]
    assert len(table) == 2
    table.close()


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("do not touch\n")
    with pytest.raises(ViewosError, match="is no log"):
        Journal(str(path))
    assert path.read_text() == "do not touch\n"
    assert entries.read(path) is None


@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "link"])
def test_what_is_no_regular_file_is_no_log(tmp_path: Path, kind: str) -> None:
    """/dev/null kept nothing, and a FIFO was an illegal seek."""
    path = tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/dev/null")
    else:
        path = Path("/dev/null")
    with pytest.raises(ViewosError, match="is no regular file, and so no log"):
        Journal(path.as_posix())


# ---- identities ---------------------------------------------------------------------------------


def test_a_reused_inode_number_inherits_nothing(tmp_path: Path) -> None:
    table = Table()
    path = tmp_path / "file"
    inodes = set()
    for _ in range(200):
        path.touch()
        file = File(path=os.fsencode(path))
        assert file.identity().is_certain
        assert table.find(file) is None
        table.put(file, SOME)
        found = table.find(file)
        assert found is not None
        assert found.uid == 5
        inodes.add(path.stat().st_ino)
        path.unlink()
    assert len(inodes) < 200


def test_an_open_file_keeps_its_record(tmp_path: Path) -> None:
    table = Table()
    path = tmp_path / "file"
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    table.put(File(path=os.fsencode(path)), SOME)
    path.unlink()
    found = table.find(File(path=b"/proc/self/fd/%d" % fd))
    assert found is not None
    assert found.uid == 5
    os.close(fd)


# ---- fakeroot's format --------------------------------------------------------------------------


def test_fakeroots_format(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    found = path.stat()
    line = b"dev=%x,ino=%d,mode=104711,uid=5,gid=6,nlink=1,rdev=0\n" % (found.st_dev, found.st_ino)
    table = Table()
    table.adopt(faked.parse(line, "saved"))
    assert faked.export(table, table.waiting().items()).lines == line
    adopted = table.find(File(path=os.fsencode(path)))
    assert adopted is not None
    assert adopted[:3] == (5, 6, 0o104711)
    assert not table.waiting()
    assert faked.export(table).lines == line


def test_an_entry_of_another_type_is_not_adopted(tmp_path: Path) -> None:
    found = tmp_path.stat()
    line = b"dev=%x,ino=%d,mode=100644,uid=5,gid=6,nlink=1,rdev=0\n" % (found.st_dev, found.st_ino)
    table = Table()
    table.adopt(faked.parse(line, "saved"))
    assert table.find(File(path=os.fsencode(tmp_path))) is None


def test_what_it_cannot_hold_is_counted() -> None:
    table = [(_identity(1), SOME), (_identity(2), SOME._replace(gone=True))]
    export = faked.export(table)
    assert export.attributes == 1
    assert export.lines.count(b"\n") == 1


def test_a_wrong_line_is_named() -> None:
    with pytest.raises(ViewosError, match="saved:2"):
        list(faked.parse(b"dev=1,ino=1,mode=1,uid=0,gid=0,nlink=1,rdev=0\nnonsense\n", "saved"))


@pytest.mark.parametrize("saved", [False, True])
def test_a_forked_child_waits_for_no_thread_of_its_parent(tmp_path: Path, saved: bool) -> None:
    table = Table(Journal(str(tmp_path / "log")) if saved else None)
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with table.changing():
            held.set()
            over.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        table.renew_lock()
        if not saved:  # the lock of the file is the parent's as well
            with table.changing():
                table.put(File(path=b"/"), Record(1, 2))
        os._exit(len(table) != (not saved))
    over.set()
    _, status = os.waitpid(child, 0)
    holder.join()
    assert status == 0
