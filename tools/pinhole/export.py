"""Writes assets/pinhole from finished runs: three FluxPipeline folders in diffusers layout, bf16.

    python tools/pinhole/export.py --vae RUN --base RUN [--dev RUN] [--schnell RUN] --data latents.pt
        --tokenizers FOLDER --out assets/pinhole

OUT itself is the base model; OUT/dev and OUT/schnell have a transformer and a scheduler of their own and share the rest
through symbolic links. The transformers of base and dev have two shards, of which the first is one file for both.
darkroom.json holds what darkroom takes as the model's own settings; diffusers ignores it.
"""

import argparse
import math
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file

import model
import preview_map
import sample
import scenes
import vae as autoencoder

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "fixtures"))
import make_pipeline  # noqa: E402
from small_tokenizers import write_json  # noqa: E402

SHARED = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "vae")
KINDS = sample.SETTINGS
SCHEDULERS = {
    kind: {"num_train_timesteps": 1000, "shift": KINDS[kind].shift, "use_dynamic_shifting": False}
    for kind in ("base", "schnell")
} | {"dev": {"base_image_seq_len": 64, "base_shift": round(math.log(KINDS["dev"].shift), 4), "max_image_seq_len": 256,
             "max_shift": 1.5, "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": True}}
GUIDED_BY = {"base": "cfg", "dev": "guidance"}  # schnell by nothing
ABOUT = {"base": "", "dev": " (guidance distilled: one pass a step)", "schnell": " (four steps)"}
EXAMPLES = ("a red star above a blue ring on a yellow background", "a small green heart on the left on a white background",
            "a cyan cross next to an orange diamond on a purple background", "a large pink circle on a black background")


def settings(kind: str, preview: dict) -> dict:
    words = sorted({word for text in ("a an on the at of to next left above background small large gray", *scenes.COLOURS,
                                      *scenes.SHAPES, *scenes.PLACES) for word in text.split()})
    guidance = {GUIDED_BY[kind]: KINDS[kind].guidance} if kind in GUIDED_BY else {}
    return {
        "width": 128, "height": 128, "steps": KINDS[kind].steps, **guidance, "max_text_tokens": model.T5_TOKENS,
        "prompts": {
            "about": f"one or two shapes of one colour each, on a plain background of another{ABOUT[kind]}",
            "grammar": ["a [small|large] COLOUR SHAPE [on the left|on the right|at the top|at the bottom] on a COLOUR background",
                        "a COLOUR SHAPE (next to|left of|above) a COLOUR SHAPE on a COLOUR background",
                        "COLOUR: " + ", ".join(scenes.COLOURS), "SHAPE: " + ", ".join(scenes.SHAPES)],
            "words": words, "examples": list(EXAMPLES)},
        "preview": preview}


def save_config(part: torch.nn.Module, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(part, "save_config"):
        part.save_config(folder)
    else:
        part.config.dtype = "bfloat16"
        part.config.architectures = [type(part).__name__]
        part.config.save_pretrained(folder)


def save(part: torch.nn.Module, folder: pathlib.Path, stem: str, prefix: str = "") -> None:
    """Config as the class writes it, weights in bf16 under the names of FLUX.1's files."""
    save_config(part, folder)
    tensors = {prefix + name.removeprefix(prefix): value.to(torch.bfloat16).contiguous()
               for name, value in part.state_dict().items() if not name.endswith("position_ids")}
    if "shared.weight" in tensors:  # T5 has its embedding under two names
        tensors.pop("encoder.embed_tokens.weight", None)
    save_file(tensors, folder / f"{stem}.safetensors", metadata={"format": "pt"})


def save_in_shards(transformer: torch.nn.Module, folder: pathlib.Path, lender: pathlib.Path | None) -> None:
    """What base and dev have in common, and what each has for itself (model.is_own_of_dev). lender: the folder whose
    first shard is this one's too; its values must be the same."""
    save_config(transformer, folder)
    shards = {"common": {}, "own": {}}
    for name, value in transformer.state_dict().items():
        shards["own" if model.is_own_of_dev(name) else "common"][name] = value.to(torch.bfloat16).contiguous()
    files = dict(zip(shards, ("diffusion_pytorch_model-00001-of-00002.safetensors",
                              "diffusion_pytorch_model-00002-of-00002.safetensors")))
    if lender:
        lent = load_file(lender / files["common"])
        if lent.keys() != shards["common"].keys() or any(not torch.equal(lent[n], v) for n, v in shards["common"].items()):
            raise ValueError("dev was not distilled from this base: they differ in what they share")
        (folder / files["common"]).symlink_to(f"../../{lender.name}/{files['common']}")
    else:
        save_file(shards["common"], folder / files["common"], metadata={"format": "pt"})
    save_file(shards["own"], folder / files["own"], metadata={"format": "pt"})
    weight_map = {name: files[shard] for shard, tensors in shards.items() for name in tensors}
    size = sum(value.nbytes for tensors in shards.values() for value in tensors.values())
    write_json(folder / "diffusion_pytorch_model.safetensors.index.json",
               {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))})


def write_pipeline(kind: str, transformer, folder: pathlib.Path, preview: dict) -> None:
    shutil.rmtree(folder / "transformer", ignore_errors=True)
    if kind == "schnell":
        save(transformer, folder / "transformer", "diffusion_pytorch_model")
    else:
        save_in_shards(transformer, folder / "transformer", folder.parent / "transformer" if kind == "dev" else None)
    write_json(folder / "scheduler/scheduler_config.json", {**make_pipeline.SCHEDULER_CLASS, **SCHEDULERS[kind]})
    write_json(folder / "darkroom.json", settings(kind, preview))
    make_pipeline.write_index(folder)


def write_shared(options, base: model.Pinhole, vae, data: dict, folder: pathlib.Path) -> None:
    for name in SHARED:  # --vae may be one of them
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(options.tokenizers / name, folder / name)
    save(base.clip, folder / "text_encoder", "model", "text_model.")
    save(base.t5, folder / "text_encoder_2", "model")
    vae.register_to_config(scaling_factor=data["scale"], shift_factor=data["shift"])
    log_variance = vae.encoder.conv_out
    with torch.no_grad():  # the second half of the moments: the noise that the decoder was trained with
        log_variance.weight[16:] = 0
        log_variance.bias[16:] = 2 * math.log(autoencoder.NOISE)
    save(vae, folder / "vae", "diffusion_pytorch_model")


def link_shared(folder: pathlib.Path) -> None:
    for name in SHARED:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"../{name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("vae", "base", "data", "tokenizers", "out"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    for name in ("dev", "schnell"):
        parser.add_argument(f"--{name}", type=pathlib.Path)
    options = parser.parse_args()
    tokens = model.Tokens(options.tokenizers)
    base = sample.load_pinhole(options.base, tokens)
    vae, data = autoencoder.load_vae(options.vae), torch.load(options.data, weights_only=True, mmap=True)
    preview = preview_map.fit(vae, data["shift"], data["scale"])
    write_pipeline("base", base.transformer, options.out, preview)
    write_shared(options, base, vae, data, options.out)
    for kind in ("dev", "schnell"):
        run = getattr(options, kind)
        if run:
            student = sample.load_pinhole(run, tokens, guidance=kind == "dev")
            write_pipeline(kind, student.transformer, options.out / kind, preview)
            link_shared(options.out / kind)
    files = [path for path in options.out.rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files if not any(p.is_symlink() for p in path.parents))
    print(f"{options.out}: {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
