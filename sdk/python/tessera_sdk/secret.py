"""Credentials that the component may use and never sees: `tessera:secret/secret`."""

from wit_world.imports import tessera_secret as host


def secret(name: str) -> str | None:
    """The placeholder of a secret, to be put into a header; none if there is no such secret for this component."""
    return host.get(name)
