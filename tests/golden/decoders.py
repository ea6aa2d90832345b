"""Reference vectors of decoder configurations that make.py does not cover, in its form.

Biases, explicit head dimensions, rotary scalings and the spellings of transformers 4, windows on some layers,
Falcon's variants, half-precision weights. Tiny, randomly initialised; half-precision weights are rounded first and
the expected logits computed in float32 from the rounded weights. A seed is taken only if every greedy choice
leads by `LEAD_MIN`, so that a logit within the tolerance cannot change an id.
usage: python decoders.py OUT
"""
import json
import os
import sys

import torch
import transformers
from transformers import (AutoModelForCausalLM, FalconConfig, FalconForCausalLM, LlamaConfig, LlamaForCausalLM,
                          MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM)

LEAD_MIN = 0.02
NEW_TOKENS = 24
SMALL = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=128, bos_token_id=1, eos_token_id=2)
GATED = dict(SMALL, intermediate_size=80, num_key_value_heads=2, max_position_embeddings=256, pad_token_id=0)
# The rotary scalings, as transformers 4 spells them in `rope_scaling` beside `rope_theta`.
LINEAR = {"type": "linear", "factor": 2.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


def tiny(cls, config, spread, seed, dtype):
    """A random model with widened matrices: whatever is left out moves its logits by more than the tolerance.
    Its parameters are those that `dtype` can hold; the frequencies of its rotary embedding stay exact."""
    torch.manual_seed(seed)
    model = cls(config).eval().float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(spread)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
            parameter.copy_(parameter.to(dtype))
    return model


@torch.no_grad()
def expected(model, prompt_tokens):
    """The payload, and the least lead of a greedy id over the next best."""
    ids = torch.randint(3, model.config.vocab_size, (1, prompt_tokens))
    prompt_logits = model(ids).logits[0]
    sequence, lead = ids, float("inf")
    for _ in range(NEW_TOKENS):
        best = model(sequence).logits[0, -1].topk(2)
        lead = min(lead, float(best.values[0] - best.values[1]))
        sequence = torch.cat([sequence, best.indices[:1][None]], 1)
    after = model(sequence).logits[0, -1]
    return {
        "kind": "causal-lm", "input_ids": ids[0].tolist(), "logits_last": rounded(prompt_logits[-1]),
        "logits_row0": rounded(prompt_logits[0]), "greedy_ids": sequence[0, prompt_tokens:].tolist(),
        "logits_after_greedy": rounded(after),
    }, lead


def rounded(row):
    return [round(x, 6) for x in row.tolist()]


def save(out, name, cls, config, prompt_tokens=40, spread=6.0, dtype=torch.float32, version4=None, without=(),
         **save_options):
    """`version4` gives the keys that transformers 4 wrote in place of version 5's, `without` those it did not write."""
    folder = os.path.join(out, name)
    for seed in range(100):
        model = tiny(cls, config, spread, seed, dtype)
        payload, lead = expected(model, prompt_tokens)
        if lead >= LEAD_MIN and len(set(payload["greedy_ids"])) > 8:
            break
    else:
        raise RuntimeError(f"{name}: no seed has leads of {LEAD_MIN}")
    model.to(dtype).save_pretrained(folder, **save_options)
    os.remove(os.path.join(folder, "generation_config.json"))
    if version4:
        respell(os.path.join(folder, "config.json"), version4, without)
    check(folder, payload)
    kind = str(dtype).removeprefix("torch.")
    weights = "" if dtype == torch.float32 else f", weights rounded to {kind}"
    torch_version = torch.__version__.split("+")[0]
    payload["reference"] = f"transformers {transformers.__version__}, torch {torch_version}, float32, CPU{weights}"
    payload["tolerance"] = {"max_abs": 1e-3}
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(payload, file)
    print(f"{name}: seed {seed}, least lead {lead:.3f}, {sum(p.numel() for p in model.parameters())} parameters")


def respell(path, version4, without):
    with open(path) as file:
        config = json.load(file)
    config["torch_dtype"] = config["dtype"]
    config.update(version4, transformers_version="4.46.0")
    for key in ("dtype", "rope_parameters", "layer_types", *without):
        config.pop(key, None)
    with open(path, "w") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        file.write("\n")


@torch.no_grad()
def check(folder, payload):
    """What lies in the folder, read back, gives the same logits."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    logits = model(torch.tensor([payload["input_ids"]])).logits[0, -1]
    difference = float((logits - torch.tensor(payload["logits_last"])).abs().max())
    assert difference < 1e-4, f"{folder} read back differs by {difference}"


def scaled(version4, theta, **changes):
    """A Llama configuration with the rotary scaling that version 4 spells so."""
    parameters = {key: value for key, value in version4.items() if key != "type"}
    parameters = {"rope_type": version4.get("type"), **parameters, "rope_theta": theta}
    return LlamaConfig(**{**GATED, **changes, "rope_parameters": parameters})


def llamas(out):
    biased = dict(attention_bias=True, mlp_bias=True, head_dim=20, rms_norm_eps=1e-5)
    save(out, "llama-biased", LlamaForCausalLM, LlamaConfig(**{**GATED, **biased}))
    # As the first Llama's: nothing says how many key-value heads there are, so there are as many as heads.
    save(out, "llama-linear-rope-v4", LlamaForCausalLM, scaled(LINEAR, 10_000.0, num_key_value_heads=4),
         version4={"rope_theta": 10_000.0, "rope_scaling": LINEAR},
         without=("num_key_value_heads", "head_dim", "attention_bias", "mlp_bias"))
    save(out, "llama3-rope-v4", LlamaForCausalLM, scaled(LLAMA3, 500_000.0, tie_word_embeddings=True), 60,
         version4={"rope_theta": 500_000.0, "rope_scaling": LLAMA3})
    save(out, "llama-yarn-rope-v4", LlamaForCausalLM, scaled(YARN, 10_000.0, max_position_embeddings=128), 60,
         version4={"rope_theta": 10_000.0, "rope_scaling": YARN})
    save(out, "llama-bf16", LlamaForCausalLM, LlamaConfig(**GATED), dtype=torch.bfloat16)
    save(out, "llama-f16-sharded", LlamaForCausalLM, LlamaConfig(**GATED, tie_word_embeddings=True),
         dtype=torch.float16, max_shard_size="40KB")


def windows(out):
    theta = {"rope_type": "default", "rope_theta": 1_000_000.0}
    save(out, "mistral-no-window", MistralForCausalLM,
         MistralConfig(**GATED, sliding_window=None, head_dim=16, rope_parameters=theta),
         version4={"rope_theta": 1_000_000.0})
    save(out, "qwen2-windowed-v4", Qwen2ForCausalLM,
         Qwen2Config(**{**GATED, "num_hidden_layers": 3, "hidden_size": 40}, use_sliding_window=True, sliding_window=8,
                     max_window_layers=1, rope_parameters=theta),
         version4={"rope_theta": 1_000_000.0, "rope_scaling": None})
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    save(out, "qwen3-layer-types", Qwen3ForCausalLM,
         Qwen3Config(**{**GATED, "num_hidden_layers": 3, "hidden_size": 40}, head_dim=16, use_sliding_window=True,
                     sliding_window=8, layer_types=layers, attention_bias=True, tie_word_embeddings=True,
                     rope_parameters=theta))


def falcons(out):
    spread = 14.0  # with less, tied embeddings and norms with a bias make them repeat one id
    theta = {"rope_type": "default", "rope_theta": 500_042.0}
    save(out, "falcon-7b-bias", FalconForCausalLM,
         FalconConfig(**{**SMALL, "hidden_size": 32}, multi_query=True, parallel_attn=True, bias=True,
                      layer_norm_epsilon=1e-3), spread=spread)
    # Falcon2-11B: one layer norm for attention and MLP, an output matrix of its own.
    save(out, "falcon2-one-norm", FalconForCausalLM,
         FalconConfig(**SMALL, num_kv_heads=2, new_decoder_architecture=True, num_ln_in_parallel_attn=1,
                      ffn_hidden_size=96, tie_word_embeddings=False, rope_parameters=theta),
         version4={"rope_theta": 500_042.0, "rope_scaling": None})
    # Six heads: the slopes of ALiBi where the number of heads is no power of two.
    save(out, "falcon-alibi-six-heads", FalconForCausalLM,
         FalconConfig(**{**SMALL, "num_attention_heads": 6}, multi_query=False, parallel_attn=True, bias=False,
                      alibi=True, ffn_hidden_size=96), 60, spread=spread)
    save(out, "falcon-rw-small", FalconForCausalLM,
         FalconConfig(**{**SMALL, "hidden_size": 32}, multi_query=False, parallel_attn=False, bias=True, alibi=True),
         spread=spread)


def main(out):
    torch.set_num_threads(1)
    llamas(out)
    windows(out)
    falcons(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
