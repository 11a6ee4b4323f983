"""The grammar of -m: MODULE[:ITEM[,ITEM]...], ITEM = WORD or KEY=VALUE."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from viewos.errors import SpecError
from viewos.spec import Item, Items, ModuleSpec, parse, quote

# What a command line can hold: any text without NUL, bytes that are no text as surrogates.
TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",))
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=("Cs",)),
    max_size=20,
)
NAME = st.text(st.sampled_from(string.ascii_lowercase + string.digits + "_-."), min_size=1).filter(
    lambda name: not name.endswith(".py")
)


def words(*values: str) -> tuple[Item, ...]:
    return tuple(Item(None, value, value) for value in values)


PARSED = {
    "uid": ModuleSpec("uid", None, ()),
    "uid:": ModuleSpec("uid", None, ()),
    "uid:0": ModuleSpec("uid", None, words("0")),
    "uid:0:0": ModuleSpec("uid", None, words("0:0")),
    "vfs:/mnt=/tmp/x": ModuleSpec("vfs", None, (Item("/mnt", "/tmp/x", "/mnt=/tmp/x"),)),
    "vfs:/a=/b,ro": ModuleSpec("vfs", None, (Item("/a", "/b", "/a=/b"), *words("ro"))),
    "vfs:/a=/b=c": ModuleSpec("vfs", None, (Item("/a", "/b=c", "/a=/b=c"),)),
    "vfs:/a=": ModuleSpec("vfs", None, (Item("/a", "", "/a="),)),
    "vfs:=/b": ModuleSpec("vfs", None, (Item("", "/b", "=/b"),)),
    "vfs:/a b=/c d": ModuleSpec("vfs", None, (Item("/a b", "/c d", "/a b=/c d"),)),
    "x:a,,b": ModuleSpec("x", None, words("a", "", "b")),
    "x:a,": ModuleSpec("x", None, words("a", "")),
    "x:,": ModuleSpec("x", None, words("", "")),
    # a backslash quotes any character
    r"vfs:/a\,b=/c\=d": ModuleSpec("vfs", None, (Item("/a,b", "/c=d", r"/a\,b=/c\=d"),)),
    r"vfs:/a\=b=/c": ModuleSpec("vfs", None, (Item("/a=b", "/c", r"/a\=b=/c"),)),
    r"x:a\\b": ModuleSpec("x", None, (Item(None, "a\\b", r"a\\b"),)),
    r"x:\a": ModuleSpec("x", None, (Item(None, "a", r"\a"),)),
    r"x\:y:z": ModuleSpec("x:y", None, words("z")),
    # an address in brackets needs none
    "net:to=[::1]:80": ModuleSpec("net", None, (Item("to", "[::1]:80", "to=[::1]:80"),)),
    "net:[fe80::1%eth0]": ModuleSpec("net", None, words("[fe80::1%eth0]")),
    "net:[::ffff:10.0.0.1]:5,x": ModuleSpec("net", None, words("[::ffff:10.0.0.1]:5", "x")),
    "vfs:/a[1]=/b[,]": ModuleSpec("vfs", None, (Item("/a[1]", "/b[", "/a[1]=/b["), *words("]"))),
    # files: the class stands between the first colon and the second
    "m.py": ModuleSpec("m.py", None, ()),
    "m.py:Class": ModuleSpec("m.py", "Class", ()),
    "./m.py:Class:a,b=c": ModuleSpec("./m.py", "Class", (*words("a"), Item("b", "c", "b=c"))),
    "m.py::a": ModuleSpec("m.py", None, words("a")),
    "dir/m": ModuleSpec("dir/m", None, ()),
    r"a\:b.py:C": ModuleSpec("a:b.py", "C", ()),
}  # fmt: skip


@pytest.mark.parametrize("text", PARSED)
def test_what_a_spec_means(text: str) -> None:
    assert parse(text) == PARSED[text]


@given(NAME, st.lists(st.tuples(st.none() | TEXT, TEXT), max_size=5))
@example("x", [("a,b=c", "=\\,:[::1]")])
@example("x", [(None, "[::1]"), ("", "")])
def test_what_is_quoted_comes_back(name: str, items: list[tuple[str | None, str]]) -> None:
    """Any key and value, whatever characters they are made of."""
    written = [
        quote(value) if key is None else f"{quote(key)}={quote(value)}" for key, value in items
    ]
    if written == [""]:
        written = []  # nothing behind the colon is no item
        items = []
    spec = parse(f"{name}:{','.join(written)}")
    assert spec.module == name
    assert [(item.key, item.value) for item in spec.items] == items
    assert [item.text for item in spec.items] == written


@given(TEXT.filter(bool), TEXT)
def test_a_file_of_any_name(directory: str, value: str) -> None:
    spec = parse(f"{quote(directory)}/m.py:Class:{quote(value)}")
    assert (spec.module, spec.class_name) == (f"{directory}/m.py", "Class")
    assert [item.value for item in spec.items] == ([value] if value else [])


@given(TEXT)
def test_any_text_is_parsed_or_refused_with_one_line(text: str) -> None:
    try:
        spec = parse(text)
    except SpecError as error:
        said = error
    else:
        assert_nothing_is_lost(spec)
        return
    assert "\n" not in str(said)
    assert said.status == 2


def assert_nothing_is_lost(spec: ModuleSpec) -> None:
    assert spec.module
    parts = [quote(spec.module)]
    if spec.is_file:
        parts.append(quote(spec.class_name or ""))
    parts.append(",".join(item.text for item in spec.items))
    assert parse(":".join(parts)) == spec


@pytest.mark.parametrize("char", string.punctuation + " \t\n\x01\x7fé\udcff")
def test_every_character_can_be_quoted(char: str) -> None:
    (item,) = parse(f"x:a{quote(char)}b=c{quote(char)}d").items
    assert (item.key, item.value) == (f"a{char}b", f"c{char}d")
    (item,) = parse(f"x:a\\{char}b").items
    assert (item.key, item.value) == (None, f"a{char}b")


@pytest.mark.parametrize("text", ["", ":", ":a", ":a=b", "::"])
def test_a_name_is_missing(text: str) -> None:
    with pytest.raises(SpecError, match="a module's name is missing") as caught:
        parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["\\", "x:\\", "x:a\\\\\\"])
def test_a_backslash_at_the_end(text: str) -> None:
    with pytest.raises(SpecError, match="the backslash at the end has nothing to quote"):
        parse(text)


# ---- the errors of a module ---------------------------------------------------------------------


def test_an_error_names_the_module_the_word_and_an_example() -> None:
    items = Items(parse(r"vfs:a\,b").items, "vfs", "vfs:/mnt=/tmp/x")
    assert str(items.error(items[0], "is wrong")) == (
        r"module vfs: 'a\\,b': is wrong (for example: -m vfs:/mnt=/tmp/x)"
    )
    assert str(items.error(None, "is missing")) == (
        "module vfs: is missing (for example: -m vfs:/mnt=/tmp/x)"
    )
    assert str(Items((), "mine").error(None, "is missing")) == "module mine: is missing"


def test_a_long_word_is_cut_in_an_error() -> None:
    items = Items(parse("x:" + "y" * 100_000).items, "x")
    text = str(items.error(items[0], "is wrong"))
    assert len(text) < 400 and "[...]" in text and text.endswith("is wrong")


def test_a_module_that_takes_nothing() -> None:
    Items((), "x").finish()
    with pytest.raises(SpecError, match="module x: 'a=b': this module takes nothing"):
        Items(parse("x:a=b").items, "x").finish()
