"""Plain data from a file as a dataclass: every field of the type that it says, or one error with the place.

scores = typed(Scores, read_json(path), where=path)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from snpe_srgan.errors import InputError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
_adapters: dict[Any, TypeAdapter[Any]] = {}  # made once: one takes milliseconds


def typed(kind: type[T], data: object, *, where: object, hint: str = "delete the file and make it again") -> T:
    """`data` (what JSON gives) as a `kind`, a dataclass.

    Args:
        where: the file, for the error.
        hint: what the error tells to do.

    Raises:
        InputError: a field is missing or of another type; it names the field.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        if kind not in _adapters:
            _adapters[kind] = TypeAdapter(kind)
        return _adapters[kind].validate_python(data)
    except OverflowError as error:  # an integer of hundreds of digits where a float belongs
        raise InputError(f"damaged: {error}"[:200], where=where, hint=hint) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"damaged: {place}: {first['msg']}"[:200], where=where, hint=hint) from error
