"""What torch and ONNX Runtime do on the work that our encoder does: all-MiniLM-L6-v2, float32, on the CPU.

One unit of work is a batch of rows of exactly T token ids, attention mask all ones, through the model,
mean pooling and L2 normalisation. The ONNX file is exported once with torch.onnx into --cache and
run with all graph optimisations. Packages: requirements.txt beside this file.

usage: python encode.py --model DIR --threads N --engine torch|onnxruntime [--cache DIR] WHAT
WHAT:  [--batch B] [--tokens T] [--seconds S] [--json] | --serve-loop | --verify

--serve-loop answers each line of standard input, {"batch": B, "tokens": T, "seconds": S}, with the JSON
line that --json prints (or {"error": TEXT}), so that a bench can interleave these measurements with its own.
--verify exits non-zero unless both engines agree to 1e-5.
"""
import argparse
import contextlib
import hashlib
import json
import os
import statistics
import sys
import time

VERIFY_ABS_MAX = 1e-5
WARM_UP_RUNS = 3
CLS, SEP = 101, 102


class TorchEncoder:
    name = "torch"

    def __init__(self, model_dir, threads, cache):
        import torch
        torch.set_num_threads(threads)
        self.torch, self.version, self.model = torch, torch.__version__, sentence_encoder(model_dir)

    def encode(self, ids, mask):
        """[batch, tokens] twice -> [batch, dim], each row of length 1."""
        with self.torch.inference_mode():
            return self.model(self.torch.from_numpy(ids), self.torch.from_numpy(mask)).numpy()


class OnnxEncoder:
    name = "onnxruntime"

    def __init__(self, model_dir, threads, cache):
        path = exported(model_dir, cache)  # before ONNX Runtime starts its threads
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.version = onnxruntime.__version__
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def encode(self, ids, mask):
        return self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


ENGINES = {engine.name: engine for engine in (TorchEncoder, OnnxEncoder)}


def sentence_encoder(model_dir, **options):
    """The model with pooling and normalisation as one torch module."""
    import torch
    import transformers

    class SentenceEncoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = transformers.BertModel.from_pretrained(
                model_dir, dtype=torch.float32, add_pooling_layer=False, **options)

        def forward(self, input_ids, attention_mask):
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    return SentenceEncoder().eval()


def exported(model_dir, cache):
    """The path of the ONNX file of these weights, made by the first call."""
    import torch
    with open(os.path.join(model_dir, "model.safetensors"), "rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    path = os.path.join(cache, f"{digest[:16]}-eager-opset17-torch-{torch.__version__.split('+')[0]}.onnx")
    if not os.path.exists(path):
        os.makedirs(cache, exist_ok=True)
        partial = f"{path}.{os.getpid()}"
        export(model_dir, partial)
        os.replace(partial, path)
    return path


def export(model_dir, path):
    """Plain attention and the tracing exporter: ONNX Runtime runs this graph a third faster than the newer exporter's
    with scaled-dot-product attention, and no slower than after its own transformer optimiser (ONNX Runtime 1.32)."""
    import torch
    names, axes = ["input_ids", "attention_mask"], {0: "batch", 1: "tokens"}
    rows = torch.full((2, 16), 1000)
    torch.onnx.export(
        sentence_encoder(model_dir, attn_implementation="eager"), (rows, torch.ones_like(rows)), path,
        input_names=names, output_names=["vectors"], dynamic_axes=dict.fromkeys(names, axes),
        opset_version=17, dynamo=False)


def fixed_batch(batch, tokens):
    """The same ids at every call: [CLS], ordinary word pieces, [SEP]."""
    import numpy as np
    ids = np.random.default_rng(0).integers(1000, 29000, (batch, tokens), dtype=np.int64)
    ids[:, 0], ids[:, -1] = CLS, SEP
    return ids, np.ones_like(ids)


def measure(encoder, threads, batch, tokens, seconds):
    ids, mask = fixed_batch(batch, tokens)
    for _ in range(WARM_UP_RUNS):
        encoder.encode(ids, mask)
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        encoder.encode(ids, mask)
        times.append(time.perf_counter() - start)
    return {
        "engine": encoder.name, "version": encoder.version, "batch": batch, "tokens": tokens, "threads": threads,
        "sentences_per_s_median": round(batch / statistics.median(times), 2),
        "sentences_per_s_best": round(batch / min(times), 2),
    }


def serve(encoder, threads):
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            job = json.loads(line)
            answer = measure(encoder, threads, int(job["batch"]), int(job["tokens"]), float(job["seconds"]))
        except Exception as error:  # whatever it was, the bench on the other side waits for one line
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def verify(encoders, shapes=((1, 2), (1, 128), (3, 7), (8, 128), (2, 512))):
    worst = 0.0
    for shape in shapes:
        ids, mask = fixed_batch(*shape)
        if shape[0] > 1:
            mask[0, shape[1] // 2:] = 0  # a row with padding as well
        first, second = (encoder.encode(ids, mask) for encoder in encoders)
        worst = max(worst, float(abs(first - second).max()))
    print(f"torch and onnxruntime differ by {worst:.1e} at most (allowed {VERIFY_ABS_MAX:.0e})")
    return worst <= VERIFY_ABS_MAX


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--engine", choices=ENGINES, default="torch")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--cache", default=os.path.expanduser("~/.cache/tessera/peers-onnx"), metavar="DIR")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve-loop", action="store_true")
    parser.add_argument("--verify", action="store_true")
    return parser.parse_args()


def main():
    args = parsed()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when torch is imported
    os.environ["HF_HUB_OFFLINE"] = "1"
    engines = ENGINES.values() if args.verify else [ENGINES[args.engine]]
    with contextlib.redirect_stdout(sys.stderr):  # exporters talk; standard output is for answers
        encoders = [engine(args.model, args.threads, args.cache) for engine in engines]
    if args.verify:
        sys.exit(0 if verify(encoders) else 1)
    if args.serve_loop:
        return serve(encoders[0], args.threads)
    result = measure(encoders[0], args.threads, args.batch, args.tokens, args.seconds)
    print(json.dumps(result) if args.json else
          "{engine} {version}: {sentences_per_s_median} sentences/s, at best {sentences_per_s_best} "
          "(batch {batch}, {tokens} tokens, {threads} threads)".format(**result))


if __name__ == "__main__":
    main()
