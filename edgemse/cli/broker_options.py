"""The options of all commands that connect to a broker: written once, so that they are the same."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from edgemse.settings import PASSWORD_VARIABLE, load

if TYPE_CHECKING:  # paho: who evaluates a file need not have it
    from edgemse.broker import BrokerSettings

__all__ = ["BrokerOptions", "connects"]


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """What was said of the broker, by the keys of [broker]; what was not is not in it."""

    said: Mapping[str, Any]

    def __bool__(self) -> bool:
        """Whether a broker was named."""
        return "address" in self.said

    def settings(self) -> BrokerSettings:
        """Return them as settings; SettingsError if one is wrong, or they contradict each other."""
        from edgemse.broker import BrokerSettings

        return load(BrokerSettings, dict(self.said), "options")


def _text(name: str, metavar: str, help: str) -> Any:  # noqa: A002 - Typer's word
    return Annotated[str | None, typer.Option(name, metavar=metavar, help=help)]


def _switch(names: str, help: str) -> Any:  # noqa: A002 - Typer's word
    return Annotated[bool | None, typer.Option(names, help=help)]


_OPTIONS: dict[str, Any] = {
    "username": _text("--username", "NAME", "User name at the broker."),
    "password_file": _text(
        "--password-file", "FILE", f"Password at the broker (or ${PASSWORD_VARIABLE})."
    ),
    "tls": _switch("--tls/--no-tls", "Encrypt."),
    "ca_file": _text("--ca-file", "FILE", "Certificates to trust with --tls."),
    "cert_file": _text("--cert-file", "FILE", "Our certificate, for brokers that want one."),
    "key_file": _text("--key-file", "FILE", "Its key, if it stands elsewhere."),
    "allow_plaintext_password": _switch(
        "--allow-plaintext-password", "Send the password unencrypted to another host."
    ),
    "protocol": _text("--protocol", "VERSION", "MQTT 5 or 3.1.1 [5]."),
    "prefix": _text("--prefix", "TOPIC", "Topic prefix [edgemse/v1]."),
}
"""By the keys of BrokerSettings; None: not said."""


def connects(
    *,
    required: bool = True,
    help: str = "The MQTT broker.",  # noqa: A002 - Typer's word
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator: the command's parameter `broker: BrokerOptions` becomes the options.

    They stand where it stands, --broker first, which must be given if it is `required`.
    """
    kind, default = (str, Parameter.empty) if required else (str | None, None)
    option = typer.Option("--broker", metavar="HOST:PORT", help=help)
    address: Any = Annotated[kind, option]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        keyword = Parameter.KEYWORD_ONLY
        found: list[Parameter] = []
        for each in signature(command).parameters.values():
            if hints[each.name] is BrokerOptions:
                found.append(Parameter("address", keyword, annotation=address, default=default))
                found += [
                    Parameter(name, keyword, annotation=option, default=None)
                    for name, option in _OPTIONS.items()
                ]
            else:
                found.append(each.replace(kind=keyword, annotation=hints[each.name]))

        @functools.wraps(command)
        def wrapped(**given: Any) -> None:
            said = {name: given.pop(name) for name in ("address", *_OPTIONS)}
            options = BrokerOptions({n: v for n, v in said.items() if v is not None})
            command(**given, broker=options)

        options = signature(command).replace(parameters=found)
        wrapped.__signature__ = options  # type: ignore[attr-defined]  # inspect's own hook
        wrapped.__annotations__ = {each.name: each.annotation for each in found}
        return wrapped

    return decorate
