"""Dataclasses as they are stored: their fields as JSON values, and back, whichever version wrote them.

A field's key is its name, or `metadata={"key": …}` where the stored word cannot be a name in Python.
"""

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, TypeVar

_T = TypeVar("_T")


def values_of(made: Any) -> dict[str, Any]:
    """A dataclass's fields under their stored keys; what lies inside them stays as it is."""
    return {_key(one): getattr(made, one.name) for one in fields(made)}


def made_of(kind: type[_T], values: Mapping[str, Any]) -> _T:
    """A dataclass from its stored values.

    Keys that another version wrote and this one does not know are left out. Fields without a key have their defaults.

    Raises:
        TypeError: a field has neither a key nor a default.
    """
    names = {_key(one): one.name for one in fields(kind)}  # type: ignore[arg-type]  # every kind here is a dataclass
    return kind(**{names[key]: value for key, value in values.items() if key in names})


def _key(one: Field[Any]) -> str:
    return str(one.metadata.get("key", one.name))
