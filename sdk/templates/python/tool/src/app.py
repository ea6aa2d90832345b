"""The functions of `wit/tool.wit`: the host makes an HTTP endpoint and an MCP tool of each."""

from componentize_py_types import Err
from tessera_sdk import CapabilityError, embed
from wit_world import exports
from wit_world.exports.texts import Statistics


class Texts(exports.Texts):
    def count(self, text: str) -> Statistics:
        return Statistics(words=len(text.split()), characters=len(text))

    # What a function raises as `Err` is the error of its result.
    async def similarity(self, a: str, b: str) -> float:
        try:
            first, second = (await embed([a, b], normalize=True)).vectors
        except CapabilityError as error:
            raise Err(str(error))
        return sum(x * y for x, y in zip(first, second))
