"""Values that are made once, and a lock that is not there."""

from __future__ import annotations

import threading

from viewos.kept import kept


class Maker:
    """Counts, and may wait."""

    def __init__(self) -> None:
        self.made = 0
        self.may_go_on = threading.Event()
        self.is_making = threading.Event()

    @kept
    def value(self) -> int:
        """The documentation stays."""
        self.made += 1
        self.is_making.set()
        assert self.may_go_on.wait(10)
        return self.made


def test_it_is_made_once() -> None:
    maker = Maker()
    maker.may_go_on.set()
    assert (maker.value, maker.value, maker.made) == (1, 1, 1)
    assert Maker.value.__doc__ == "The documentation stays."


def test_nobody_waits_for_another_ones() -> None:
    slow, quick = Maker(), Maker()
    quick.may_go_on.set()
    thread = threading.Thread(target=lambda: slow.value)
    thread.start()
    assert slow.is_making.wait(10)
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(quick.value), daemon=True)
    other.start()
    other.join(10)
    slow.may_go_on.set()
    thread.join(10)
    assert found == [1]
