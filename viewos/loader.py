"""Finds modules: by built-in name, by entry point, or in a file, `path/to/file.py:Class`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from viewos.errors import FAULTS, SpecError, ViewosError, quoted, told
from viewos.module import VirtualModule
from viewos.spec import Items, ModuleSpec, parse
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from types import ModuleType

ENTRY_POINTS = "viewos.modules"
BUILT_IN = {
    "hostname": "Hostname", "mount": "Mount", "net": "Net", "tmpfs": "Tmpfs", "uid": "Uid",
    "vfs": "Vfs",
}  # fmt: skip
"""Name (and file below viewos/modules) -> class."""
_BY_OPTION = {"uid.drop": "DroppingUid", "uid.reach": "ReachingUid"}
"""What some of them become by options of theirs."""


def load(text: str, file_of: Callable[[str], str] = lambda path: path) -> VirtualModule:
    """Make the module that a SPEC describes. `file_of`: where this process finds a module's file.

    Raises SpecError, ViewosError: one line each.
    """
    spec = parse(text)
    cls = find(spec._replace(module=file_of(spec.module)) if spec.is_file else spec)
    items = Items(spec.items, spec.module if spec.is_file else cls.name, cls.example)
    for item in items:
        if not item.text:
            raise items.error(None, "there is an empty item (a comma too many?)")
    try:
        module: object = cls.from_items(items)
    except ViewosError:
        raise
    except FAULTS as error:
        raise ViewosError(f"module {items.module}: {told(error)}") from error
    if not isinstance(module, VirtualModule):
        raise ViewosError(f"module {items.module}: from_items() gave {module!r}, and no module")
    module.spec = text
    return module


def find(spec: ModuleSpec) -> type[VirtualModule]:
    """The class of a module. Raises SpecError, ViewosError."""
    if spec.is_file:
        return _in_file(spec.module, spec.class_name)
    if spec.module in BUILT_IN:
        return _built_in(spec.module)
    for entry in _entry_points():
        if entry.name == spec.module:
            return _by_entry_point(entry)
    raise _unknown(spec.module)


def _built_in(name: str) -> type[VirtualModule]:
    from importlib import import_module

    classes = BUILT_IN | _BY_OPTION
    cls: type[VirtualModule] = getattr(import_module(f"viewos.modules.{name}"), classes[name])
    return cls


def built_in_classes() -> list[type[VirtualModule]]:
    """All modules that come with viewos, whatever their options."""
    return [_built_in(name) for name in (*BUILT_IN, *_BY_OPTION)]


def _unknown(name: str) -> SpecError:
    from difflib import get_close_matches

    names = [*BUILT_IN, *(entry.name for entry in _entry_points())]
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else "`viewos modules` lists those that there are"
    return SpecError(f"there is no module {quoted(name)}: {hint}")


# ---- entry points -------------------------------------------------------------------------------


def _entry_points() -> Iterator[EntryPoint]:
    from importlib.metadata import entry_points  # takes some 20 ms, so only where it is needed

    seen = set(BUILT_IN)
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name not in seen:
            seen.add(entry.name)
            yield entry


def _by_entry_point(entry: EntryPoint) -> type[VirtualModule]:
    try:
        found = entry.load()
    except FAULTS as error:
        raise ViewosError(f"module {entry.name} ({entry.value}): {told(error)}") from error
    if not _is_module_class(found):
        raise ViewosError(f"module {entry.name}: {entry.value} is no VirtualModule class")
    return found


# ---- files --------------------------------------------------------------------------------------


def _in_file(path: str, class_name: str | None) -> type[VirtualModule]:
    namespace = _import(path)
    classes = {
        name: value
        for name, value in vars(namespace).items()
        if _is_module_class(value) and value.__module__ == namespace.__name__
    }
    if class_name is None:
        if len(classes) == 1:
            return next(iter(classes.values()))
        raise SpecError(f"{path}: name the class, {path}:CLASS ({_listed(classes)})")
    found = getattr(namespace, class_name, None)
    if found is VirtualModule:
        raise SpecError(f"{path}: {class_name} is what modules are made from ({_listed(classes)})")
    if isinstance(found, type) and not _is_module_class(found):
        raise SpecError(f"{path}: {class_name} is no subclass of VirtualModule")
    if not _is_module_class(found):
        raise SpecError(f"{path} has no module class {class_name} ({_listed(classes)})")
    return found


def _listed(classes: dict[str, Any]) -> str:
    return "it has " + ", ".join(sorted(classes)) if classes else "it has none at all"


def _import(path: str) -> ModuleType:
    """Run a file as a Python module of a name of its own."""
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    if not os.path.isfile(path):
        kind = "is a directory" if os.path.isdir(path) else "is no regular file"
        why = kind if os.path.exists(path) else "no such file"
        raise SpecError(f"module {path}: {why}")
    name = "viewos_module_" + "".join(c if c.isalnum() else "_" for c in os.path.abspath(path))
    found = spec_from_loader(name, SourceFileLoader(name, path))
    assert found is not None and found.loader is not None
    module = sys.modules[name] = module_from_spec(found)
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        found.loader.exec_module(module)
    except FAULTS as error:
        del sys.modules[name]
        raise ViewosError(f"module {path}: {told(error, path)}") from error
    finally:
        sys.dont_write_bytecode = writes_bytecode
    return module


def _is_module_class(value: object) -> TypeGuard[type[VirtualModule]]:
    return isinstance(value, type) and issubclass(value, VirtualModule)


# ---- what there is ----------------------------------------------------------------------------


class Listed(NamedTuple):
    """A module that -m can name."""

    name: str
    summary: str
    grammar: str
    example: str
    error: str | None
    """Why it cannot be loaded."""


def available() -> list[Listed]:
    """All modules that have a name, the built-in ones first; a broken one with its error."""
    listed = [_describe(name, _built_in(name)) for name in sorted(BUILT_IN)]
    for entry in sorted(_entry_points(), key=lambda e: e.name):
        try:
            listed.append(_describe(entry.name, _by_entry_point(entry)))
        except ViewosError as error:
            listed.append(Listed(entry.name, "", "", "", str(error)))
    return listed


def _describe(name: str, cls: type[VirtualModule]) -> Listed:
    summary = (cls.__doc__ or "").strip().partition("\n")[0]
    return Listed(name, summary, cls.grammar or name, cls.example or name, None)
