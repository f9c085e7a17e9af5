#!/usr/bin/env python3
"""Writes the broken models of fuzz/broken/checkpoint, a folder each, and the broken LoRAs of fuzz/broken/lora; the tests
demand an error for each of them.

They are committed, so nothing needs this script; it says what each of them is and makes more of them. Links and names of
a MiB are made by the test.
"""
import json
import pathlib
import shutil
import struct

ROOT = pathlib.Path(__file__).parent / "broken"
FLUX = "transformer/diffusion_pytorch_model"


def safetensors(tensors, data=None, header=None, length=None):
    """`tensors`: name to (dtype, shape[, data_offsets]); by themselves they lie one after the other."""
    sizes = {"F32": 4, "BF16": 2, "F16": 2, "I64": 8, "U8": 1}
    entries, at = [], 0
    for name, (dtype, shape, *offsets) in tensors if isinstance(tensors, list) else tensors.items():
        size = sizes[dtype]
        for extent in shape:
            size *= extent
        begin, end = offsets[0] if offsets else (at, at + size)
        at = max(at, end)
        entries.append(f'{json.dumps(name)}:{{"dtype":"{dtype}","shape":{json.dumps(shape)},"data_offsets":[{begin},{end}]}}')
    text = (header if header is not None else "{" + ",".join(entries) + "}").encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(min(at, 4096) if data is None else data)


def gguf(fields=(), tensors=(), tensor_count=None, field_count=None, data=32):
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors) if tensor_count is None else tensor_count,
                                len(fields) if field_count is None else field_count)
    for key, value in fields:
        out += text(key) + struct.pack("<II", 4, value)
    for name, shape, begin in tensors:
        out += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape[::-1])
        out += struct.pack("<IQ", 0, begin)
    return out + bytes(-len(out) % 32) + bytes(data)


def index(weight_map):
    return json.dumps({"metadata": {}, "weight_map": weight_map}).encode()


CONFIG = {"num_layers": 1, "num_single_layers": 0, "num_attention_heads": 2, "attention_head_dim": 8,
          "joint_attention_dim": 4096, "pooled_projection_dim": 768, "axes_dims_rope": [4, 2, 2], "guidance_embeds": True}
X = "x_embedder.weight"
GOOD = safetensors({X: ("F32", [2, 2])})  # read no further than its header
QKV, NORM = "double_blocks.0.img_attn.qkv.weight", "double_blocks.0.img_attn.norm.query_norm.scale"


def model(weights=GOOD, config=CONFIG, name=FLUX + ".safetensors"):
    """A folder in diffusers layout of a transformer alone."""
    config = config if isinstance(config, bytes) else json.dumps(config).encode()
    files = {"model_index.json": b"{}", "transformer/config.json": config}
    return files | (weights if isinstance(weights, dict) else {name: weights})


def with_config(**changes):
    return model(config=CONFIG | changes)


def shards(weight_map, **files):
    return model({FLUX + ".safetensors.index.json": index(weight_map)} |
                 {f"{FLUX}-0000{n[-1]}-of-00002.safetensors": content for n, content in files.items()})


SHARDS = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
HUB = {"snapshots/1/model_index.json": b"{}"}

