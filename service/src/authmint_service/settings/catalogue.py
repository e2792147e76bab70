"""The list of all settings, for everything that is about each of them: the documentation, and `authmint-service settings`."""

import inspect
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from authmint_service.settings import Settings
from authmint_service.settings.group import SettingsGroup, is_secret, required_advice, variable
from authmint_service.settings.variables import Source, Variables


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as a person writes it."""

    field: str
    variable: str
    title: str
    """The heading of its group."""
    description: str
    values: str
    """Which values it may have, "" if the description says it."""
    default: str
    """As it is written, "" if there is none."""
    example: str
    """A value to start from, "" if there is none."""
    is_required: bool
    """Whether production does not start without it."""
    is_secret: bool


@dataclass(frozen=True, slots=True)
class SettingInEffect:
    """One setting of a running configuration."""

    variable: str
    value: str
    """Of a secret only whether it is set."""
    source: str
    """The environment, `.env`, the default or the service that runs; of a secret in a file, also the variable that names it."""


def list_settings() -> list[Setting]:
    """Return every setting, those of one group together."""
    return [setting for group in reversed(Settings.__bases__) for setting in _settings_of(group)]


def list_settings_in_effect(settings: Settings, variables: Variables) -> list[SettingInEffect]:
    """Return every setting with its value and its source. `variables`: those that `settings` was made from."""
    return [_in_effect(setting, settings, variables) for setting in list_settings()]


def list_settings_of_another(settings: Settings, secrets: Collection[str]) -> list[SettingInEffect]:
    """Return every setting of a service that runs. `secrets`: the fields of those that its environment has set."""
    return [_in_effect_elsewhere(setting, settings, secrets) for setting in list_settings()]


def _settings_of(group: type) -> Iterator[Setting]:
    # A group in the same module as its base is documented together with it.
    for part in reversed(group.__mro__):
        if issubclass(part, SettingsGroup) and part.__module__ == group.__module__:
            for name in inspect.get_annotations(part):
                if name in Settings.model_fields:
                    yield _setting(name, Settings.model_fields[name], getattr(group, "title", ""))


def _setting(name: str, field: FieldInfo, title: str) -> Setting:
    default = _text(field.default)
    return Setting(
        field=name,
        variable=variable(name),
        title=title,
        description=field.description or "",
        values=_values(field),
        default=default,
        example=default or str(next(iter(field.examples or ()), "")),
        is_required=required_advice(field) is not None,
        is_secret=is_secret(field),
    )


def _values(field: FieldInfo) -> str:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return _alternatives(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _alternatives([member.value for member in kind])
    if kind is bool:
        return _alternatives(["true", "false"])
    minimum, maximum = (_bound(field, name) for name in ("ge", "le"))
    if minimum is not None and maximum is not None:
        return f"A whole number from {minimum} to {maximum}"
    return ""


def _alternatives(values: Any) -> str:
    *others, last = (f"`{value}`" for value in values)
    return f"{', '.join(others)} or {last}"


def _bound(field: FieldInfo, name: str) -> int | None:
    return next((getattr(one, name) for one in field.metadata if hasattr(one, name)), None)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value.value if isinstance(value, StrEnum) else str(value)


def _in_effect(setting: Setting, settings: Settings, variables: Variables) -> SettingInEffect:
    if setting.is_secret:
        found = variables.find_secret(setting.variable)
        if found is None:
            return SettingInEffect(setting.variable, "not set", Source.DEFAULT.value)
        file = "" if found.name == setting.variable else f", {found.name}"
        return SettingInEffect(setting.variable, "set", f"{found.source.value}{file}")
    found = variables.find(setting.variable)
    source = Source.DEFAULT if found is None else found.source
    if setting.is_required and found is None and not settings.is_development:
        # Its default is for development alone: production does not start without it.
        return SettingInEffect(setting.variable, "not set", source.value)
    return SettingInEffect(setting.variable, _text(settings.value_in_effect(setting.field)), source.value)


def _in_effect_elsewhere(setting: Setting, settings: Settings, secrets: Collection[str]) -> SettingInEffect:
    if setting.is_secret:
        is_given = setting.field in secrets
        value = "set" if is_given else "not set"
    else:
        is_given = _text(getattr(settings, setting.field)) != setting.default
        value = _text(settings.value_in_effect(setting.field))
    return SettingInEffect(setting.variable, value, (Source.SERVICE if is_given else Source.DEFAULT).value)
