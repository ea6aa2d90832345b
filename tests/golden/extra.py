"""More reference vectors in the manner of make.py: the RoBERTa family and half-precision, sharded weights.

Tiny, randomly initialised Hugging Face checkpoints beside `expected.json`. Half-precision weights are
rounded first and the expected vectors computed in float32 from the rounded weights, so a loader that
widens to float32 must meet the same tolerance as for float32 weights.
usage: python extra.py OUT
"""
import json
import os
import sys

import torch
import transformers
from transformers import (BertConfig, BertModel, RobertaConfig, RobertaModel, XLMRobertaConfig,
                          XLMRobertaForSequenceClassification)

SMALL = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, vocab_size=300)
BERT = dict(SMALL, max_position_embeddings=64, pad_token_id=0)
# Positions start at pad + 1 = 2, so 66 rows hold 64 tokens; the longest row below uses them all.
ROBERTA = dict(SMALL, max_position_embeddings=66, pad_token_id=1, type_vocab_size=1)


def tiny(cls, config, seed):
    """A random model with widened matrices: a wrong position or mask moves its outputs by more than the tolerance."""
    torch.manual_seed(seed)
    model = cls(config).eval().float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
            elif parameter.dim() == 1:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def padded(rows, pad):
    longest = max(map(len, rows))
    ids = [row + [pad] * (longest - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return torch.tensor(ids), torch.tensor(mask)


def rounded(rows):
    return [[round(x, 6) for x in row] for row in rows.tolist()]


@torch.no_grad()
def expected(model, lengths):
    rows = [torch.randint(5, model.config.vocab_size, (n,)).tolist() for n in lengths]
    ids, mask = padded(rows, model.config.pad_token_id)
    output = model(input_ids=ids, attention_mask=mask)
    if "logits" in output:
        return {"kind": "sequence-classification", "input_ids": rows, "logits": rounded(output.logits)}
    hidden, weight = output.last_hidden_state, mask[..., None].float()
    mean = (hidden * weight).sum(1) / weight.sum(1)
    unit = torch.nn.functional.normalize
    return {"kind": "encoder", "input_ids": rows, "mean_pooled_normalized": rounded(unit(mean, dim=1)),
            "cls_pooled_normalized": rounded(unit(hidden[:, 0], dim=1))}


def save(out, name, model, lengths, dtype=torch.float32, **save_options):
    folder = os.path.join(out, name)
    model = model.to(dtype)
    model.save_pretrained(folder, **save_options)
    payload = expected(model.float(), lengths)
    kind = str(dtype).removeprefix("torch.")
    weights = "" if dtype == torch.float32 else f", weights rounded to {kind}"
    torch_version = torch.__version__.split("+")[0]
    payload["reference"] = f"transformers {transformers.__version__}, torch {torch_version}, float32, CPU{weights}"
    payload["tolerance"] = {"max_abs": 1e-3}
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(payload, file)
    print(name, sum(p.numel() for p in model.parameters()), sorted(os.listdir(folder)))


def main(out):
    torch.set_num_threads(1)
    reranker = XLMRobertaConfig(**ROBERTA, num_labels=1)
    save(out, "roberta-reranker", tiny(XLMRobertaForSequenceClassification, reranker, 31), (17, 6, 64, 11))
    save(out, "roberta-encoder", tiny(RobertaModel, RobertaConfig(**ROBERTA), 32), (17, 6, 64, 11))
    shards = dict(max_shard_size="80KB")
    save(out, "bert-bf16-sharded", tiny(BertModel, BertConfig(**BERT), 33), (17, 6, 11), torch.bfloat16, **shards)
    save(out, "bert-f16-sharded", tiny(BertModel, BertConfig(**BERT), 34), (17, 6, 11), torch.float16, **shards)


if __name__ == "__main__":
    main(*sys.argv[1:])
