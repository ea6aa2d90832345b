"""Takes e-mail addresses out of texts, and lets no private key pass. `POST /check` shows what it would say."""

import re

from tessera_sdk import Allow, Block, Redact, guard, redact, service

ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")


@guard
def judge(text, at=None):
    if "PRIVATE KEY-----" in text:
        return Block("private-key")
    return redact(text, ADDRESS, "[e-mail]")


@service.post("/check")
async def check(request):
    match judge((await request.json())["text"]):
        case Allow():
            return {"allow": True}
        case Redact(spans):
            return {"redact": [vars(span) for span in spans]}
        case Block(reason):
            return {"block": reason}
