"""The official `mcp` package against a running server: what clients of tools do.

The server has the test guest `types` twice, as `types` and as `secret`, and the key is for `types` alone. Prints one line a check
and exits non-zero if any fails. Package: mcp, version in scripts/mcp.sh.
usage: python mcp_client.py BASE_URL KEY
"""
import asyncio
import sys

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

TIMEOUT_S = 60
SPIN_S = 1

failed = False


def check(what, holds, found=None):
    global failed
    failed |= not holds
    print(f"{'ok  ' if holds else 'BAD '} {what}" + ("" if holds else f": {found!r}"), flush=True)


async def refusal(client, tool):
    """The code and text of the protocol's error for a call."""
    try:
        return await client.call_tool(tool, {})
    except MCPError as error:
        return error.error.code, error.error.message.replace(tool, "TOOL")


async def lists(client):
    page = await client.list_tools()
    names = [tool.name for tool in page.tools]
    check(f"{len(names)} tools, all of the component that the key is for",
          names and all(name.startswith("types__") for name in names), names)
    tool = next(tool for tool in page.tools if tool.name == "types__echo__text")
    check("a tool says where it is", tool.title == "types: echo/text", tool)


async def calls(client):
    result = await client.call_tool("types__calls__seven", {})
    check("a number", result.structured_content == {"result": 7}, result)
    point = {"x": 1.5, "y": -2.0}
    result = await client.call_tool("types__echo__points", {"value": [point, point]})
    check("records, valid by the tool's output schema", result.structured_content == {"result": [point, point]}, result)
    result = await client.call_tool("types__calls__odd-floats", {})
    check("numbers that JSON has none for", result.structured_content["result"][0] == "NaN", result)
    result = await client.call_tool("types__echo__points", {"value": [{"x": 1}]})
    check("arguments that do not fit", result.is_error and "$.value[0]" in result.content[0].text, result)
    result = await client.call_tool("types__calls__divide", {"dividend": 7, "the_divisor": 0})
    check("an error of the function", result.is_error and "can't be divided" in result.content[0].text, result)


async def streams(client):
    told = []

    async def progress(done, total, message):
        told.append((done, message))

    result = await client.call_tool("types__streams__count", {"until": 5}, progress_callback=progress)
    check("a stream's items", result.structured_content == {"result": [1, 2, 3, 4, 5]}, result)
    check("told one by one as progress", told == [(n, str(n)) for n in range(1, 6)], told)
    result = await client.call_tool("types__streams__story", {"text": "a b", "fails": True})
    check("a stream that fails", result.is_error, result)


async def cancels(client):
    with anyio.move_on_after(SPIN_S) as scope:
        await client.call_tool("types__calls__spin", {})
    check("a call that its client gives up", scope.cancelled_caught)
    result = await client.call_tool("types__calls__seven", {})
    check("the next one is answered", result.structured_content == {"result": 7}, result)


async def rights(client):
    other = await refusal(client, "secret__calls__seven")
    nobody = await refusal(client, "nobody__calls__seven")
    check("another component's tool is refused as if it were not there", other == nobody == (-32602, "Unknown tool: TOOL"),
          (other, nobody))


async def main(base, key):
    for mode in ["legacy", "auto"]:
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT_S) as http:
            transport = streamable_http_client(f"{base}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                print(f"mode {mode}: {client.server_info.name} {client.server_info.version}, version {client.protocol_version}")
                for checks in [lists, calls, streams, cancels, rights]:
                    await checks(client)
    try:
        async with httpx2.AsyncClient(headers={"authorization": "Bearer wrong"}, timeout=TIMEOUT_S) as http:
            async with Client(streamable_http_client(f"{base}/mcp", http_client=http)):
                check("a wrong key", False)
    except Exception as error:  # the transport's tasks fail in a group
        check("a wrong key is not let in", True, error)


asyncio.run(main(*sys.argv[1:]))
sys.exit(failed)
