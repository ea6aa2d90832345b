"""What OPEA's orchestration of ChatQnA costs: the CPU time of a gateway made with `opea-comps`, beside models that take no
time.

The gateway is the pipeline embedding → retriever → reranker → LLM on their ServiceOrchestrator, with the hooks that ChatQnA
gives it, in a process of its own. The four services are in another process and answer at once; the LLM's stream is one event a
token with a pause between, so that each token reaches the gateway by itself, as from a real model. Only the gateway's CPU time
is counted, user and system, as /proc/PID/stat has it.

usage: python opea_chatqna.py [--rounds 1] [--requests 200] [--streams 40] [--tokens 128] [--connections 4]
Prints one JSON object of lists with one number a round, all in microseconds of CPU time: `request_cpu_us`, a request of so
many tokens that is not streamed; `stream_cpu_us`, a streamed one; `token_cpu_us`, each further token of it.
Packages: opea.txt beside this file, in an environment of their own (`setup.sh opea` makes it). Linux only.
"""

import argparse
import asyncio
import concurrent.futures
import http.client
import json
import os
import socket
import subprocess
import sys
import time

WARM_UP_REQUESTS = 20
START_S_MAX = 120
DIMENSIONS = 768
TOKEN_PAUSE_S = 0.002
PATHS = {"embedding": "/embed", "retriever": "/v1/retrieval", "rerank": "/rerank", "llm": "/v1/chat/completions"}
PASSAGES = [f"Passage {n}: the quick brown fox jumps over the lazy dog, and nothing else happens here." for n in range(4)]
PROMPT = "Answer from these passages.\n{passages}\nQuestion: {question}"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# The services.


def backends(port):
    """Serves the four models on one port."""
    from aiohttp import web

    vector = [[0.01 * (n % 7) for n in range(DIMENSIONS)]]
    documents = [{"id": str(n), "text": text, "downstream_black_list": []} for n, text in enumerate(PASSAGES)]

    def chunk(text, reason=None):
        choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": reason}
        event = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
        return f"data: {json.dumps(event)}\n\n".encode()

    async def embed(request):
        await request.read()
        return web.json_response(vector)

    async def retrieve(request):
        question = (await request.json())["text"]
        return web.json_response(
            {"id": "r", "retrieved_docs": documents, "initial_query": question, "top_n": 1, "metadata": []}
        )

    async def rerank(request):
        texts = (await request.json())["texts"]
        return web.json_response([{"index": n, "score": 1 / (n + 1)} for n in range(len(texts))])

    async def complete(request):
        body = await request.json()
        if not body["stream"]:
            message = {"role": "assistant", "content": "word " * body["max_tokens"]}
            return web.json_response(
                {
                    "id": "c",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "m",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                }
            )
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(body["max_tokens"]):
            await response.write(chunk("word "))
            await asyncio.sleep(TOKEN_PAUSE_S)
        await response.write(chunk("", "stop") + b"data: [DONE]\n\n")
        return response

    app = web.Application()
    for name, handler in (("embedding", embed), ("retriever", retrieve), ("rerank", rerank), ("llm", complete)):
        app.router.add_post(PATHS[name], handler)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


# The gateway.