CHECKPOINTS = {
    # Weights of a folder in diffusers layout.
    "header_beyond_file": model(safetensors({X: ("F32", [2, 2])}, length=2**40)),
    "header_cut": model(safetensors({X: ("F32", [2, 2])}, length=4096)),
    "header_2_to_63": model(safetensors({X: ("F32", [2, 2])}, length=2**63)),
    "data_beyond_file": model(safetensors({X: ("F32", [16, 64])}, data=100)),
    "dims_overflow": model(safetensors({X: ("F32", [2**32, 2**32, 4], (0, 0))})),
    "dims_2_to_63": model(safetensors({X: ("F32", [2**63], (0, 16))}, data=16)),
    "offsets_swapped": model(safetensors({X: ("F32", [4], (16, 0))}, data=16)),
    "name_twice": model(safetensors([(X, ("F32", [4], (0, 16))), (X, ("F32", [4], (16, 32)))])),
    "no_json": model(safetensors({}, header="<html>not found</html>")),
    "web_page": model(b"<!DOCTYPE html><html><title>404</title></html>"),
    "lfs_pointer": model(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 23\n"),
    "half_a_download": model({FLUX + ".safetensors.part": GOOD}),
    "pickle": model({"transformer/diffusion_pytorch_model.bin": b"PK\3\4"}),
    # Its index and shards.
    "index_above": shards({X: "../diffusion_pytorch_model.safetensors"}, s1=GOOD),
    "index_absolute": shards({X: "/etc/passwd.safetensors"}, s1=GOOD),
    "index_inner_folder": shards({X: "sub/a.safetensors"}, s1=GOOD),
    "index_hidden": shards({X: ".a.safetensors"}, s1=GOOD),
    "index_nul": shards({X: "a\0.safetensors"}, s1=GOOD),
    "index_number": shards({X: 2**63}, s1=GOOD),
    "index_empty": shards({}, s1=GOOD),
    "index_is_list": model({FLUX + ".safetensors.index.json": b"[]"}),
    "index_of_nothing": shards({X: SHARDS[0]}),
    "shard_missing": shards({X: SHARDS[0], "b": SHARDS[1]}, s1=GOOD),
    "shards_of_two_models": shards({X: SHARDS[0], "context_embedder.weight": SHARDS[1]}, s1=GOOD,
                                   s2=safetensors({"txt_in.weight": ("F32", [2, 2])})),
    "shards_without_index": model({f"transformer/{name}": GOOD for name in SHARDS}),
    # Its config.
    "config_list": model(config=b"[]"),
    "config_cut": model(config=b'{"num_layers": 1'),
    "config_2_to_63": with_config(num_layers=2**63),
    "config_overflow": with_config(num_attention_heads=2**31, attention_head_dim=2**31),
    "config_negative": with_config(num_single_layers=-1),
    "config_no_heads": with_config(num_attention_heads=0),
    "config_axes": with_config(axes_dims_rope=[4, 2, 4]),
    "config_deep": model(config=b"[" * 2000),
    # One file in a folder.
    "file_of_two_models": {"x.safetensors": safetensors({
        QKV: ("BF16", [24, 8]), NORM: ("BF16", [8]), "img_in.weight": ("BF16", [12, 64]),
        "final_layer.linear.weight": ("BF16", [64, 12])})},
    "file_without_sizes": {"x.safetensors": safetensors({QKV: ("BF16", [24, 8]), NORM: ("BF16", [8])})},
    "file_without_blocks": {"x.safetensors": safetensors({QKV: ("BF16", [24, 8])})},
    "file_dims_overflow": {"x.safetensors": safetensors({QKV: ("F32", [2**32, 2**32], (0, 0))})},
    "file_no_rows": {"x.safetensors": safetensors({QKV: ("F32", [0, 2**62]), NORM: ("F32", [8]),
                                                    "img_in.weight": ("F32", [0, 2**62])})},
    "file_of_strangers": {"x.safetensors": safetensors({"a": ("F32", [4])})},
    "two_files": {name: safetensors({QKV: ("BF16", [24, 8])}) for name in ("a.safetensors", "b.safetensors")},
    "gguf_alignment_0": {"x.gguf": gguf([("general.alignment", 0)], [(QKV, (48, 16), 0)])},
    "gguf_count_2_to_63": {"x.gguf": gguf(tensor_count=2**63)},
    "gguf_fields_2_to_63": {"x.gguf": gguf(field_count=2**63)},
    "gguf_beyond_file": {"x.gguf": gguf([], [(QKV, (48, 16), 0)])},
    "gguf_dims_overflow": {"x.gguf": gguf([], [(QKV, (2**32, 2**32), 0)])},
    "gguf_name_twice": {"x.gguf": gguf([], [(QKV, (2, 2), 0), (QKV, (2, 2), 32)], data=64)},
    "pickle_alone": {"flux1-dev.ckpt": b"PK\3\4"},
    "only_a_text": {"README.md": b"a model\n"},
    # A repository of huggingface_hub's cache.
    "hub_ref_above": HUB | {"refs/main": b"../../outside"},
    "hub_ref_absolute": HUB | {"refs/main": b"/etc"},
    "hub_ref_empty": HUB | {"refs/main": b" \n"},
    "hub_ref_gone": HUB | {"refs/main": b"2"},
    "hub_two_snapshots": HUB | {"snapshots/2/model_index.json": b"{}", "refs/other": b"1"},
}

A, B = "lora_A.weight", "lora_B.weight"
Q = "transformer.transformer_blocks.0.attn.to_q."  # 64 by 64 in the dummy that the tests use
KOHYA = "lora_unet_double_blocks_0_img_attn_qkv."  # 192 by 64
PAIR = {Q + A: ("BF16", [4, 64]), Q + B: ("BF16", [64, 4])}


def lora(tensors, **options):
    return safetensors(PAIR | tensors, **options)


LORAS = {
    "header_beyond_file": lora({}, length=2**40),
    "header_2_to_63": lora({}, length=2**63),
    "data_beyond_file": lora({}, data=100),
    "dims_overflow": lora({Q + A: ("BF16", [2**32, 2**32], (0, 0))}),
    "dims_2_to_63": lora({Q + A: ("BF16", [2**63, 64], (0, 0))}),
    "name_twice": safetensors([*PAIR.items(), (Q + A, ("BF16", [4, 64]))]),
    "empty": safetensors({}),
    "no_match": safetensors({"transformer.transformer_blocks.99.attn.to_q." + n: ("BF16", [4, 4]) for n in (A, B)}),
    "down_alone": safetensors({Q + A: ("BF16", [4, 64])}),
    "up_alone": safetensors({Q + B: ("BF16", [64, 4])}),
    "ranks_differ": lora({Q + B: ("BF16", [64, 3])}),
    "rank_0": safetensors({Q + A: ("BF16", [0, 64]), Q + B: ("BF16", [64, 0])}),
    "rank_2_to_62": safetensors({Q + A: ("BF16", [2**62, 0]), Q + B: ("BF16", [0, 2**62])}),
    "wrong_width": lora({Q + A: ("BF16", [4, 63])}),
    "wrong_height": lora({Q + B: ("BF16", [65, 4])}),
    "swapped": safetensors({Q + A: ("BF16", [64, 4]), Q + B: ("BF16", [4, 64])}),
    "scalar": lora({Q + A: ("BF16", [])}),
    "rank_of_3": lora({Q + A: ("BF16", [4, 64, 2])}),
    "whole_numbers": lora({Q + A: ("I64", [4, 64])}),
    "fused_rows": safetensors({KOHYA + "lora_down.weight": ("BF16", [4, 64]), KOHYA + "lora_up.weight": ("BF16", [191, 4])}),
    "alpha_of_two": safetensors({KOHYA + "lora_down.weight": ("BF16", [4, 64]), KOHYA + "lora_up.weight": ("BF16", [192, 4]),
                                 KOHYA + "alpha": ("BF16", [2])}),
    "alpha_whole": safetensors({KOHYA + "lora_down.weight": ("BF16", [4, 64]), KOHYA + "lora_up.weight": ("BF16", [192, 4]),
                                KOHYA + "alpha": ("U8", [])}),
    "dora": lora({Q + "dora_scale": ("BF16", [64, 1])}),
    "control": safetensors({"img_in.lora_A.weight": ("BF16", [4, 128]), "img_in.lora_B.weight": ("BF16", [64, 4])}),
    "lokr_without_w2": safetensors({KOHYA + "lokr_w1": ("BF16", [4, 4])}),
    "lokr_overflow": safetensors({KOHYA + "lokr_w1": ("BF16", [2**62, 0]), KOHYA + "lokr_w2": ("BF16", [0, 2**62])}),
    "loha_half": safetensors({KOHYA + "hada_w1_a": ("BF16", [192, 4]), KOHYA + "hada_w1_b": ("BF16", [4, 64])}),
    "diff_shape": safetensors({KOHYA + "diff": ("BF16", [4, 4])}),
    "diff_b_shape": safetensors({KOHYA + "diff_b": ("BF16", [64])}),
    "sdxl": safetensors({"lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight": ("BF16", [4, 64])}),
    "model": safetensors({QKV: ("BF16", [2, 2])}),
    "web_page": b"<!DOCTYPE html><html><title>404</title></html>",
    "pickle": b"PK\3\4" + bytes(60),
}

for folder, models in (("checkpoint", CHECKPOINTS), ("lora", {name + ".safetensors": {"": data} for name, data in LORAS.items()})):
    shutil.rmtree(ROOT / folder, ignore_errors=True)
    for name, files in models.items():
        for file, content in files.items():
            path = ROOT / folder / name / file if file else ROOT / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
