"""Modules are found by built-in name, by entry point, and in files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from viewos import loader
from viewos.errors import SpecError, ViewosError
from viewos.loader import BUILT_IN, available, find, load
from viewos.module import VirtualModule
from viewos.spec import parse

MODULES = """
from viewos import SpecError, VirtualModule

class One(VirtualModule):
    '''The first.

    More about it.
    '''
    grammar = "one:N"
    example = "one:3"

    def __init__(self, n=0):
        self.n = n

    @classmethod
    def from_items(cls, items):
        for item in items:
            if not item.value.isdigit():
                raise items.error(item, "expected a number")
            return cls(int(item.value))
        return cls()

class Two(One):
    pass

number = 3
function = print
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mods.py"
    path.write_text(MODULES)
    return path


def message(text: str) -> str:
    """The one line that a spec fails with."""
    with pytest.raises(ViewosError) as caught:
        load(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- built-in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_module(name: str) -> None:
    cls = find(parse(name))
    assert (cls.__name__, cls.name) == (BUILT_IN[name], name)
    assert cls.__doc__
    assert cls.grammar.startswith(name)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_examples_of_built_in_modules_are_right(name: str) -> None:
    module = load(find(parse(name)).example)
    assert type(module).__name__ == BUILT_IN[name]


@pytest.mark.parametrize(
    ("wrong", "meant"), [("vsf", "vfs"), ("hostnme", "hostname"), ("uids", "uid")]
)
def test_a_name_that_is_nearly_right(wrong: str, meant: str) -> None:
    assert message(wrong) == f"there is no module {wrong!r}: did you mean {meant}?"


def test_a_name_that_is_not_right_at_all() -> None:
    assert message("zzz") == "there is no module 'zzz': `viewos modules` lists those that there are"


# ---- files --------------------------------------------------------------------------------------


def test_a_class_of_a_file(file: Path) -> None:
    module = load(f"{file}:One:7")
    assert (type(module).__name__, module.n) == ("One", 7)  # type: ignore[attr-defined]


def test_the_only_class_needs_no_name(tmp_path: Path) -> None:
    path = tmp_path / "only.py"
    path.write_text("from viewos import VirtualModule, FileModule\nclass X(VirtualModule): pass\n")
    assert type(load(str(path))).__name__ == "X"


def test_a_file_without_suffix(tmp_path: Path) -> None:
    path = tmp_path / "module"
    path.write_text("from viewos import VirtualModule\nclass X(VirtualModule): pass\n")
    assert type(load(f"{path}:X")).__name__ == "X"


def test_two_files_of_one_name(tmp_path: Path) -> None:
    made = []
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "m.py").write_text(
            f"from viewos import VirtualModule\nclass X(VirtualModule): where = {directory!r}\n"
        )
        made.append(load(f"{tmp_path}/{directory}/m.py"))
    assert [module.where for module in made] == ["a", "b"]  # type: ignore[attr-defined]


