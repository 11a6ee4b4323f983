"""viewos.tuples beside typing: the same in all that programs use."""

from __future__ import annotations

import copy
import pickle
import typing
from typing import Any

import pytest

from viewos import tuples

pytestmark = pytest.mark.timeout(60)


def with_everything(base: Any, name: str) -> Any:
    """A class that has all that a named tuple can have."""

    class Made(base):
        """With everything."""

        first: int
        second: dict[str, int] | None
        third: bytes = b"x"
        fourth: tuple[int, ...] = ()

        @property
        def sum(self) -> int:
            return self.first + len(self.third)

        @classmethod
        def made(cls, first: int) -> typing.Self:
            return cls(first, None)

    Made.__name__ = Made.__qualname__ = name  # by which pickle finds it
    return Made


Theirs = with_everything(typing.NamedTuple, "Theirs")
Ours = with_everything(tuples.NamedTuple, "Ours")


class More(Ours):
    def twice(self) -> int:
        return 2 * self.first


def tried(what: Any) -> Any:
    try:
        return what()
    except (TypeError, ValueError, AttributeError) as error:
        return type(error)


USES: list[Any] = [
    lambda c: tuple(c(1, None)),
    lambda c: repr(c(1, {"a": 2}, fourth=(3,))).partition("(")[2],
    lambda c: tuple(c(second=None, first=7)),
    lambda c: c(1),
    lambda c: c(1, 2, 3, 4, 5),
    lambda c: c(1, 2, fifth=3),
    lambda c: tuple(c(1, None)._replace(third=b"yy", first=9)),
    lambda c: c(1, None)._replace(nothing=1),
    lambda c: tuple(c._make([1, 2, 3, 4])),
    lambda c: c._make([1, 2, 3]),
    lambda c: c(1, None)._asdict(),
    lambda c: (c._fields, c._field_defaults, c.__match_args__, c.__doc__),
    lambda c: list(c.__annotations__),
    lambda c: (c(1, None).sum, tuple(c.made(4))),
    lambda c: setattr(c(1, None), "first", 2),
    lambda c: setattr(c(1, None), "other", 2),
    lambda c: hasattr(c(1, None), "__dict__"),
    lambda c: (c(1, None) == (1, None, b"x", ()), hash(c(1, None)) == hash((1, None, b"x", ()))),
    lambda c: c(1, None) < c(2, None),
    lambda c: tuple(copy.deepcopy(c(1, {"a": 2}))),
    lambda c: type(pickle.loads(pickle.dumps(c(1, None)))) is c,
    lambda c: pickle.loads(pickle.dumps(c(1, None))) == c(1, None),
    lambda c: (c(1, None)[2], c(1, None).third, c.third.__get__(c(1, None))),
    lambda c: c.third.__get__(3),
    lambda c: c.__name__ in repr(c(1, None)),
    typing.get_type_hints,
]  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_a_use(use: Any) -> None:
    assert tried(lambda: use(Ours)) == tried(lambda: use(Theirs))


def test_a_subclass() -> None:
    more = More(4, None)
    assert (more.twice(), more.sum, more._replace(first=5).twice()) == (8, 5, 10)
    assert isinstance(more._replace(first=5), More)
    assert isinstance(pickle.loads(pickle.dumps(more)), More)


def test_one_is_matched() -> None:
    match Ours(1, None):
        case Ours(first, None, third=third):
            assert (first, third) == (1, b"x")
        case _:
            pytest.fail("no match")
