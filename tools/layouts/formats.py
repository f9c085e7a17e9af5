"""Quantised files, and the numbers that they mean: computed here and by the gguf package, not by darkroom."""

import base64
import json
import math
import pathlib

import gguf
import ml_dtypes
import numpy
from gguf import GGMLQuantizationType as Gguf
from gguf import quants

from small import Arrays, Raw

# Small matrices that converters leave as they are.
KEPT = ("img_in", "txt_in", "time_in", "vector_in", "guidance_in", "final_layer", "x_embedder", "context_embedder",
        "time_text_embed", "norm_out", "proj_out.")
GGUF_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
              "IQ4_NL", "IQ4_XS")
# Where random blocks have their f16 scales, and what these are divided by for values of order 1.
SCALES = {"Q2_K": ((80, 20), (82, 20)), "Q3_K": ((108, 60),), "Q4_K": ((0, 400), (2, 50)), "Q5_K": ((0, 800), (2, 50)),
          "Q6_K": ((208, 1500),), "IQ4_NL": ((0, 80),), "IQ4_XS": ((0, 1500),)}
NF4 = numpy.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                   -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                   0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                   0.7229568362236023, 1.0], numpy.float32)
FP4 = numpy.array([0, 0.0052083333, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25, 0, -0.0052083333, -0.66666667, -1,
                   -0.33333333, -0.5, -0.16666667, -0.25], numpy.float32)


def is_quantised(name: str, x: numpy.ndarray) -> bool:
    tables = ("shared", "embed_tokens", "relative_attention_bias", "attn_rel_b")
    return x.ndim == 2 and not name.startswith(KEPT) and not any(table in name for table in tables)


def random_blocks(shape, kind: Gguf, seed: int) -> numpy.ndarray:
    """For types that the gguf package reads and does not write."""
    rng = numpy.random.default_rng(seed)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = math.prod(shape) // elements
    blocks = rng.integers(0, 256, (count, size), dtype=numpy.uint8)
    for at, divisor in SCALES[kind.name]:
        scales = (0.5 + rng.random(count)) / math.sqrt(shape[-1]) / divisor
        blocks[:, at : at + 2] = scales.astype(numpy.float16).view(numpy.uint8).reshape(count, 2)
    return blocks.reshape(shape[0], -1)


def write_gguf(path: pathlib.Path, arch: str, tensors: Arrays, kind: str, table_too: bool = False,
               tokenizer: pathlib.Path | None = None) -> Arrays:
    """Vectors in F32, kept matrices in F16, all others in `kind`, or Q8_0 where their rows do not fill its blocks.
    Returns what the file means."""
    path.parent.mkdir(parents=True, exist_ok=True)
    out, means = gguf.GGUFWriter(path, arch), {}
    if tokenizer:
        add_tokenizer(out, tokenizer)
    for seed, (name, x) in enumerate(tensors.items()):
        wanted = Gguf[kind]
        if x.ndim == 1 or "attn_rel_b" in name:
            wanted = Gguf.F32
        elif not is_quantised(name, x) and not (table_too and name.startswith("token_embd")):
            wanted = Gguf.F16
        elif x.shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0]:
            wanted = Gguf.Q8_0
        try:
            stored = quants.quantize(x, wanted)
        except NotImplementedError:
            stored = random_blocks(x.shape, wanted, seed)
        means[name] = quants.dequantize(stored, wanted).astype(numpy.float32)
        out.add_tensor(name, stored, raw_dtype=wanted)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return means


