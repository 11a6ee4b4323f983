"""Profiles: what is read, and the line that an error names."""

from __future__ import annotations

from pathlib import Path

import pytest

from viewos.cli.profiles import file_of, read, together
from viewos.errors import SpecError, ViewosError

ODD = r'''
# a comment with "quotes" and [ brackets
"chdir" = "/a#b]"   # and another: modules = [
"modules" = [ "one:]", 'two:\,',
  """
three:""", "four:\"#",   # 'not this'

  "five:",
  "six"]
nestable = true
'''


def write(path: Path, text: str | bytes) -> str:
    file = path / "p.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(file)


def test_every_string_has_its_line(tmp_path: Path) -> None:
    file = write(tmp_path, ODD)
    profile = read(file)
    assert [(one.text, one.place) for one in profile.modules] == [
        ("one:]", f"{file}:4"), ("two:\\,", f"{file}:4"), ("three:", f"{file}:5"),
        ('four:"#', f"{file}:6"), ("five:", f"{file}:8"), ("six", f"{file}:9"),
    ]  # fmt: skip
    assert (profile.chdir, profile.nestable) == ("/a#b]", True)


def test_keys_with_escapes_and_lines_of_windows(tmp_path: Path) -> None:
    file = write(tmp_path, '\r\nchdir = "/[x]"\r\n"\\u006dodules" = [\r\n"a",\r\n"b"]\r\n')
    assert [one.place for one in read(file).modules] == [f"{file}:4", f"{file}:5"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "modules = []\n"])
def test_one_that_says_nothing(tmp_path: Path, text: str) -> None:
    assert read(write(tmp_path, text)) == ((), None, False)


WRONG = {
    "modules = [\n": (1, "Invalid value"),
    'chdir = "/x"\nmodules = ["a" "b"]\n': (2, "Unclosed array"),
    'chdir = "/x"\nchdir = "/y"\n': (2, "Cannot overwrite a value"),
    "\nmodules = 'vfs'\n": (2, "modules is to be a list of strings"),
    '\n\nmodules = ["a", 3]\n': (3, "modules is to be a list of strings"),
    'modules = [["a"]]\n': (1, "modules is to be a list of strings"),
    "# chdir = 1\nchdir = 1\n": (2, "chdir is to be a string"),
    'modules = ["""\nchdir = 1\n"""]\nchdir = 1\n': (4, "chdir is to be a string"),
    "nestable = 1\n": (1, "nestable is to be true or false"),
    "nestable = 'true'\n": (1, "nestable is to be true or false"),
    "chdir.x = 1\n": (1, "chdir is to be a string"),
    "\n[modules]\nx = 1\n": (2, "modules is to be a list of strings"),
    '\n["nestible"]\n': (2, "'nestible': did you mean nestable?"),
    "\n[[views]]\n": (2, "no key 'views': there are modules, chdir, nestable"),
    '\nchdir = "\\u0000"\n': (2, "a null character"),
    b"\n\n\xff\n": (3, "not UTF-8"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_has_its_line(tmp_path: Path, text: str | bytes) -> None:
    line, why = WRONG[text]
    file = write(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert why in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("make", "why"), [
    (lambda path: None, "No such file"),
    (lambda path: path.mkdir(), "Is a directory"),
    (lambda path: path.write_text("#" * (1 << 20) + "\n"), "longer than"),
    (lambda path: path.write_text("modules = " + "[" * 100_000), "p.toml"),
])  # fmt: skip
def test_one_that_cannot_be_read(tmp_path: Path, make, why: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "p.toml")
    with pytest.raises(SpecError, match=why):
        read(str(tmp_path / "p.toml"))


def test_a_module_that_cannot_be_made_names_its_line(tmp_path: Path) -> None:
    (module,) = read(write(tmp_path, 'modules = [\n"vsf:/x=y"\n]')).modules
    with pytest.raises(ViewosError, match=r"p\.toml:2: there is no module 'vsf'") as caught:
        module.load()
    assert caught.value.status == 2


def test_one_on_the_other(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("modules = ['a', 'b']\nchdir = '/a'\nnestable = true")
    (tmp_path / "b.toml").write_text("modules = ['c']\nchdir = '/b'")
    names = [str(tmp_path / "a.toml"), str(tmp_path / "b.toml")]
    both = together(names)
    assert [one.text for one in both.modules] == ["a", "b", "c"]
    assert (both.chdir, both.nestable) == ("/b", True)
    assert together(names[::-1]).chdir == "/a"


def test_where_names_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/cfg")
    assert file_of("x") == "/cfg/viewos/x.toml"
    assert file_of("./x") == "./x"
    assert file_of("x.toml") == "x.toml"
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert file_of("x") == "/home/me/.config/viewos/x.toml"
