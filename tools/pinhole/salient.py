"""A model that computes what another one does, but with salient channels, as FLUX.1's are: what 8-bit products must stand.

    python tools/pinhole/salient.py IN OUT [--share 0.01] [--from 30] [--to 90] [--seed 1]

IN: a FluxPipeline folder in diffusers layout, f32, f16 or bf16, whose transformer fits into memory. In each input of the
blocks' linear layers that can take it, a share of the channels (at least one) becomes 30 to 90 times as large, and the
weights that read it as much smaller: inputs under an adaptive norm through scale and shift, attention's output through V.
GELU is not homogeneous, so its output stays. OUT's transformer is one f32 file (in bf16 a scale's offset,
(1 + b) · f - 1, would be rounded); what else is in IN is linked.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file

Q_K_V = ("attn.to_q", "attn.to_k", "attn.to_v")
ADDED_Q_K_V = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
# The linear layer of a modulation, which of its chunks are shift and scale, and who reads what they modulate.
DOUBLE = (("norm1.linear", 0, 1, Q_K_V), ("norm1.linear", 3, 4, ("ff.net.0.proj",)),
          ("norm1_context.linear", 0, 1, ADDED_Q_K_V), ("norm1_context.linear", 3, 4, ("ff_context.net.0.proj",)))
SINGLE = (("norm.linear", 0, 1, (*Q_K_V, "proj_mlp")),)
# The values of both streams meet in attention: whatever makes one larger must hold for the other.
VALUES = {"transformer_blocks": (("attn.to_v", "attn.add_v_proj"), ("attn.to_out.0", "attn.to_add_out")),
          "single_transformer_blocks": (("attn.to_v",), ("proj_out",))}


def scale_modulated(weights: dict, block: str, site: tuple, factors: torch.Tensor) -> None:
    """Modulated values times factors [D], and the columns that read them divided by it."""
    name, shift, scale, readers = site
    d = len(factors)
    for kind in ("weight", "bias"):
        rows = weights[f"{block}{name}.{kind}"]
        by = factors[:, None] if kind == "weight" else factors
        rows[shift * d:(shift + 1) * d] *= by
        rows[scale * d:(scale + 1) * d] *= by
    weights[f"{block}{name}.bias"][scale * d:(scale + 1) * d] += factors - 1
    for reader in readers:
        weights[f"{block}{reader}.weight"] /= factors


def scale_values(weights: dict, block: str, names: tuple, factors: torch.Tensor) -> None:
    """Attention's output times factors [D]: rows of V, and the first D columns of what reads it."""
    values, readers = names
    for name in values:
        weights[f"{block}{name}.weight"] *= factors[:, None]
        weights[f"{block}{name}.bias"] *= factors
    for name in readers:
        weights[f"{block}{name}.weight"][:, :len(factors)] /= factors


def draw_factors(d: int, options, generator: torch.Generator) -> torch.Tensor:
    """Ones [d], but for the share that is log-uniform in [from, to]."""
    factors = torch.ones(d, dtype=torch.float64)
    chosen = torch.randperm(d, generator=generator)[:max(1, round(options.share * d))]
    exponent = torch.rand(len(chosen), dtype=torch.float64, generator=generator)
    factors[chosen] = options.least * (options.most / options.least) ** exponent
    return factors


def make_salient(weights: dict, options) -> dict:
    """A transformer's tensors under diffusers' names, with salient channels, in f32."""
    weights = {name: value.double() for name, value in weights.items()}
    generator = torch.Generator().manual_seed(options.seed)
    for kind, modulated in (("transformer_blocks", DOUBLE), ("single_transformer_blocks", SINGLE)):
        count = 1 + max((int(name.split(".")[1]) for name in weights if name.startswith(f"{kind}.")), default=-1)
        for block in (f"{kind}.{index}." for index in range(count)):
            d = weights[f"{block}attn.to_q.weight"].shape[1]
            for site in modulated:
                scale_modulated(weights, block, site, draw_factors(d, options, generator))
            scale_values(weights, block, VALUES[kind], draw_factors(d, options, generator))
    return {name: value.float().contiguous() for name, value in weights.items()}


def read_transformer(folder: pathlib.Path) -> dict:
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    odd = [name for name, value in weights.items() if value.dtype not in (torch.float32, torch.float16, torch.bfloat16)]
    if not weights or odd:
        raise SystemExit(f"{folder}: " + (f"{odd[0]} is not f32, f16 or bf16" if odd else "no .safetensors file here"))
    return weights


def link_rest(source: pathlib.Path, target: pathlib.Path) -> None:
    target.mkdir(parents=True)
    for part in source.iterdir():
        if part.name != "transformer":
            (target / part.name).symlink_to(part.resolve())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path, metavar="IN")
    parser.add_argument("target", type=pathlib.Path, metavar="OUT", help="a new folder")
    parser.add_argument("--share", type=float, default=0.01, help="of each input's channels")
    parser.add_argument("--from", dest="least", type=float, default=30)
    parser.add_argument("--to", dest="most", type=float, default=90)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    options = parse()
    salient = make_salient(read_transformer(options.source / "transformer"), options)
    link_rest(options.source, options.target)
    folder = options.target / "transformer"
    folder.mkdir()
    (folder / "config.json").write_text((options.source / "transformer" / "config.json").read_text())
    save_file(salient, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    print(json.dumps({"channels": f"{options.share:.2%}", "factors": [options.least, options.most], "seed": options.seed}))


if __name__ == "__main__":
    main()
