"""Every layout and format of a model's files, beside diffusers.

    python tools/layouts/suite.py --tokenizers FLUX.1-dev [--darkroom build/darkroom] [--only NAME ...] [--keep FOLDER]

For each of a dev and a schnell model of random numbers, and for each case: the model's files in one layout, drawn by
darkroom in f32, and the numbers that these files mean, drawn by diffusers in f32 from the same noise. A row passes with
60 dB or more, of the latents (peak: their range) and of the picture. Exit code 1 if one fails.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fixtures"))
import reference  # noqa: E402  of tools/fixtures
import formats
import spellings
from formats import GGUF_TYPES, write_gguf
from small import HEAD, Arrays, Model, Raw, make_model, make_t5, save, save_folder, t5_config
from spellings import from_bfl, llama_name, to_bfl, under, vae_to_bfl, without

PROMPT, SIZE, STEPS, TEXT_TOKENS = "a cat on a mat, naïve 4k", 128, 2, 64


@dataclasses.dataclass
class Case:
    """What darkroom is asked to draw, and which parts mean other numbers than the model's."""

    flags: list
    means: dict[str, Arrays] = dataclasses.field(default_factory=dict)
    hub: pathlib.Path | None = None
    distilled: dict | None = None  # config of a DistillT5


class Cases:
    """Each method of a case's name writes its files into `at`."""

    def __init__(self, model: Model, base: pathlib.Path, tokenizers: pathlib.Path):
        self.model, self.base, self.tokenizers = model, base, tokenizers
        self.flux, self.clip, self.t5, self.vae = (
            model.parts[p] for p in ("transformer", "text_encoder", "text_encoder_2", "vae"))
        self.bfl = to_bfl(self.flux)

    def all(self) -> dict:
        layouts = [name for name in dir(self) if name.startswith("layout_")]
        cases = {name.removeprefix("layout_").replace("_", " "): getattr(self, name) for name in layouts}
        cases |= {f"gguf {kind}": lambda at, kind=kind: self.gguf(at, kind) for kind in GGUF_TYPES}
        for kind in ("Q8_0", "Q4_K"):
            cases[f"t5 gguf {kind}"] = lambda at, kind=kind: self.t5_gguf(at, kind, False)
            cases[f"t5 gguf {kind} with tokenizer"] = lambda at, kind=kind: self.t5_gguf(at, kind, True)
        for style in ("plain", "old", "new"):
            cases[f"fp8 {style}"] = lambda at, style=style: self.quantised(at, formats.fp8(self.bfl, style))
        cases["fp8 old with prefix"] = lambda at: self.quantised(at, formats.fp8(self.bfl, "old"), "model.diffusion_model.")
        cases["fp8 e5m2"] = lambda at: self.quantised(at, formats.fp8(self.bfl, "plain", "F8_E5M2"))
        cases["fp8 diffusers names"] = lambda at: self.quantised_folder(at, formats.fp8(self.flux, "plain"))
        cases["int8 rows"] = lambda at: self.quantised(at, formats.int8(self.bfl))
        for kind, nested in (("nf4", False), ("nf4", True), ("fp4", False), ("fp4", True)):
            name = f"{kind} nested" if nested else kind
            pack = lambda tensors, kind=kind, nested=nested: formats.bitsandbytes(tensors, kind, nested)
            cases[name] = lambda at, pack=pack: self.quantised(at, pack(self.bfl))
            cases[name + " diffusers names"] = lambda at, pack=pack: self.quantised_folder(at, pack(self.flux))
            cases["t5 " + name] = lambda at, pack=pack: self.t5_quantised(at, pack(self.t5))
        cases["t5 fp8 old"] = lambda at: self.t5_quantised(at, formats.fp8(self.t5, "old"))
        cases["t5 fp8 plain"] = lambda at: self.t5_quantised(at, formats.fp8(self.t5, "plain"))
        return cases

    def others(self, *own: str) -> list:
        """Flags for the parts that a case does not have, from the base folder."""
        return [x for flag in ("--clip", "--t5", "--vae") if flag not in own for x in (flag, self.base)]

    def transformer(self, at: pathlib.Path, tensors: dict, **options) -> list:
        save(at / "x.safetensors", tensors, **options)
        return ["-m", at / "x.safetensors"]

    # Layouts of the same numbers.

    def layout_folder(self, at):
        save_folder(at / "m", self.model, "BF16", self.tokenizers)
        return Case(["-m", at / "m"])

    def layout_folder_f32_without_tokenizers(self, at):
        save_folder(at / "m", self.model, "F32", None)
        return Case(["-m", at / "m"])

    def layout_bfl_with_files_beside(self, at):
        save(at / "ae.safetensors", vae_to_bfl(self.vae), "F32")
        save(at / "clip_l.safetensors", self.clip)
        save(at / "t5xxl.safetensors", self.t5)
        return Case(self.transformer(at, self.bfl))

    def layout_folder_with_one_file(self, at):
        self.layout_bfl_with_files_beside(at)
        return Case(["-m", at])

    def layout_tree(self, at):
        save(at / "models/unet/flux/x.safetensors", under("model.diffusion_model.", self.bfl))
        save(at / "models/vae/a.safetensors", self.vae)
        save(at / "models/clip/c.safetensors", without("text_model.", self.clip))
        save(at / "models/text_encoders/t.safetensors", self.t5)
        return Case(["-m", at / "models/unet/flux/x.safetensors"])

    def layout_tree_without_subfolders(self, at):
        self.layout_tree(at)
        (at / "models/unet/flux/x.safetensors").rename(at / "models/unet/x.safetensors")
        return Case(["-m", at / "models/unet/x.safetensors"])

    def layout_tree_by_its_root(self, at):
        self.layout_tree(at)
        return Case(["-m", at])

    def layout_all_in_one(self, at):
        extras = {"text_encoders.clip_l.logit_scale": numpy.float32(4.6).reshape(()),
                  "text_encoders.clip_l.transformer.text_projection.weight": numpy.eye(128, dtype=numpy.float32),
                  "text_encoders.t5xxl.logit_scale": numpy.float32(4.6).reshape(())}
        return Case(self.transformer(at, {
            **under("model.diffusion_model.", self.bfl), **under("vae.", vae_to_bfl(self.vae)),
            **under("text_encoders.clip_l.transformer.", self.clip),
            **under("text_encoders.t5xxl.transformer.", self.t5), **extras}))

    def layout_all_in_one_forge(self, at):
        return Case(self.transformer(at, {
            **under("model.diffusion_model.", self.bfl), **under("first_stage_model.", vae_to_bfl(self.vae)),
            **under("cond_stage_model.transformer.", self.clip), **under("t5xxl.", self.t5)}))

    def layout_diffusers_names_in_a_file(self, at):
        return Case(self.transformer(at, under("transformer.", self.flux)) + self.others())

    def layout_shards(self, at):
        names = sorted(self.flux)
        shards = {f"d-{n + 1:05}-of-00003.safetensors": names[n::3] for n in range(3)}
        for file, own in shards.items():
            save(at / file, {name: self.flux[name] for name in own})
        index = at / "d.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": {n: file for file, own in shards.items() for n in own}}))
        return Case(["-m", index] + self.others())

    def layout_hub_cache(self, at):
        repository = at / "hub/models--black-forest-labs--FLUX.1-dev"
        save_folder(at / "plain", self.model, "BF16", self.tokenizers)
        for file in [p for p in (at / "plain").rglob("*") if p.is_file()]:
            blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
            blob.parent.mkdir(parents=True, exist_ok=True)
            link = repository / "snapshots/0ef5fff" / file.relative_to(at / "plain")
            link.parent.mkdir(parents=True, exist_ok=True)
            file.rename(blob)
            link.symlink_to(os.path.relpath(blob, link.parent))
        (repository / "refs").mkdir()
        (repository / "refs/main").write_text("0ef5fff")
        return Case(["-m", "black-forest-labs/FLUX.1-dev"], hub=at / "hub")

    def layout_parts_from_the_hub_cache(self, at):
        case = self.layout_hub_cache(at)
        return Case(self.transformer(at / "alone", self.bfl), hub=case.hub)

    def layout_norms_called_weight(self, at):
        return Case(self.transformer(at, to_bfl(self.flux, ".weight")) + self.others())

    def layout_metadata_of_quantisation(self, at):
        tensors, means = formats.fp8(self.bfl, "new")
        layers = {n.removesuffix(".comfy_quant"): {"format": "float8_e4m3fn"} for n in tensors if "comfy_quant" in n}
        tensors = {n: x for n, x in tensors.items() if "comfy_quant" not in n}
        metadata = {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}
        return Case(self.transformer(at, tensors, metadata=metadata) + self.others(),
                    {"transformer": from_bfl(means, self.flux)})

    def part(self, at, flag: str, tensors: dict, dtype: str = "BF16", means: dict | None = None):
        save(at / "part.safetensors", tensors, dtype)
        return Case(self.transformer(at / "alone", self.bfl) + [flag, at / "part.safetensors"] + self.others(flag), means or {})

    def layout_t5_with_both_names_of_its_table(self, at):
        return self.part(at, "--t5", {**self.t5, "encoder.embed_tokens.weight": self.t5["shared.weight"]})

    def layout_t5_with_embed_tokens_only(self, at):
        return self.part(at, "--t5", {n.replace("shared", "encoder.embed_tokens"): x for n, x in self.t5.items()})

    def layout_t5_f16(self, at):
        return self.part(at, "--t5", self.t5, "F16", {"text_encoder_2": as_f16(self.t5)})

    def layout_clip_f16(self, at):
        return self.part(at, "--clip", self.clip, "F16", {"text_encoder": as_f16(self.clip)})

    def layout_clip_without_text_model(self, at):
        return self.part(at, "--clip", {**without("text_model.", self.clip), "logit_scale": numpy.float32(4.6).reshape(())})

    def layout_vae_bfl_f32(self, at):
        return self.part(at, "--vae", vae_to_bfl(self.vae), "F32")

    def layout_vae_diffusers_bf16(self, at):
        return self.part(at, "--vae", self.vae)

    def layout_vae_without_encoder(self, at):
        return self.part(at, "--vae", {n: x for n, x in vae_to_bfl(self.vae).items() if n.startswith("decoder.")})

    def distilled(self) -> tuple[Arrays, dict]:
        encoder = make_t5(77, 192, 2, 3, 256)
        rng = numpy.random.default_rng(78)
        tensors = under("encoder.", encoder)
        for name, cols in (("final_projection.0.weight", 192), ("final_projection.3.weight", 256)):
            tensors[name] = rng.standard_normal((256, cols)).astype(numpy.float32) * numpy.float32(1.4 / math.sqrt(cols))
        return tensors, {**t5_config(192, 2, 3, 256), "architectures": ["T5EncoderWithProjection"],
                         "project_in_dim": 192, "project_out_dim": 256}

    def layout_distilled_t5(self, at):
        tensors, config = self.distilled()
        case = self.part(at, "--t5", tensors, "F32", {"text_encoder_2": tensors})
        return dataclasses.replace(case, distilled=config)

    def layout_distilled_t5_folder(self, at):
        tensors, config = self.distilled()
        save(at / "d/model.safetensors", tensors, "F32")
        (at / "d/config.json").write_text(json.dumps(config))
        return Case(["-m", self.base, "--t5", at / "d"], {"text_encoder_2": tensors}, distilled=config)

    # Formats.

    def gguf(self, at, kind):
        means = write_gguf(at / "x.gguf", "flux", self.bfl, kind)
        return Case(["-m", at / "x.gguf"] + self.others(), {"transformer": from_bfl(means, self.flux)})

    def t5_gguf(self, at, kind, tokenizer):
        theirs = {llama_name(name): x for name, x in self.t5.items()}
        means = write_gguf(at / "t5.gguf", "t5encoder", theirs, kind, True, self.tokenizers / "tokenizer_2" if tokenizer else None)
        return Case(self.transformer(at / "alone", self.bfl) + ["--t5", at / "t5.gguf"] + self.others("--t5"),
                    {"text_encoder_2": {name: means[llama_name(name)] for name in self.t5}})

    def quantised(self, at, made, prefix=""):
        tensors, means = made
        return Case(self.transformer(at, under(prefix, tensors)) + self.others(),
                    {"transformer": from_bfl(means, self.flux)})

    def quantised_folder(self, at, made):
        """A transformer's folder as diffusers saves it."""
        tensors, means = made
        save(at / "transformer/diffusion_pytorch_model.safetensors", tensors)
        config = {**self.model.configs["transformer"], "quantization_config": {"quant_method": "bitsandbytes"}}
        (at / "transformer/config.json").write_text(json.dumps(config))
        return Case(["-m", at / "transformer"] + self.others(), {"transformer": means})

    def t5_quantised(self, at, made):
        tensors, means = made
        return self.part(at, "--t5", tensors, means={"text_encoder_2": means})


