"""A small random FLUX.1 as arrays by diffusers' and transformers' names, its configs, and files of it.

All numbers are ones that bf16 has, so that a bf16 file and an f32 one mean the same.
"""

import dataclasses
import json
import math
import pathlib
import shutil
import struct

import numpy

HEAD = 128
CLIP_VOCAB, T5_VOCAB = 49408, 32128  # those of FLUX.1's own tokenizers
LATENT_CHANNELS = 16
PARTS = {"transformer": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model",
         "text_encoder_2": "model"}
Arrays = dict[str, numpy.ndarray]


@dataclasses.dataclass
class Raw:
    """A tensor whose bytes are its own affair."""

    dtype: str  # as safetensors calls it
    shape: tuple[int, ...]
    data: bytes


@dataclasses.dataclass
class Model:
    dev: bool
    width: int
    double: int
    single: int
    parts: dict[str, Arrays]
    configs: dict[str, dict]


def to_bf16(x: numpy.ndarray) -> numpy.ndarray:
    """The nearest numbers of bf16, as f32."""
    bits = numpy.ascontiguousarray(x, numpy.float32).view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & numpy.uint32(0xFFFF0000)).view(numpy.float32)


class Maker:
    def __init__(self, seed: int):
        self.rng = numpy.random.default_rng(seed)
        self.out: Arrays = {}

    def normal(self, *shape: int) -> numpy.ndarray:
        return self.rng.standard_normal(shape).astype(numpy.float32)

    def matrix(self, name: str, *shape: int, gain: float = 1.0) -> None:
        self.out[name] = to_bf16(self.normal(*shape) * (gain / math.sqrt(math.prod(shape[1:]))))

    def vector(self, name: str, size: int, mean: float = 0.0) -> None:
        self.out[name] = to_bf16(mean + 0.1 * self.normal(size))

    def linear(self, name: str, rows: int, cols: int) -> None:
        self.matrix(name + ".weight", rows, cols)
        self.vector(name + ".bias", rows)

    def conv(self, name: str, rows: int, cols: int, size: int) -> None:
        self.matrix(name + ".weight", rows, cols, size, size)
        self.vector(name + ".bias", rows)

    def norm(self, name: str, size: int) -> None:
        self.vector(name + ".weight", size, 1.0)
        self.vector(name + ".bias", size)


def make_transformer(seed: int, dev: bool, width: int, double: int, single: int, text: int, pooled: int) -> Arrays:
    m = Maker(seed)
    m.linear("x_embedder", width, 4 * LATENT_CHANNELS)
    m.linear("context_embedder", width, text)
    embedders = {"timestep_embedder": 256, "text_embedder": pooled} | ({"guidance_embedder": 256} if dev else {})
    for name, cols in embedders.items():
        m.linear(f"time_text_embed.{name}.linear_1", width, cols)
        m.linear(f"time_text_embed.{name}.linear_2", width, width)
    for n in range(double):
        block = f"transformer_blocks.{n}."
        for name in ("norm1.linear", "norm1_context.linear"):
            m.linear(block + name, 6 * width, width)
        for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"):
            m.linear(block + "attn." + name, width, width)
        for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            m.vector(block + f"attn.{name}.weight", HEAD, 1.0)
        for name in ("ff", "ff_context"):
            m.linear(block + name + ".net.0.proj", 4 * width, width)
            m.linear(block + name + ".net.2", width, 4 * width)
    for n in range(single):
        block = f"single_transformer_blocks.{n}."
        m.linear(block + "norm.linear", 3 * width, width)
        for name in ("to_q", "to_k", "to_v"):
            m.linear(block + "attn." + name, width, width)
        for name in ("norm_q", "norm_k"):
            m.vector(block + f"attn.{name}.weight", HEAD, 1.0)
        m.linear(block + "proj_mlp", 4 * width, width)
        m.linear(block + "proj_out", width, 5 * width)
    m.linear("norm_out.linear", 2 * width, width)
    m.linear("proj_out", 4 * LATENT_CHANNELS, width)
    return m.out


