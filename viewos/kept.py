"""A property that is made when it is asked for first.

functools.cached_property of Python 3.11 holds a lock for all instances while a value is made: a
forked child then waits for a thread that is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functools import cached_property as kept
else:

    class kept:  # noqa: N801  # as property
        """Makes a method the property's value, once; two threads at a time may each make it."""

        def __init__(self, make):
            self._make = make
            self.__doc__ = make.__doc__

        def __set_name__(self, owner, name):
            self._name = name

        def __get__(self, instance, owner):
            if instance is None:
                return self
            value = instance.__dict__[self._name] = self._make(instance)
            return value


__all__ = ["kept"]
