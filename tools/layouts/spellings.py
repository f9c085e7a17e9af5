"""The names that other programs give to the tensors, and back."""

import re

import numpy

from small import Arrays

ENDS = {"x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear",
        "norm_out.linear": "final_layer.adaLN_modulation.1"}
for theirs, ours in {"time_in": "timestep", "vector_in": "text", "guidance_in": "guidance"}.items():
    ENDS[f"time_text_embed.{ours}_embedder.linear_1"] = theirs + ".in_layer"
    ENDS[f"time_text_embed.{ours}_embedder.linear_2"] = theirs + ".out_layer"
DOUBLE = {"norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin", "attn.to_out.0": "img_attn.proj",
          "attn.to_add_out": "txt_attn.proj", "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2",
          "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2"}
DOUBLE_NORMS = {"norm_q": "img_attn.norm.query_norm", "norm_k": "img_attn.norm.key_norm",
                "norm_added_q": "txt_attn.norm.query_norm", "norm_added_k": "txt_attn.norm.key_norm"}
SINGLE = {"norm.linear": "modulation.lin", "proj_out": "linear2"}
SINGLE_NORMS = {"norm_q": "norm.query_norm", "norm_k": "norm.key_norm"}
LLAMA = {"layer.0.layer_norm": "attn_norm", "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b",
         "layer.0.SelfAttention.": "attn_", "layer.1.layer_norm": "ffn_norm", "layer.1.DenseReluDense.wi_0": "ffn_gate",
         "layer.1.DenseReluDense.wi_1": "ffn_up", "layer.1.DenseReluDense.wo": "ffn_down"}
VAE_MIDDLE = {"mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2",
              "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
              "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out", "mid_block.attentions.0.to_": "mid.attn_1.",
              "conv_norm_out": "norm_out"}


def fused(names: list[str]) -> list[tuple[str, ...]]:
    """What lies in one tensor: of each block (theirs, ours, ours, ...)."""
    out = []
    for n in sorted({re.match(r"transformer_blocks\.(\d+)", x)[1] for x in names if x.startswith("transformer_")}):
        for stream, q in (("img", "to_{}"), ("txt", "add_{}_proj")):
            out.append((f"double_blocks.{n}.{stream}_attn.qkv",
                        *(f"transformer_blocks.{n}.attn." + q.format(x) for x in "qkv")))
    for n in sorted({re.match(r"single_transformer_blocks\.(\d+)", x)[1] for x in names if x.startswith("single_")}):
        block = f"single_transformer_blocks.{n}."
        out.append((f"single_blocks.{n}.linear1", *(block + f"attn.to_{x}" for x in "qkv"), block + "proj_mlp"))
    return out


def renamed(name: str, norm_ending: str) -> str | None:
    """A tensor that lies alone in Black Forest Labs' files; nothing for one that is fused."""
    for block, modules, norms in (("transformer_blocks", DOUBLE, DOUBLE_NORMS),
                                  ("single_transformer_blocks", SINGLE, SINGLE_NORMS)):
        if match := re.match(rf"{block}\.(\d+)\.(.*)\.(weight|bias)$", name):
            at = f"{block.replace('transformer_blocks', 'blocks') if 'single' in block else 'double_blocks'}.{match[1]}."
            module = match[2]
            if module.startswith("attn.") and module[5:] in norms:
                return at + norms[module[5:]] + norm_ending
            return f"{at}{modules[module]}.{match[3]}" if module in modules else None
    module, ending = name.rsplit(".", 1)
    return f"{ENDS[module]}.{ending}"


def swapped(x: numpy.ndarray) -> numpy.ndarray:
    """The halves of final_layer's modulation: theirs is (shift, scale), diffusers' (scale, shift)."""
    half = len(x) // 2
    return numpy.concatenate([x[half:], x[:half]])


def to_bfl(ours: Arrays, norm_ending: str = ".scale") -> Arrays:
    out = {}
    for name, x in ours.items():
        if theirs := renamed(name, norm_ending):
            out[theirs] = swapped(x) if name.startswith("norm_out") else x
    for theirs, *pieces in fused(list(ours)):
        for ending in (".weight", ".bias"):
            out[theirs + ending] = numpy.concatenate([ours[piece + ending] for piece in pieces])
    return out


def from_bfl(theirs: Arrays, like: Arrays) -> Arrays:
    """What a file in their names means, with the names and shapes of `like`."""
    out = {}
    for name in like:
        if other := renamed(name, ".scale"):
            out[name] = swapped(theirs[other]) if name.startswith("norm_out") else theirs[other]
    for other, *pieces in fused(list(like)):
        for ending in (".weight", ".bias"):
            at = 0
            for piece in pieces:
                rows = len(like[piece + ending])
                out[piece + ending] = theirs[other + ending][at : at + rows]
                at += rows
    return out


def vae_to_bfl(ours: Arrays) -> Arrays:
    out = {}
    for name, x in ours.items():
        if match := re.match(r"(.*coder)\.(up|down)_blocks\.(\d)\.(.*)", name):
            level = 3 - int(match[3]) if match[2] == "up" else match[3]
            theirs = f"{match[1]}.{match[2]}.{level}.{match[4]}"
            for a, b in (("resnets.", "block."), ("conv_shortcut", "nin_shortcut"), ("upsamplers.0.conv", "upsample.conv"),
                         ("downsamplers.0.conv", "downsample.conv")):
                theirs = theirs.replace(a, b)
        else:
            theirs = name
            for a, b in VAE_MIDDLE.items():
                theirs = theirs.replace(a, b)
        out[theirs] = x.reshape(*x.shape, 1, 1) if "attn_1" in theirs and x.ndim == 2 else x
    return out


def llama_name(name: str) -> str:
    for a, b in {"shared": "token_embd", "encoder.final_layer_norm": "enc.output_norm", "encoder.block": "enc.blk",
                 **LLAMA}.items():
        name = name.replace(a, b)
    return name


def without(prefix: str, tensors: dict) -> dict:
    return {name.removeprefix(prefix): x for name, x in tensors.items()}


def under(prefix: str, tensors: dict) -> dict:
    return {prefix + name: x for name, x in tensors.items()}