def make_clip(seed: int, width: int, layers: int, mlp: int) -> Arrays:
    m = Maker(seed)
    m.out["text_model.embeddings.token_embedding.weight"] = to_bf16(0.5 * m.normal(CLIP_VOCAB, width))
    m.matrix("text_model.embeddings.position_embedding.weight", 77, width)
    for n in range(layers):
        layer = f"text_model.encoder.layers.{n}."
        for name in ("layer_norm1", "layer_norm2"):
            m.norm(layer + name, width)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            m.linear(layer + "self_attn." + name, width, width)
        m.linear(layer + "mlp.fc1", mlp, width)
        m.linear(layer + "mlp.fc2", width, mlp)
    m.norm("text_model.final_layer_norm", width)
    return m.out


def make_t5(seed: int, width: int, layers: int, heads: int, mlp: int) -> Arrays:
    m = Maker(seed)
    m.out["shared.weight"] = to_bf16(m.normal(T5_VOCAB, width))
    for n in range(layers):
        layer = f"encoder.block.{n}.layer."
        m.vector(layer + "0.layer_norm.weight", width, 1.0)
        for name in "qkv":
            m.matrix(layer + f"0.SelfAttention.{name}.weight", 64 * heads, width, gain=0.35 if name == "q" else 1)
        m.matrix(layer + "0.SelfAttention.o.weight", width, 64 * heads)
        if n == 0:
            m.matrix(layer + "0.SelfAttention.relative_attention_bias.weight", 32, heads)
        m.vector(layer + "1.layer_norm.weight", width, 1.0)
        for name in ("wi_0", "wi_1"):
            m.matrix(layer + f"1.DenseReluDense.{name}.weight", mlp, width)
        m.matrix(layer + "1.DenseReluDense.wo.weight", width, mlp)
    m.vector("encoder.final_layer_norm.weight", width, 1.0)
    return m.out


def make_vae(seed: int, channels: list[int]) -> Arrays:
    m = Maker(seed)

    def resnet(name: str, cols: int, rows: int) -> None:
        m.norm(name + ".norm1", cols)
        m.conv(name + ".conv1", rows, cols, 3)
        m.norm(name + ".norm2", rows)
        m.conv(name + ".conv2", rows, rows, 3)
        if cols != rows:
            m.conv(name + ".conv_shortcut", rows, cols, 1)

    def middle(name: str, width: int) -> None:
        resnet(name + ".resnets.0", width, width)
        m.norm(name + ".attentions.0.group_norm", width)
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            m.linear(name + ".attentions.0." + part, width, width)
        resnet(name + ".resnets.1", width, width)

    last = channels[-1]
    m.conv("decoder.conv_in", last, LATENT_CHANNELS, 3)
    middle("decoder.mid_block", last)
    for level, width in enumerate(reversed(channels)):
        for n in range(3):
            resnet(f"decoder.up_blocks.{level}.resnets.{n}", last, width)
            last = width
        if level < len(channels) - 1:
            m.conv(f"decoder.up_blocks.{level}.upsamplers.0.conv", width, width, 3)
    m.norm("decoder.conv_norm_out", last)
    m.conv("decoder.conv_out", 3, last, 3)
    last = channels[0]
    m.conv("encoder.conv_in", last, 3, 3)
    for level, width in enumerate(channels):
        for n in range(2):
            resnet(f"encoder.down_blocks.{level}.resnets.{n}", last, width)
            last = width
        if level < len(channels) - 1:
            m.conv(f"encoder.down_blocks.{level}.downsamplers.0.conv", width, width, 3)
    middle("encoder.mid_block", last)
    m.norm("encoder.conv_norm_out", last)
    m.conv("encoder.conv_out", 2 * LATENT_CHANNELS, last, 3)
    return m.out


def t5_config(width: int, layers: int, heads: int, mlp: int) -> dict:
    return {"architectures": ["T5EncoderModel"], "model_type": "t5", "vocab_size": T5_VOCAB, "d_model": width, "d_kv": 64,
            "d_ff": mlp, "num_layers": layers, "num_heads": heads, "feed_forward_proj": "gated-gelu",
            "relative_attention_num_buckets": 32}


