"""What stands in for a program that a thread executes which a debugger traces.

Where a loader or the interpreter of a script is another one in the view than outside, a program is
executed with other arguments. A traced thread cannot be given any, so it executes a file of the
scratch directory by another path alone:

- a copy of the program (copies.py);
- for a script, a few instructions that execute its interpreter, with the words that the kernel
  would put in front of the caller's own. The debugger sees that second execve(2) as well.

The last name of each is the one by which the process is to be known.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from viewos.abi.machine import MACHINE
from viewos.monitor.copies import PATIENCE, Copy, new_place
from viewos.monitor.initial import AT_EXECFN, NewProgram
from viewos.monitor.scratch import short_name
from viewos.monitor.writers import has_writers

if TYPE_CHECKING:
    from viewos.view import View

MOST_LINKS = 1000
"""In the scratch directory, of all names that programs have had."""
_LONGEST_NAME = 4096
_BASE = 0x10000000
_HEADERS = struct.Struct("<16sHHIQQQIHHHHHHIIQQQQQQ")
"""An ELF header and one program header."""
_CODE = bytes.fromhex(
    "4889e6 488b0e 488d54ce10"  # mov rsi, rsp; mov rcx, [rsi]; lea rdx, [rsi + rcx * 8 + 16]
    "bd{count} 488d0429 48c1e003"  # mov ebp, COUNT; lea rax, [rcx + rbp]; shl rax, 3
    "4829c4 4883e4f0 4889e7"  # sub rsp, rax; and rsp, -16; mov rdi, rsp
    "bb{words}"  # mov ebx, WORDS
    "488b03 488907 4883c308 4883c708 ffcd 75ee"  # COUNT times: *rdi++ = *rbx++
    "488d5e10"  # lea rbx, [rsi + 16]: the second of the caller's own
    "488b03 488907 4883c308 4883c708 4885c0 75ed"  # as far as the null pointer: *rdi++ = *rbx++
    "be{path} 4989d2 4889e2 bf9cffffff 4531c0"  # mov esi, PATH; mov r10, rdx; mov rdx, rsp; ...
    "b842010000 0f05"  # execveat(AT_FDCWD, PATH, rsp, rdx, 0): execve(2) may be answered elsewhere
    "bf7e000000 b8e7000000 0f05".format(  # exit_group(126)
        count="11111111", words="22222222", path="33333333"
    )
)


def linked(view: View, program: bytes, name: bytes) -> bytes:
    """The path of a link to a program that is run as it is. Raises OSError."""
    link = view.standins.files.get((program, name))
    if link is None or not os.path.lexists(link):
        link = new_place(view, name)
        os.symlink(program, link)
        view.standins.originals[link] = program
        view.standins.files[program, name] = link
    return link


def scripted(view: View, interpreter: bytes, words: Sequence[bytes], name: bytes) -> bytes | None:
    """The path of a program that executes another one with `words` in the place of its first
    argument; None: there is none for this machine. Raises OSError."""
    if MACHINE != "x86_64":
        return None
    key = (interpreter, *words, name)
    made = view.standins.files.get(key)
    if made is None or not os.path.lexists(made):
        made = new_place(view, name)
        for _ in range(PATIENCE):
            with open(made, "wb") as file:
                file.write(_program(interpreter, words))
            if not has_writers(made):
                break
            os.unlink(made)
        os.chmod(made, 0o755)
        view.standins.files[key] = made
    return made


def undisguise(view: View, pid: int, name: bytes, path: bytes | None = None) -> None:
    """If a process has executed a copy, let it have in its memory what the program
    has there: a debugger compares both; and `name` as that of the file, also where it has executed
    something else by `path`. Raises OSError."""
    copy: Copy | None = view.standins.copied.get(os.readlink(b"/proc/%d/exe" % pid))
    if copy is None and path is None:
        return
    program = NewProgram(pid)
    try:
        if copy is not None:
            program.show_header(copy.header)
        at = program.auxiliary[AT_EXECFN]
        string = program.read(at, _LONGEST_NAME).partition(b"\0")[0]
        is_known = copy is not None or (path is not None and _is_by(view, string, path))
        if is_known and len(name) <= len(string):
            program.write(at, name + b"\0")
    finally:
        program.close()


def _is_by(view: View, string: bytes, path: bytes) -> bool:
    """Has something been executed by that path, perhaps by a shorter one to the same? Else the
    call has failed."""
    executed = os.path.normpath(string)
    return executed == os.path.normpath(path) or executed == short_name(view, path)


def _program(path: bytes, words: Sequence[bytes]) -> bytes:
    strings = [path, *words]
    table = _BASE + _HEADERS.size + len(_CODE)
    at, addresses = table + 8 * len(words), []
    for string in strings:
        addresses.append(at)
        at += len(string) + 1
    code = _CODE
    for mark, value in (0x11, len(words)), (0x22, table), (0x33, addresses[0]):
        code = code.replace(bytes([mark] * 4), struct.pack("<I", value))
    body = code + struct.pack(f"<{len(words)}Q", *addresses[1:])
    body += b"".join(string + b"\0" for string in strings)
    size = _HEADERS.size + len(body)
    return (
        _HEADERS.pack(
            b"\x7fELF\x02\x01\x01", 2, 62, 1, _BASE + _HEADERS.size, 64, 0, 0, 64, 56, 1, 0, 0, 0,
            1, 5, 0, _BASE, _BASE, size, size, 4096,
        )
        + body
    )  # fmt: skip
