"""Named tuples as typing has them, whose classes are made in a third of the time.

typing.NamedTuple compiles each annotation that is a string, and defines all methods anew for each
class: with the fifty classes that a start makes it would take a tenth of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from collections import namedtuple

    _getter = type(namedtuple("_", "field").field)
    _new = tuple.__new__

    class _Kind(type):
        def __new__(kind, name, bases, body):
            if tuple in bases or NamedTuple not in bases:
                return super().__new__(kind, name, bases, body)
            names = tuple(body.get("__annotations__", ()))
            defaults = {field: body.pop(field) for field in names if field in body}
            given = ", ".join(names)
            make = eval(f"lambda _cls, {given}: _new(_cls, ({given},))", {"_new": _new})
            make.__defaults__ = tuple(defaults.values())
            body |= {field: _getter(at, "") for at, field in enumerate(names)}
            body |= {
                "__slots__": (), "__match_args__": names, "__new__": make,
                "_fields": names, "_field_defaults": defaults,
            }  # fmt: skip
            return super().__new__(kind, name, bases, body)

    class NamedTuple(tuple, metaclass=_Kind):
        """A tuple whose fields are the annotations of its class."""

        __slots__ = ()

        @classmethod
        def _make(cls, values):
            made = _new(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"expected {len(cls._fields)} values, got {len(made)}")
            return made

        def _replace(self, **changes):
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise ValueError(f"no such fields: {list(changes)}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            fields = map("{}={!r}".format, self._fields, self)
            return f"{type(self).__name__}({', '.join(fields)})"

        def __getnewargs__(self):
            return tuple(self)


__all__ = ["NamedTuple"]