def make_model(seed: int, dev: bool, width: int, double: int, single: int) -> Model:
    text, pooled, channels = 256, 128, [32, 32, 64, 64]
    parts = {"transformer": make_transformer(seed, dev, width, double, single, text, pooled),
             "vae": make_vae(seed + 1, channels), "text_encoder": make_clip(seed + 2, pooled, 2, 256),
             "text_encoder_2": make_t5(seed + 3, text, 2, 3, 512)}
    configs = {
        "transformer": {"_class_name": "FluxTransformer2DModel", "attention_head_dim": HEAD,
                        "num_attention_heads": width // HEAD, "axes_dims_rope": [16, 56, 56], "guidance_embeds": dev,
                        "in_channels": 4 * LATENT_CHANNELS, "joint_attention_dim": text, "num_layers": double,
                        "num_single_layers": single, "pooled_projection_dim": pooled, "patch_size": 1},
        "vae": {"_class_name": "AutoencoderKL", "block_out_channels": channels, "latent_channels": LATENT_CHANNELS,
                "layers_per_block": 2, "norm_num_groups": 32, "scaling_factor": 0.3611, "shift_factor": 0.1159,
                "use_quant_conv": False, "use_post_quant_conv": False, "mid_block_add_attention": True,
                "in_channels": 3, "out_channels": 3, "act_fn": "silu", "down_block_types": ["DownEncoderBlock2D"] * 4,
                "up_block_types": ["UpDecoderBlock2D"] * 4},
        "text_encoder": {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_size": pooled,
                         "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": pooled // 64,
                         "vocab_size": CLIP_VOCAB, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
                         "eos_token_id": 2},
        "text_encoder_2": t5_config(text, 2, 3, 512)}
    return Model(dev, width, double, single, parts, configs)


def encoded(x: numpy.ndarray, dtype: str) -> bytes:
    if dtype == "BF16":
        return (to_bf16(x).view(numpy.uint32) >> 16).astype("<u2").tobytes()
    return x.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def save(path: pathlib.Path, tensors: dict, dtype: str = "BF16", metadata: dict | None = None) -> None:
    """Writes a safetensors file. Arrays are stored in `dtype`, Raw tensors as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head, blobs, at = ({"__metadata__": metadata} if metadata else {}), [], 0
    for name, x in tensors.items():
        raw = x if isinstance(x, Raw) else Raw(dtype, x.shape, encoded(x, dtype))
        head[name] = {"dtype": raw.dtype, "shape": list(raw.shape), "data_offsets": [at, at + len(raw.data)]}
        at += len(raw.data)
        blobs.append(raw.data)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(blobs)


def save_folder(folder: pathlib.Path, model: Model, dtype: str, tokenizers: pathlib.Path, parts=tuple(PARTS)) -> None:
    """A folder in diffusers layout; without `tokenizers` it has none."""
    for part in parts:
        save(folder / part / f"{PARTS[part]}.safetensors", model.parts[part], dtype)
        (folder / part / "config.json").write_text(json.dumps(model.configs[part]))
    for name in ("tokenizer", "tokenizer_2"):
        if tokenizers:
            shutil.copytree(tokenizers / name, folder / name, copy_function=shutil.copyfile)
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "base_image_seq_len": 256, "base_shift": 0.5,
         "max_image_seq_len": 4096, "max_shift": 1.15, "num_train_timesteps": 1000, "shift": 3.0 if model.dev else 1.0,
         "use_dynamic_shifting": model.dev}))
    (folder / "model_index.json").write_text(json.dumps(
        {"_class_name": "FluxPipeline", "_diffusers_version": "0.30.0.dev0",
         "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
         "text_encoder_2": ["transformers", "T5EncoderModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
         "tokenizer_2": ["transformers", "T5TokenizerFast"], "transformer": ["diffusers", "FluxTransformer2DModel"],
         "vae": ["diffusers", "AutoencoderKL"]}))
