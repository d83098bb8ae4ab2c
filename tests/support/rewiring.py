"""Rewired services: the services of an application with another object in place of one part."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from auth_service.wiring import Services


def rewired(services: Services, part: object, *, by: object) -> Services:
    """Return the same services with `by` wherever they use `part`; all other parts stay the same objects.

    Services are frozen dataclasses that get everything passed in, so a test needs no patch of our own code.
    """
    rebuilt: dict[int, Any] = {id(part): by}

    def rebuild(value: Any) -> Any:
        if id(value) not in rebuilt:
            rebuilt[id(value)] = value
            if is_dataclass(value) and not isinstance(value, type):
                parts = {field.name: getattr(value, field.name) for field in fields(value)}
                changes = {name: new for name, old in parts.items() if (new := rebuild(old)) is not old}
                rebuilt[id(value)] = replace(value, **changes) if changes else value
        return rebuilt[id(value)]

    result: Services = rebuild(services)
    assert result is not services, "the services do not use this part"
    return result