def as_f16(tensors: Arrays) -> Arrays:
    return {name: x.astype(numpy.float16).astype(numpy.float32) for name, x in tensors.items()}


class Distilled(torch.nn.Module):
    """DistillT5's encoder (arXiv 2503.19897)."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, config: dict):
        from transformers import T5Config, T5EncoderModel

        super().__init__()
        self.encoder = T5EncoderModel(T5Config(**config))
        width = config["project_out_dim"]
        self.final_projection = torch.nn.Sequential(
            torch.nn.Linear(config["d_model"], width, bias=False), torch.nn.ReLU(), torch.nn.Dropout(0.0),
            torch.nn.Linear(width, width, bias=False))

    def forward(self, ids, output_hidden_states=False):
        return (self.final_projection(self.encoder(ids)[0]),)


def fill(module: torch.nn.Module, tensors: Arrays) -> None:
    """Every parameter, and nothing else."""
    own = module.state_dict()
    tensors = dict(tensors)
    for name in list(tensors):
        if name not in own and name.removeprefix("text_model.") in own:
            tensors[name.removeprefix("text_model.")] = tensors.pop(name)
        if name.endswith("shared.weight"):
            table = name.replace("shared", "encoder.embed_tokens")
            if table in own:
                tensors[table] = tensors[name]
    kept = {name: x for name, x in own.items() if name.endswith("position_ids")}
    module.load_state_dict(kept | {n: torch.from_numpy(numpy.ascontiguousarray(x)) for n, x in tensors.items()})
    module.eval()


def request(model: Model) -> reference.Request:
    return reference.Request(PROMPT, width=SIZE, height=SIZE, steps=STEPS, guidance=3.5 if model.dev else 0.0, seed=3,
                             max_text_tokens=TEXT_TOKENS)


def draw_reference(pipe, model: Model, case: Case) -> dict:
    t5 = pipe.text_encoder_2
    for part, tensors in (model.parts | case.means).items():
        if part == "text_encoder_2" and case.distilled:
            pipe.text_encoder_2 = Distilled(case.distilled)
        fill(getattr(pipe, part), tensors)
    try:
        return reference.run(pipe, request(model))
    finally:
        pipe.text_encoder_2 = t5


def draw_darkroom(program: pathlib.Path, model: Model, case: Case, noise: torch.Tensor, at: pathlib.Path):
    """Latents and picture, or what it said instead."""
    save_file({"latents": noise.contiguous()}, at / "noise.safetensors")
    command = [program, "generate", *case.flags, "-p", PROMPT, "-W", SIZE, "-H", SIZE, "--steps", STEPS, "--cfg", 1,
               "--max-text-tokens", TEXT_TOKENS, "--precision", "f32", "--noise", at / "noise.safetensors",
               "--save-latents", at / "out.safetensors", "-o", at / "out.png", "--no-embed-cache", "-q"]
    command += ["--guidance", 3.5] if model.dev else []
    environment = os.environ | {"HF_HUB_CACHE": str(case.hub or at / "no-hub")}
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True, env=environment)
    if done.returncode:
        return done.stderr.strip()
    with Image.open(at / "out.png") as image:
        picture = torch.from_numpy(numpy.array(image.convert("RGB")))
    return load_file(at / "out.safetensors")["latents"], picture


def latents_psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    error = float(((a.double().flatten() - b.double().flatten()) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(float(b.max() - b.min()) ** 2 / error)


def run_case(program, model, pipe, make, at: pathlib.Path) -> str:
    at.mkdir(parents=True)
    case = make(at)
    theirs = draw_reference(pipe, model, case)
    ours = draw_darkroom(program, model, case, theirs["noise_packed"], at)
    if isinstance(ours, str):
        return f"FAILED {ours}"
    latents, picture = latents_psnr(ours[0], theirs["latents"]), reference.psnr(ours[1], theirs["picture"])
    return f"{latents:>8.1f} {picture:>8.1f}  {'pass' if min(latents, picture) >= 60 else 'FAIL'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizers", type=pathlib.Path, required=True, help="has FLUX.1's tokenizer and tokenizer_2")
    parser.add_argument("--darkroom", type=pathlib.Path, default=pathlib.Path("build/darkroom"))
    parser.add_argument("--only", nargs="*", help="cases whose names hold one of these")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=pathlib.Path, help="leave the files in this new folder (some GB)")
    arguments = parser.parse_args()
    program, good = arguments.darkroom.resolve(), True
    torch.set_num_threads(1)
    print(f"{'case':<44} {'latents':>8} {'picture':>8}", flush=True)
    with tempfile.TemporaryDirectory(prefix="darkroom-layouts-") as temporary:
        root = (arguments.keep or pathlib.Path(temporary)).resolve()
        for kind, sizes in (("dev", (256, 2, 3)), ("schnell", (384, 1, 2))):
            model = make_model(arguments.seed, kind == "dev", *sizes)
            save_folder(root / kind / "base", model, "F32", arguments.tokenizers)
            pipe = reference.load_pipeline(root / kind / "base", torch.float32)
            for name, make in Cases(model, root / kind / "base", arguments.tokenizers).all().items():
                if arguments.only and not any(word in name for word in arguments.only):
                    continue
                at = root / kind / name.replace(" ", "_")
                row = run_case(program, model, pipe, make, at)
                good &= row.endswith("pass")
                print(f"{kind + ' ' + name:<44} {row}", flush=True)
                if not arguments.keep:
                    for path in sorted(at.rglob("*"), reverse=True):
                        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