def add_tokenizer(out: gguf.GGUFWriter, folder: pathlib.Path) -> None:
    """T5's own, as llama.cpp's converter writes it."""
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = document["model"]["vocab"]
    kinds = {"<pad>": 3, "</s>": 3, "<unk>": 2}
    kind_of = lambda piece: kinds.get(piece, 4 if piece.startswith("<extra_id_") else 1)
    unused = [f"[PAD{n}]" for n in range(len(pieces), 32128)]
    steps = document["normalizer"].get("normalizers", [document["normalizer"]])
    charsmap = next(step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled")
    out.add_tokenizer_model("t5")
    out.add_tokenizer_pre("default")
    out.add_token_list([piece for piece, _ in pieces] + unused)
    out.add_token_scores([score for _, score in pieces] + [-1000.0] * len(unused))
    out.add_token_types([kind_of(piece) for piece, _ in pieces] + [5] * len(unused))
    out.add_add_space_prefix(True)
    out.add_remove_extra_whitespaces(True)
    out.add_precompiled_charsmap(base64.b64decode(charsmap))
    out.add_eos_token_id(1)
    out.add_unk_token_id(2)
    out.add_pad_token_id(0)
    out.add_add_bos_token(False)
    out.add_add_eos_token(True)


def scalar(x: float, shape=()) -> Raw:
    return Raw("F32", shape, numpy.float32(x).tobytes())


def text(document: dict) -> Raw:
    data = json.dumps(document).encode()
    return Raw("U8", (len(data),), data)


def fp8(tensors: Arrays, style: str, kind: str = "F8_E4M3") -> tuple[dict, Arrays]:
    """style: plain, old (`scale_weight`, `scaled_fp8`), new (`weight_scale`, `comfy_quant`). Returns the file's tensors
    and what they mean."""
    dtype, largest = {"F8_E4M3": (ml_dtypes.float8_e4m3fn, 448.0), "F8_E5M2": (ml_dtypes.float8_e5m2, 57344.0)}[kind]
    out, means = {}, {}
    for name, x in tensors.items():
        if not is_quantised(name, x):
            out[name] = means[name] = x
            continue
        scale = numpy.float32(1 if style == "plain" else numpy.abs(x).max() / largest)
        stored = (x / scale).astype(dtype)
        means[name] = stored.astype(numpy.float32) * scale
        out[name] = Raw(kind, x.shape, stored.tobytes())
        layer = name.removesuffix("weight")
        if style == "old":
            out[layer + "scale_weight"] = scalar(scale, (1,))
            out[layer + "scale_input"] = scalar(1, (1,))
        elif style == "new":
            out[layer + "weight_scale"] = scalar(scale)
            out[layer + "comfy_quant"] = text({"format": "float8_e4m3fn"})
    if style == "old":
        out["scaled_fp8"] = Raw(kind, (2,), b"\0\0")
    return out, means


def int8(tensors: Arrays) -> tuple[dict, Arrays]:
    """A scale for each row."""
    out, means = {}, {}
    for name, x in tensors.items():
        out[name] = means[name] = x
        if not is_quantised(name, x):
            continue
        scales = (numpy.abs(x).max(1, keepdims=True) / 127).astype(numpy.float32)
        stored = numpy.rint(x / scales).clip(-127, 127).astype(numpy.int8)
        means[name] = stored.astype(numpy.float32) * scales
        out[name] = Raw("I8", x.shape, stored.tobytes())
        out[name + "_scale"] = Raw("F32", scales.shape, scales.tobytes())
    return out, means


def bitsandbytes(tensors: Arrays, kind: str, nested: bool) -> tuple[dict, Arrays]:
    """nf4 or fp4 in runs of 64, the scales as they are or in bytes themselves."""
    rng = numpy.random.default_rng(5)
    table = {"nf4": NF4, "fp4": FP4}[kind]
    out, means = {}, {}
    for name, x in tensors.items():
        out[name] = means[name] = x
        if not is_quantised(name, x):
            continue
        runs = x.reshape(-1, 64)
        scales = numpy.abs(runs).max(1).astype(numpy.float32)
        codes = numpy.abs((runs / scales[:, None])[:, :, None] - table).argmin(2).astype(numpy.uint8).reshape(-1)
        state = {"quant_type": kind, "blocksize": 64, "dtype": "bfloat16", "shape": list(x.shape)}
        if nested:
            offset = numpy.float32(scales.mean())
            levels = numpy.sort(rng.uniform(-1, 1, 256)).astype(numpy.float32)
            padded = numpy.pad(scales - offset, (0, -len(scales) % 256)).reshape(-1, 256)
            outer = numpy.abs(padded).max(1).astype(numpy.float32)
            inner = numpy.abs((padded / outer[:, None])[:, :, None] - levels).argmin(2).astype(numpy.uint8)
            scales = (levels[inner] * outer[:, None]).reshape(-1)[: len(scales)] + offset
            inner = inner.reshape(-1)[: len(scales)]
            out[name + ".absmax"] = Raw("U8", inner.shape, inner.tobytes())
            out[name + ".nested_absmax"] = Raw("F32", outer.shape, outer.tobytes())
            out[name + ".nested_quant_map"] = Raw("F32", (256,), levels.tobytes())
            state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": float(offset)}
        else:
            out[name + ".absmax"] = Raw("F32", scales.shape, scales.tobytes())
        packed = codes[0::2] << 4 | codes[1::2]
        out[name] = Raw("U8", (len(packed), 1), packed.tobytes())
        out[name + ".quant_map"] = Raw("F32", (16,), table.tobytes())
        out[name + f".quant_state.bitsandbytes__{kind}"] = text(state)
        means[name] = (table[codes].reshape(-1, 64) * scales[:, None]).reshape(x.shape).astype(numpy.float32)
    return out, means
