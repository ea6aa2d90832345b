"""What the operator set for the component, under `[config]` of its policy: `tessera:config/config`."""

from wit_world.imports import tessera_config as host


class Config:
    """Settings by key."""

    def get(self, key: str) -> str | None:
        """The value of a key; none if it is not set."""
        return host.get(key)

    def all(self) -> dict[str, str]:
        """All keys and values."""
        return dict(host.all())


config = Config()