def test_a_file_is_not_cached_beside_itself(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    load(f"{file}:One")
    assert list(file.parent.iterdir()) == [file]
    assert sys.dont_write_bytecode is False


@pytest.mark.parametrize(
    ("behind", "line"),
    [
        ("", "P: name the class, P:CLASS (it has One, Two)"),
        (":Three", "P has no module class Three (it has One, Two)"),
        (":number", "P has no module class number (it has One, Two)"),
        (":function", "P has no module class function (it has One, Two)"),
        (":SpecError", "P: SpecError is no subclass of VirtualModule"),
        (":VirtualModule", "P: VirtualModule is what modules are made from (it has One, Two)"),
        (":One:x", "module P: 'x': expected a number (for example: -m one:3)"),
        (":One:,", "module P: there is an empty item (a comma too many?) (for example: -m one:3)"),
    ],
)
def test_a_wrong_class_or_item(file: Path, behind: str, line: str) -> None:
    assert message(f"{file}{behind}").replace(str(file), "P") == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import nothing_like_it\n", "line 1: ModuleNotFoundError: No module named"),
        ("\n\nx = 1 / 0\n", "line 3: ZeroDivisionError: division by zero"),
        ("\nclass X(:\n", "line 2: SyntaxError: invalid syntax"),
        ("def f():\n  raise ValueError('a\\nb')\nf()\n", "line 2: ValueError: a b"),
        ("raise SystemExit(3)\n", "line 1: SystemExit: 3"),
        ("from viewos import *\nclass X(VirtualModule):\n  def opne(self, call): ...\n",
         "line 2: TypeError: X.opne: there is no operation or system call of that name"),
        ("x = '\\xff'\n# \\xff", "P: name the class"),
    ],
)  # fmt: skip
def test_a_file_with_an_error(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "m.py"
    path.write_text(text)
    names = set(sys.modules)
    assert line in message(str(path)).replace(str(path), "P")
    left = {name for name in set(sys.modules) - names if name.startswith("viewos_module_")}
    assert len(left) <= ("name the class" in line)


def test_no_such_file(tmp_path: Path) -> None:
    assert message(f"{tmp_path}/m.py") == f"module {tmp_path}/m.py: no such file"
    assert message(f"{tmp_path}/:X") == f"module {tmp_path}/: is a directory"
    assert message("/dev/null:X") == "module /dev/null: is no regular file"


def test_statuses(file: Path) -> None:
    """Wrong words are the user's (2); a file that fails is the author's (125)."""
    for text, status in ((f"{file}:Three", 2), ("zzz", 2), (f"{file}:One:x", 2)):
        with pytest.raises(SpecError) as caught:
            load(text)
        assert caught.value.status == status
    file.write_text("1 / 0\n")
    with pytest.raises(ViewosError) as failed:
        load(str(file))
    assert failed.value.status == 125


# ---- entry points -------------------------------------------------------------------------------

ENTRIES = """\
[viewos.modules]
faults = fake_package:Faults
vfs = fake_package:Faults
broken = fake_package:Nothing
missing = no_such_package:X
odd = fake_package:number
"""
PACKAGE = """
from viewos import VirtualModule
number = 3
class Faults(VirtualModule):
    '''Break things.'''
    name = "faults"
    example = "faults"
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution that offers modules."""
    info = tmp_path / "fake_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "fake_package.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fake_package", raising=False)
    return tmp_path


@pytest.mark.usefixtures("package")
def test_an_entry_point() -> None:
    module = load("faults")
    assert (type(module).__module__, type(module).name) == ("fake_package", "faults")


@pytest.mark.usefixtures("package")
def test_a_built_in_name_cannot_be_taken() -> None:
    assert type(load("vfs:/mnt=/tmp")).__module__ == "viewos.modules.vfs"
    assert [one.name for one in available()].count("vfs") == 1


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("broken", "module broken (fake_package:Nothing): AttributeError: "),
        ("missing", "module missing (no_such_package:X): ModuleNotFoundError: "),
        ("odd", "module odd: fake_package:number is no VirtualModule class"),
        ("fault", "there is no module 'fault': did you mean faults?"),
    ],
)
def test_a_broken_entry_point(name: str, line: str) -> None:
    assert message(name).startswith(line)


@pytest.mark.usefixtures("package")
def test_what_there_is() -> None:
    listed = {one.name: one for one in available()}
    assert list(listed)[: len(BUILT_IN)] == sorted(BUILT_IN)
    assert {"faults", "broken", "missing", "odd"} <= set(listed)
    assert (listed["faults"].summary, listed["faults"].error) == ("Break things.", None)
    assert "AttributeError" in (listed["broken"].error or "")
    for name in BUILT_IN:
        one = listed[name]
        assert one.error is None
        assert one.summary.endswith(".")
        assert one.grammar.startswith(name) and one.example.startswith(name)


def test_starting_does_not_look_for_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes some 20 ms."""
    monkeypatch.setattr(loader, "_entry_points", lambda: pytest.fail("looked"))
    assert isinstance(load("uid:0"), VirtualModule)
