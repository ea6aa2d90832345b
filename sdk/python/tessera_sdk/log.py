"""Lines in the host's log: `tessera:log/log`. Don't log what people wrote."""

from wit_world.imports import tessera_log as host


class Log:
    """Writes lines."""

    def debug(self, message: str) -> None:
        """For the author."""
        host.write(host.Level.DEBUG, message)

    def info(self, message: str) -> None:
        """Usual events."""
        host.write(host.Level.INFO, message)

    def warn(self, message: str) -> None:
        """Something to look at."""
        host.write(host.Level.WARN, message)

    def error(self, message: str) -> None:
        """Something failed."""
        host.write(host.Level.ERROR, message)


log = Log()