def gateway(port, backend_port):
    """Serves /v1/chatqna on their library."""
    from comps import MegaServiceEndpoint, MicroService, ServiceOrchestrator, ServiceRoleType, ServiceType
    from comps.cores.mega.utils import handle_message
    from comps.cores.proto.api_protocol import (
        ChatCompletionRequest,
        ChatCompletionResponse,
        ChatCompletionResponseChoice,
        ChatMessage,
        UsageInfo,
    )
    from comps.cores.proto.docarray import LLMParams, RerankerParms, RetrieverParms
    from fastapi import Request
    from fastapi.responses import StreamingResponse

    kinds = {
        "embedding": ServiceType.EMBEDDING,
        "retriever": ServiceType.RETRIEVER,
        "rerank": ServiceType.RERANK,
        "llm": ServiceType.LLM,
    }

    class Pipeline(ServiceOrchestrator):
        """Their orchestrator with ChatQnA's conversions between the services."""

        def align_inputs(self, inputs, cur_node, runtime_graph, llm_parameters_dict, **kwargs):
            kind = self.services[cur_node].service_type
            if kind == ServiceType.EMBEDDING:
                return {"inputs": inputs["text"]}
            if kind == ServiceType.RETRIEVER:
                return {**inputs, **kwargs["retriever_parameters"].dict()}
            if kind == ServiceType.LLM:
                wanted = ("max_tokens", "top_p", "stream", "frequency_penalty", "temperature")
                message = {"role": "user", "content": inputs["inputs"]}
                return {"model": "m", "messages": [message], **{name: inputs[name] for name in wanted}}
            return inputs

        def align_outputs(self, data, cur_node, inputs, runtime_graph, llm_parameters_dict, **kwargs):
            kind = self.services[cur_node].service_type
            if kind == ServiceType.EMBEDDING:
                return {"text": inputs["inputs"], "embedding": data[0]}
            if kind == ServiceType.RETRIEVER:
                return {"query": data["initial_query"], "texts": [document["text"] for document in data["retrieved_docs"]]}
            if kind == ServiceType.RERANK:
                best = data[: kwargs["reranker_parameters"].top_n]
                passages = "\n".join(inputs["texts"][found["index"]] for found in best)
                return {"inputs": PROMPT.format(passages=passages, question=inputs["query"])}
            if kind == ServiceType.LLM:
                return {"text": data["choices"][0]["message"]["content"]}
            return data

        def align_generator(self, gen, **kwargs):
            for piece in gen:
                text = piece.decode()
                event = text[text.find("{") : text.rfind("}") + 1]
                try:
                    content = json.loads(event)["choices"][0]["delta"].get("content")
                except (ValueError, KeyError):
                    content = event
                if content:
                    yield f"data: {content.encode()!r}\n\n"
            yield "data: [DONE]\n\n"

    class Gateway(MicroService):
        def __init__(self):
            self.pipeline = Pipeline()
            steps = [
                MicroService(
                    name=name,
                    host="127.0.0.1",
                    port=backend_port,
                    endpoint=path,
                    use_remote_service=True,
                    service_type=kinds[name],
                )
                for name, path in PATHS.items()
            ]
            for step in steps:
                self.pipeline.add(step)
            for before, after in zip(steps, steps[1:]):
                self.pipeline.flow_to(before, after)
            super().__init__(
                "gateway",
                service_role=ServiceRoleType.MEGASERVICE,
                host="127.0.0.1",
                port=port,
                endpoint=str(MegaServiceEndpoint.CHAT_QNA),
                input_datatype=ChatCompletionRequest,
                output_datatype=ChatCompletionResponse,
            )
            self.add_route(self.endpoint, self.answer, methods=["POST"])

        async def answer(self, request: Request):
            body = await request.json()
            chat = ChatCompletionRequest.parse_obj(body)
            is_streamed = body.get("stream", True)
            results, graph = await self.pipeline.schedule(
                initial_inputs={"text": handle_message(chat.messages)},
                llm_parameters=LLMParams(max_tokens=chat.max_tokens or 1024, stream=is_streamed),
                retriever_parameters=RetrieverParms(k=4),
                reranker_parameters=RerankerParms(top_n=1),
            )
            for result in results.values():
                if isinstance(result, StreamingResponse):
                    return result
            text = results[graph.all_leaves()[-1]]["text"]
            choice = ChatCompletionResponseChoice(
                index=0, message=ChatMessage(role="assistant", content=text), finish_reason="stop"
            )
            return ChatCompletionResponse(model="chatqna", choices=[choice], usage=UsageInfo())

    Gateway().start()


# The measuring.


def cpu_s(pid):
    """CPU time of a process with all its threads, in seconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Client:
    def __init__(self, port):
        self.port = port

    def ask(self, count, stream, tokens):
        """Asks `count` times, one after the other on one connection; gives the number of events of the last answer."""
        connection, events = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120), 0
        body = json.dumps({"messages": "What is the revenue of Nike in 2023?", "stream": stream, "max_tokens": tokens})
        for _ in range(count):
            connection.request("POST", "/v1/chatqna", body, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise SystemExit(f"the gateway answered {response.status}: {answer[:300]!r}")
            events = answer.count(b"data: ")
        return events

    def load(self, total, connections, stream, tokens):
        """`total` requests over some connections; gives the fewest events of an answer."""
        with concurrent.futures.ThreadPoolExecutor(connections) as pool:
            asked = [pool.submit(self.ask, total // connections, stream, tokens) for _ in range(connections)]
            return min(job.result() for job in asked)


def started(role, *ports):
    command = [sys.executable, os.path.abspath(__file__), "--role", role, *map(str, ports)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(port, process):
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("a process of the peer did not start: `benches/peers/setup.sh opea` installs its packages")


def measure(client, pid, options):
    """One round: microseconds of the gateway's CPU for a request, for a streamed one, and for a token of it.

    A token's cost is that of the streamed request without that of one with a single token, by the tokens between them."""

    def cost_us(total, stream, tokens):
        total -= total % options.connections
        before = cpu_s(pid)
        events = client.load(total, options.connections, stream, tokens)
        if stream and events < tokens:
            print(f"{events} events for {tokens} tokens: the gateway got some of them together", file=sys.stderr)
        return (cpu_s(pid) - before) / total * 1e6

    stream = cost_us(options.streams, True, options.tokens)
    one = cost_us(options.streams, True, 1)
    return {
        "request_cpu_us": cost_us(options.requests, False, options.tokens),
        "stream_cpu_us": stream,
        "token_cpu_us": (stream - one) / (options.tokens - 1),
    }


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--streams", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parsed()
    if options.role:
        role, ports = options.role[0], map(int, options.role[1:])
        return {"backends": backends, "gateway": gateway}[role](*ports)
    backend_port, gateway_port = free_port(), free_port()
    processes = [started("backends", backend_port), started("gateway", gateway_port, backend_port)]
    try:
        wait_for(backend_port, processes[0])
        wait_for(gateway_port, processes[1])
        client = Client(gateway_port)
        for stream in (False, True):
            client.load(WARM_UP_REQUESTS, options.connections, stream, options.tokens)
        rounds = [measure(client, processes[1].pid, options) for _ in range(options.rounds)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    print(json.dumps({name: [round(one[name], 2) for one in rounds] for name in rounds[0]}))


if __name__ == "__main__":
    main()
