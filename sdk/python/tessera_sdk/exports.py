"""What the host calls, for the entry that `tessera build` writes."""

from .service import service


class Handler:
    """The export `tessera:handler/handler`."""

    async def handle(self, request):
        return await service.handle(request)


class Guard:
    """The export `tessera:guard/guard`."""

    async def check(self, text, at):
        from .guard import checked

        return await checked(text, at)
