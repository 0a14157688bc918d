"""Options of the commands that connect to a broker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgemse.settings import PASSWORD_VARIABLE

__all__ = ["CaFile", "CertFile", "KeyFile", "PasswordFile", "PlaintextPassword", "Username"]

Username = Annotated[str, typer.Option("--username", help="User name at the broker.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help=f"Password at the broker (or ${PASSWORD_VARIABLE})."
    ),
]
CaFile = Annotated[
    str, typer.Option("--ca-file", metavar="FILE", help="Certificates to trust with --tls.")
]
CertFile = Annotated[
    str,
    typer.Option("--cert-file", metavar="FILE", help="Our certificate, for brokers that want one."),
]
KeyFile = Annotated[
    str, typer.Option("--key-file", metavar="FILE", help="Its key, if it stands elsewhere.")
]
PlaintextPassword = Annotated[
    bool,
    typer.Option(
        "--allow-plaintext-password", help="Send the password unencrypted to another host."
    ),
]
