"""The base of all groups of settings, and the type of a setting that is secret."""

from dataclasses import dataclass
from typing import Any, ClassVar, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from authmint_service.settings.variables import PREFIX, Variables

MINUTE, HOUR, DAY = 60, 3600, 86_400


class Secret(SecretStr):
    """A setting that nobody may read. A field `x` of this type is AUTHMINT_X, or the content of the file AUTHMINT_X_FILE.

    Its text form is asterisks. Line ends at the end of the file are no part of it.
    """


@dataclass(frozen=True, slots=True)
class Required:
    """Marks a field without which production does not start."""

    advice: str
    """A sentence: what to set it to."""


class Spaced:
    """Marks a field that is a list in one text, with white space round its parts."""


class SettingsGroup(BaseSettings):
    """Settings that belong together. The field `x` is the variable `AUTHMINT_X`, from the environment or from `.env`.

    The description of a field is its text in the documentation; its `examples` stand there when it has no default.
    """

    title: ClassVar[str] = ""
    """The heading in the documentation."""
    reads_variables: ClassVar[bool] = True
    """Whether values come from the variables of this process, and not from the constructor alone."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what is given to the constructor, then our own variables. pydantic calls this."""
        if not cls.reads_variables:
            return (init_settings,)
        assert isinstance(dotenv_settings, DotEnvSettingsSource)
        return init_settings, _FromVariables(settings_cls, dotenv_settings.env_file)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_white_space(cls, value: object, info: ValidationInfo) -> object:
        """Refuse what a copied line brings along: a program that keeps it looks for another host, folder or password."""
        if isinstance(value, str) and value != value.strip() and keeps_white_space(cls.model_fields[info.field_name or ""]):
            raise ValueError("there is white space before or after it")
        return value


class _FromVariables(PydanticBaseSettingsSource):
    """The values of all fields that are set, as text. Raise SettingsError if a secret's file cannot be read."""

    def __init__(self, settings_cls: type[BaseSettings], env_file: Any) -> None:
        super().__init__(settings_cls)
        self._variables = Variables.read(env_file)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        name = variable(field_name)
        if is_secret(field):
            return self._variables.read_secret(name), field_name, False
        found = self._variables.find(name)
        return None if found is None else found.value, field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


def split_url(text: str) -> SplitResult:
    """Return the parts of a URL. Raise ValueError, whose text repeats nothing of it: it may have a password."""
    # `urlsplit` drops line ends without a word.
    if any(character.isspace() for character in text):
        raise ValueError("has white space in it; a URL has %20 instead")
    if text.startswith(('"', "'")):
        raise ValueError("stands in quotation marks, which are taken for a part of it")
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError("is not a URL") from None


def variable(field: str) -> str:
    """Return the name of a field's variable, as a person writes it."""
    return f"{PREFIX}{field.upper()}"


def keeps_white_space(field: FieldInfo) -> bool:
    """Return whether white space at the ends of a field's text would be a part of its value."""
    is_list = any(get_origin(kind) is tuple for kind in _kinds(field)) or any(isinstance(one, Spaced) for one in field.metadata)
    return not is_list and {int, bool}.isdisjoint(_kinds(field))


def required_advice(field: FieldInfo) -> str | None:
    """Return what to set a field to without which production does not start, None for any other field."""
    return next((one.advice for one in field.metadata if isinstance(one, Required)), None)


def is_secret(field: FieldInfo) -> bool:
    """Return whether a field has the type `Secret`, and so a variable that ends in _FILE."""
    return Secret in _kinds(field)


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    return field.annotation, *get_args(field.annotation)
