"""Messages to dataclasses whose fields bear the same names, and back.

Enums are their words without prefix in lower case, "" where unspecified; predictors
and qualities keep the upper case that they are known by. Numbers of a newer
schema that this one does not know are written as digits.
"""

from __future__ import annotations

import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from chipwatt.client.channel import InvalidRequest

T = TypeVar("T")
_IN_CAPITALS = ("Predictor", "Quality")
_Convert = Callable[[Any], Any]


def read(cls: type[T], message: Any) -> T:
    """Return the message as ``cls``; a field of ``X | None`` is None where it is not set."""
    made: T = _reader(cls, message.DESCRIPTOR)(message)  # type: ignore[arg-type]
    return made


def write(value: Any, message: Any) -> Any:
    """Fill ``message`` with the dataclass and return it.

    The message is set within another one even where all of the dataclass is 0. Raises
    InvalidRequest for an unknown word, or what the field cannot hold.
    """
    message.SetInParent()
    for field in fields(value):
        content = getattr(value, field.name)
        if not content:  # what is not set says the same, and chooses none of a oneof
            continue
        descriptor = message.DESCRIPTOR.fields_by_name[field.name]
        if isinstance(content, Mapping):
            getattr(message, field.name).update(content)
        elif isinstance(content, tuple):
            _extend(getattr(message, field.name), content, descriptor)
        elif is_dataclass(content):
            write(content, getattr(message, field.name))
        else:
            _set(message, field.name, number(content, descriptor))
    return message


def request(cls: type[T], **contents: Any) -> T:
    """Return a message of these fields. Raises InvalidRequest for what one cannot hold."""
    message: Any = cls()
    for name, content in contents.items():
        if hasattr(content, "DESCRIPTOR"):
            getattr(message, name).CopyFrom(content)
        elif isinstance(content, str) or not isinstance(content, Iterable):
            _set(message, name, content)
        else:
            _guard(name, content, getattr(message, name).extend)
    made: T = message
    return made


def _set(message: Any, name: str, content: object) -> None:
    _guard(name, content, lambda item: setattr(message, name, item))


def _guard(name: str, content: object, put: Callable[[Any], None]) -> None:
    try:
        put(content)
    except (AttributeError, TypeError, ValueError):
        raise InvalidRequest(f"{name}: {content!r:.80} is nothing that can be sent") from None


def word(value: int, enum: EnumDescriptor) -> str:
    """Return an enum's value as its word."""
    return _words(enum).get(value, str(value))


def words(enum: EnumDescriptor) -> tuple[str, ...]:
    """Return every word of an enum, in its order."""
    return tuple(filter(None, _words(enum).values()))


def number(content: Any, descriptor: FieldDescriptor) -> Any:
    """Return a word as the number of the field's enum, other content as it is.

    Raises InvalidRequest that names the field and the words it takes.
    """
    enum = descriptor.enum_type
    if enum is None:
        return content
    name = _prefix(enum) + (str(content).upper() or "UNSPECIFIED")
    if name not in enum.values_by_name:
        raise InvalidRequest(f"{descriptor.name}: {content!r} is none of {', '.join(words(enum))}")
    return enum.values_by_name[name].number


def _extend(into: Any, contents: tuple[Any, ...], descriptor: FieldDescriptor) -> None:
    for content in contents:
        if is_dataclass(content):
            write(content, into.add())
        else:
            _guard(descriptor.name, number(content, descriptor), into.append)


def _prefix(enum: EnumDescriptor) -> str:
    return str(enum.values[0].name.removesuffix("UNSPECIFIED"))


@cache
def _words(enum: EnumDescriptor) -> dict[int, str]:
    named = {value.number: value.name.removeprefix(_prefix(enum)) for value in enum.values}
    if enum.name not in _IN_CAPITALS:
        named = {number: name.lower() for number, name in named.items()}
    return {**named, 0: ""}


@cache
def _reader(cls: type, descriptor: Descriptor) -> _Convert:
    """Return what makes a message a ``cls``: made once, as a rank reads many thousands."""
    hints = typing.get_type_hints(cls)
    names = [field.name for field in fields(cls)]
    get_all = operator.attrgetter(*names) if len(names) > 1 else _only(names[0])
    conversions = []
    for place, name in enumerate(names):
        hint, is_optional = hints[name], False
        if typing.get_origin(hint) in (types.UnionType, typing.Union):
            hint, is_optional = typing.get_args(hint)[0], True
        convert = _converter(hint, descriptor.fields_by_name[name])
        if convert is not None:
            conversions.append((place, name if is_optional else "", convert))

    def make(message: Any) -> Any:
        values = list(get_all(message))
        for place, optional, convert in conversions:
            if optional and not message.HasField(optional):
                values[place] = None
            else:
                values[place] = convert(values[place])
        return cls(*values)

    return make


def _only(name: str) -> _Convert:
    return lambda message: (getattr(message, name),)


def _converter(hint: Any, descriptor: FieldDescriptor) -> _Convert | None:
    """Return how to convert a field's content; None where it stays as it is."""
    origin = typing.get_origin(hint)
    if origin is tuple:
        each = _converter(typing.get_args(hint)[0], descriptor)
        return tuple if each is None else lambda contents: tuple(map(each, contents))
    if origin is not None:  # a mapping of text to text
        return dict
    if is_dataclass(hint):
        return _reader(typing.cast("type", hint), descriptor.message_type)
    if descriptor.enum_type is None:
        return None
    known = _words(descriptor.enum_type)
    return lambda value: known.get(value, str(value))
