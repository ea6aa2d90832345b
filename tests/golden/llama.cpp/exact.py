"""The same models without llama.cpp's rounding: weights dequantised once, everything else in float32, by transformers."""
import os
import sys

import numpy
import torch
import transformers

NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}
FAMILIES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
}


def load(path, peer):
    """The GGUF file at `path` as a transformers model; `peer` has llama.cpp's own reader of the format."""
    sys.path.insert(0, os.path.join(peer, "source/vendor/llama.cpp/gguf-py"))
    import gguf
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32))
               for tensor in reader.tensors}
    family = reader.fields["general.architecture"].contents()
    of = {key.removeprefix(family + "."): field for key, field in reader.fields.items()}
    config_class, model_class = FAMILIES[family]
    config = config_class(
        hidden_size=of["embedding_length"].contents(), num_hidden_layers=of["block_count"].contents(),
        num_attention_heads=of["attention.head_count"].contents(),
        num_key_value_heads=of["attention.head_count_kv"].contents(),
        intermediate_size=of["feed_forward_length"].contents(), vocab_size=len(tensors["token_embd.weight"]),
        rms_norm_eps=of["attention.layer_norm_rms_epsilon"].contents(),
        rope_parameters={"rope_type": "default", "rope_theta": of["rope.freq_base"].contents()},
        tie_word_embeddings="output.weight" not in tensors)
    model = model_class(config).float().eval()
    model.load_state_dict(dict(renamed(tensors, family, config)))
    return model


def renamed(tensors, family, config):
    yield "model.embed_tokens.weight", tensors["token_embd.weight"]
    yield "model.norm.weight", tensors["output_norm.weight"]
    yield "lm_head.weight", tensors.get("output.weight", tensors["token_embd.weight"])
    for name, tensor in tensors.items():
        if name.startswith("blk."):
            _, layer, matrix, kind = name.split(".")
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(matrix)
            if family == "llama" and heads:  # stored for a rotation of neighbours, not of halves
                pairs = tensor.reshape(heads, -1, 2, *tensor.shape[1:])
                tensor = pairs.swapaxes(1, 2).reshape(tensor.shape)
            yield f"model.layers.{layer}.{NAMES[matrix]}.{kind}", tensor


@torch.no_grad()
def greedy(model, prompt_ids, new_tokens, ends):
    """The ids, and the logits behind the prompt and behind each id."""
    ids, rows, past, feed = [], [], None, prompt_ids
    while len(ids) < new_tokens and not (ids and ends(ids[-1])):
        output = model(torch.tensor([feed]), past_key_values=past, use_cache=True, logits_to_keep=1)
        past = output.past_key_values
        rows.append(output.logits[0, -1].numpy())
        ids.append(int(rows[-1].argmax()))
        feed = ids[-1:]
    return ids, rows
