"""Settings that come from a config file or a command line.

Every group of settings is a pydantic model that refuses unknown keys; ``read`` turns a plain mapping into it and
names the first setting that is wrong by its full name, so that a run stops at its start and says what to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from osvl_plugins.errors import SettingError


class Settings(BaseModel):
    """Base of all groups: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Settings)


def read(model: type[S], values: Mapping[str, Any] | None, name: str) -> S:
    """The settings group ``model`` from ``values``; ``name`` is where the group stands in the config.

    Raises ``SettingError`` with the full name of the first wrong setting.
    """
    if values is not None and not isinstance(values, Mapping):
        raise SettingError(name, f"must be a group of settings, got {values!r}")
    try:
        return model.model_validate(dict(values or {}))
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        where = ".".join([name, *(str(part) for part in first["loc"])])
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(model.model_fields))
            raise SettingError(where, f"no such setting; the group has {known}") from None
        raise SettingError(where, f"{first['msg']}, got {first['input']!r}") from None
