"""What Jinja makes of chat templates, rendered as transformers' apply_chat_template does.

usage: python make.py LLAMA_CPP [OUT [ALL]]

LLAMA_CPP is an unpacked llama.cpp (the source package of llama-cpp-python has one in vendor/). With ALL every template of
it is taken, else those of CHOSEN. Needs jinja2 >= 3.1.6 from PyPI; not needed to use the files.
"""
import datetime, json, pathlib, re, sys
import jinja2, jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2026, 2, 3, 14, 5, 6)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def turns(*texts, system=None):
    """A conversation in which user and assistant take turns."""
    messages = [{"role": "system", "content": system}] if system is not None else []
    return messages + [{"role": ["user", "assistant"][i % 2], "content": text} for i, text in enumerate(texts)]


CONVERSATIONS = {
    "question": turns("What is 2 + 2?"),
    "question with a system message": turns("What is 2 + 2?", system="You are terse."),
    "several turns": turns("Hi", "Hello! How can I help?", "Tell me a joke.", system="You are a poet."),
    "several turns without a system message": turns("Hi", "Hello!\n\nHow are you?", "Fine.", "Good.", "Bye"),
    "unicode, quotes and marks": turns(
        "Grüße, 世界 👋🏽 'single' \"double\" \\n {{ braces }} <b>&amp;</b> \t é", "Ça va ?", "naïve\u2028\u00a0ﬁ", system="L'été: “ça”"
    ),
    "spaces around": turns("  two before, newline after\n", "\n  answer  \n", "   ", system="  system \n"),
    "thoughts in the answer": turns("Why?", "<think>\nBecause I can.\n</think>\n\nBecause.", "Really?"),
    "ends with the assistant": turns("Once upon a time", "there was"),
    "two of the user": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}],
    "unknown role": [{"role": "critic", "content": "Boo."}],
    "only a system message": [{"role": "system", "content": "Alone."}],
}

# Names of files in models/templates and of cases in tests/test-chat-template.cpp.
CHOSEN = [
    "Bielik-11B-v3.0-Instruct",
    "ChatGLM3",
    "ChatGLM4",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "deepseek-ai-DeepSeek-V3.1",
    "deepseek-ai/deepseek-coder-33b-instruct",
    "DeepSeek-V2",
    "google-gemma-2-2b-it",
    "google/gemma-7b-it",
    "GLM-4.6",
    "HuggingFaceTB-SmolLM3-3B",
    "ibm-granite-granite-4.0",
    "ibm-granite/granite-3.0-8b-instruct",
    "Infinigence/Megrez-3B-Instruct",
    "LFM2-8B-A1B",
    "Llama-3",
    "meetkai-functionary-medium-v3.1",
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.2-3B-Instruct",
    "microsoft-Phi-3.5-mini-instruct",
    "MiMo-VL",
    "Mistral-Small-3.2-24B-Instruct-2506",
    "mistralai-Mistral-Nemo-Instruct-2407",
    "mistralai/Mistral-7B-Instruct-v0.2 (NOTE: Old pre-v1 without a system prompt)",
    "moonshotai-Kimi-K2",
    "NVIDIA-Nemotron-Nano-v2",
    "openchat/openchat-3.5-0106",
    "OrionStarAI/Orion-14B-Chat",
    "phi-4",
    "Phi-3-small",
    "Qwen-Qwen2.5-7B-Instruct",
    "Qwen-Qwen3-0.6B",
    "Qwen-QwQ-32B",
    "teknium/OpenHermes-2.5-Mistral-7B",
    "TheBloke/FusionNet_34Bx2_MoE-AWQ",
    "CohereForAI/c4ai-command-r-plus",
    "bofenghuang/vigogne-2-70b-chat",
]


class Generation(jinja2.ext.Extension):
    """`{% generation %}` blocks, which mark the assistant's words for training: their content."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_content"), [], [], body).set_lineno(line)

    def _content(self, caller):
        return caller()


def environment():
    """As transformers 5.23 has it, with a clock that stands still."""

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def templates(llama_cpp):
    """Every template by its name."""
    found = {}
    for file in sorted((llama_cpp / "models/templates").glob("*.jinja")):
        found[file.stem] = file.read_text(encoding="utf-8")
    cases = (llama_cpp / "tests/test-chat-template.cpp").read_text(encoding="utf-8")
    literal = r'(?:U8C\()?"((?:[^"\\]|\\.)*)"'
    for name, text in re.findall(r'\.name= \*/ "([^"]*)",\s*(?://[^\n]*\s*)*/\* \.template_str= \*/ ' + literal, cases):
        found[name] = json.loads(f'"{text}"'.replace("\\'", "'"))
    return found


def outputs(source):
    """The text of each conversation, or the message of what went wrong."""
    template = environment().from_string(source)
    for name, messages in CONVERSATIONS.items():
        for add in [True, False]:
            case = {"conversation": name, "add_generation_prompt": add}
            try:
                case["text"] = template.render(messages=messages, tools=None, documents=None, add_generation_prompt=add, **TOKENS)
            except Exception as error:
                case["error"] = str(error)
            yield case


def main(llama_cpp, out=".", everything=None):
    out = pathlib.Path(out)
    out.mkdir(exist_ok=True)
    found = templates(pathlib.Path(llama_cpp))
    write = lambda name, value: (out / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    now = int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp())
    write("conversations", {"now": now, "tokens": TOKENS, "conversations": CONVERSATIONS})
    for name in found if everything else CHOSEN:
        title = re.sub(r"[^A-Za-z0-9.]+", "-", re.sub(r" \(.*", "", name)).strip("-")
        write(title, {"name": name, "template": found[name], "outputs": list(outputs(found[name]))})


if __name__ == "__main__":
    main(*sys.argv[1:])
