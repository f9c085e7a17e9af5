"""Which way of multiplying in 8 bits stays closest to the transformer in f32: emulated in torch, layer by layer.

    python tools/pinhole/quantisation.py assets/pinhole [--salient 0.01] [--pictures 16] [--out rows.json]
    python tools/pinhole/quantisation.py --wide 3072 [--salient 0.01 | --moving 0.01] [--out rows.json]

The first form takes a Pinhole (base, dev, schnell, or what salient.py made of one), the second random blocks (1 double, 2
single) of that width. --salient makes the model's channels salient first, as salient.py does; --moving lets the share's
scales depend on the time a hundred times as strongly instead, so that salience moves from step to step.
Smoothing is calibrated on some captions and judged on others, with another number of steps. Prints SQNR in dB (of the
products, without bias) by kind of layer, the mean over its layers; with --pictures then the PSNR of whole pictures,
everything else in f32.
"""

import argparse
import functools
import json
import math
import pathlib

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel

import emulation
import model
import salient
import sample
import scenes
from calibration import (Bounds, Recorder, largest, largest_weight, ptq4dit_salience, rms_weight, root_mean_square,
                         smoothing_of)
from emulation import Emulated, Scheme
from quality import psnr

CALIBRATED_ON, JUDGED_ON = 440_001, 550_001  # seeds
FEW = ("a scale a token", "groups of 64, inputs", "groups of 64, both", "rotation of 64", "rotation of 256", "SmoothQuant 0.5",
       "SmoothQuant 0.8", "PTQ4DiT", "rms 0.5", "rms 0.5, folded", "weights alone, rms 0.5, folded",
       "rms 0.5, folded, groups of 64, both", "rms 0.5, folded, rotation of 256", "weights alone, rms 0.5, folded, rotation of 256")
TIMES = torch.linspace(1, 0.05, 20)


class PinholeRuns:
    """Captions drawn by a Pinhole's folder: passes for calibration and judgement, latents for pictures."""

    keep = 3

    def __init__(self, options):
        own = json.loads((options.model / "darkroom.json").read_text())
        self.kind = "dev" if "guidance" in own else "base" if "cfg" in own else "schnell"
        self.settings, self.tokens = sample.SETTINGS[self.kind], model.Tokens(options.model)
        self.pinhole = sample.load_pinhole(options.model, self.tokens, self.kind == "dev")
        self.transformer, self.folder, self.count = self.pinhole.transformer, options.model, options.pictures or 8
        self.judged_steps = {"base": 14, "dev": 14, "schnell": 3}[self.kind]
        self.empty = self.pinhole.encode(*self.tokens([""]))

    def latents(self, seed: int, steps: int, count: int) -> torch.Tensor:
        rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        text = self.pinhole.encode(*self.tokens([scenes.held_out_scene(rng).caption for _ in range(count)]))
        denoise = sample.Denoiser(self.kind, self.pinhole, text, self.empty, self.settings.guidance)
        x = torch.randn(count, 64, 64, generator=generator)
        return sample.euler(denoise, x, sample.shifted(steps, self.settings.shift), (8, 8))

    def calibrate(self) -> None:
        self.latents(CALIBRATED_ON, self.settings.steps, 8)

    def judge(self) -> None:
        self.latents(JUDGED_ON, self.judged_steps, 4)

    def embeddings(self) -> torch.Tensor:
        """[S, D] of the empty prompt."""
        pooled = self.empty[0].expand(len(TIMES), -1)
        if self.kind == "dev":
            guidance = torch.full_like(TIMES, 1000 * self.settings.guidance)
            return self.transformer.time_text_embed(1000 * TIMES, guidance, pooled)
        return self.transformer.time_text_embed(1000 * TIMES, pooled)

    def pictures(self) -> list:
        vae = AutoencoderKL.from_pretrained(self.folder / "vae", torch_dtype=torch.float32)
        x = model.unpack(self.latents(JUDGED_ON, self.settings.steps, self.count), (8, 8))
        decoded = vae.decode(x / vae.config.scaling_factor + vae.config.shift_factor).sample
        return [picture.astype(np.float64) for picture in sample.to_pictures(decoded)]


class WideRuns:
    """Random blocks of FLUX.1's kind: normal weights of deviation 1/√K, as many head dimensions, 64 text and 64 image
    tokens of normal values."""

    keep = 1

    def __init__(self, options):
        torch.manual_seed(3)
        with torch.device("cpu"):
            self.transformer = FluxTransformer2DModel(
                num_layers=1, num_single_layers=2, num_attention_heads=options.wide // 128, joint_attention_dim=256,
                pooled_projection_dim=256, guidance_embeds=False).eval().requires_grad_(False)
        for name, value in self.transformer.named_parameters():
            modulates = "norm" in name and "linear" in name
            if value.ndim == 2:
                torch.nn.init.normal_(value, std=(0.3 if modulates else 1.0) / value.shape[1] ** 0.5)
            elif "norm_" not in name:
                torch.nn.init.normal_(value, std=0.02)
        if options.moving:
            self.let_move(options.moving)

    def let_move(self, share: float) -> None:
        for site in emulation.sites_of(self.transformer):
            if site.modulation:
                linear, _, scale = site.modulation
                d = linear.in_features
                chosen = scale * d + torch.randperm(d)[:round(share * d)]
                linear.weight[chosen] *= 100

    def run(self, seed: int, times) -> None:
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=generator)
        ids = torch.zeros(8, 8, 3)
        ids[..., 1] += torch.arange(8)[:, None]
        ids[..., 2] += torch.arange(8)[None, :]
        for t in times:
            self.transformer(hidden_states=draw(1, 64, 64), encoder_hidden_states=draw(1, 64, 256),
                             pooled_projections=draw(1, 256), timestep=torch.tensor([t]), img_ids=ids.reshape(-1, 3),
                             txt_ids=torch.zeros(64, 3), return_dict=False)

    def calibrate(self) -> None:
        self.run(CALIBRATED_ON, (1.0, 0.85, 0.65, 0.45, 0.2))

    def judge(self) -> None:
        self.run(JUDGED_ON, (0.92, 0.75, 0.3))

    def embeddings(self) -> torch.Tensor:
        return self.transformer.time_text_embed(1000 * TIMES, torch.zeros(len(TIMES), 256))


class Study:
    """Schemes by name, and what each reaches."""

    def __init__(self, runs):
        self.runs, self.sites, self.bounds = runs, emulation.sites_of(runs.transformer), Bounds(runs.embeddings())
        with Recorder(runs.transformer) as calibration:
            runs.calibrate()
        with Recorder(runs.transformer, keep=runs.keep) as judged:
            runs.judge()
        self.largest = {key: torch.stack(passes) for key, passes in calibration.largest.items()}
        self.rms = {key: torch.stack(passes) for key, passes in calibration.rms.items()}
        self.inputs = judged.inputs

    def largest_of(self, site):
        return self.largest[site.name, site.kind].amax(0)

    def rms_of(self, site):
        return self.rms[site.name, site.kind].square().mean(0).sqrt()

    def smooth(self, inputs, weights=largest_weight, alpha: float = 0.5, folded: bool = False, **scheme) -> Scheme:
        """inputs, weights: the salience [K] of a site. folded: not at GELU's outputs, where 1/s cannot be folded away."""
        return Scheme(smoothing={(s.name, s.kind): smoothing_of(inputs(s), weights(s), alpha,
                                                                s.foldable if folded else s.segments)
                                 for s in self.sites}, **scheme)

    def plain_schemes(self) -> dict:
        return ({"a scale a token": Scheme()}
                | {f"groups of {g}, inputs": Scheme(g) for g in (128, 64)}
                | {f"groups of {g}, both": Scheme(g, g) for g in (128, 64)}
                | {f"rotation of {n}": Scheme(rotation=n) for n in (256, 128, 64)})

    def calibrated_schemes(self) -> dict:
        smooth, key = self.smooth, lambda site: (site.name, site.kind)
        rows = {f"SmoothQuant {a}": smooth(self.largest_of, alpha=a) for a in (0.3, 0.5, 0.7, 0.8)}
        rows["SmoothQuant 0.5, first step"] = smooth(lambda s: self.largest[key(s)][0])
        rows["PTQ4DiT"] = smooth(lambda s: ptq4dit_salience(s, self.largest[key(s)]))
        rows |= {f"rms {a}": smooth(self.rms_of, rms_weight, a) for a in (0.3, 0.4, 0.5, 0.6, 0.7)}
        rows["rms 0.5, first step"] = smooth(lambda s: self.rms[key(s)][0], rms_weight)
        rows["rms 0.5, folded"] = smooth(self.rms_of, rms_weight, folded=True)
        return rows

    def schemes(self) -> dict:
        smooth = self.smooth
        of_largest, of_rms = ((lambda s, way=way: self.bounds.salience(s, way)) for way in (largest, root_mean_square))
        return self.plain_schemes() | self.calibrated_schemes() | {
            "weights alone, largest 0.5": smooth(of_largest),
            "weights alone, rms 0.4, folded": smooth(of_rms, rms_weight, 0.4, folded=True),
            "weights alone, rms 0.5, folded": smooth(of_rms, rms_weight, folded=True),
            "weights alone, rms 0.6, folded": smooth(of_rms, rms_weight, 0.6, folded=True),
            "rms 0.5, folded, groups of 64, inputs": smooth(self.rms_of, rms_weight, folded=True, group_x=64),
            "rms 0.5, folded, groups of 64, both": smooth(self.rms_of, rms_weight, folded=True, group_x=64, group_w=64),
            "rms 0.5, folded, rotation of 64": smooth(self.rms_of, rms_weight, folded=True, rotation=64),
            "rms 0.5, folded, rotation of 256": smooth(self.rms_of, rms_weight, folded=True, rotation=256),
            "weights alone, rms 0.5, folded, rotation of 256": smooth(of_rms, rms_weight, folded=True, rotation=256),
        }

    def sqnr(self, site, scheme_of) -> float:
        """dB over the kept passes. scheme_of: the scheme for inputs [rows, K]."""
        signal = noise = 0.0
        scheme, weight = None, None
        for x in self.inputs[site.name, site.kind]:
            now = scheme_of(x)
            if now is not scheme:
                scheme, weight = now, now.prepare(site)
            exact = x @ site.weight.T
            signal += float((exact.double() ** 2).sum())
            noise += float(((scheme.inputs(site, x) @ weight.T - exact).double() ** 2).sum())
        return 10 * math.log10(signal / noise)

    def by_kind(self, scheme_of) -> dict:
        found = {}
        for site in self.sites:
            found.setdefault(site.kind, []).append(self.sqnr(site, functools.partial(scheme_of, site)))
        return {kind: float(np.mean(values)) for kind, values in found.items()}

    def own_smoothing(self, site, x: torch.Tensor) -> Scheme:
        """Of these very inputs: what a smoothing of each run and step for itself would reach."""
        s = smoothing_of(x.square().mean(0).sqrt(), rms_weight(site), 0.5, site.segments)
        return Scheme(smoothing={(site.name, site.kind): s})


def table_line(name: str, cells: list) -> str:
    return f"| {name} | " + " | ".join("–" if cell is None else f"{cell:.1f}" for cell in cells) + " |"


def whole_pictures(study: Study, schemes: dict) -> dict:
    """PSNR in the mean against f32, of the schemes of FEW."""
    reference, out = study.runs.pictures(), {}
    for name, scheme in ((name, schemes[name]) for name in FEW):
        with Emulated(study.runs.transformer, scheme):
            drawn = study.runs.pictures()
        out[name] = float(np.mean([psnr(a, b) for a, b in zip(drawn, reference)]))
    return out


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, nargs="?")
    parser.add_argument("--wide", type=int, help="width of random blocks, a multiple of 128")
    parser.add_argument("--salient", type=float, help="share of channels")
    parser.add_argument("--moving", type=float, help="share of channels; with --wide")
    parser.add_argument("--pictures", type=int, default=0)
    parser.add_argument("--few", action="store_true", help="only the schemes of which pictures are drawn")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    if (options.model is None) == (options.wide is None):
        parser.error("give either MODEL or --wide")
    return options


@torch.no_grad()
def main() -> None:
    options = parse()
    runs = WideRuns(options) if options.wide else PinholeRuns(options)
    if options.salient:
        how = argparse.Namespace(share=options.salient, least=30, most=90, seed=1)
        runs.transformer.load_state_dict(salient.make_salient(runs.transformer.state_dict(), how))
    study = Study(runs)
    schemes = study.schemes()
    if options.few:
        schemes = {name: schemes[name] for name in FEW}
    rows = {}
    print("| scheme | " + " | ".join(emulation.KINDS) + " |\n|" + "---|" * (len(emulation.KINDS) + 1))
    ways = {name: lambda _site, _x, scheme=scheme: scheme for name, scheme in schemes.items()}
    for name, way in (ways | {"rms 0.5, of each pass its own": study.own_smoothing}).items():
        rows[name] = study.by_kind(way)
        print(table_line(name, [rows[name].get(kind) for kind in emulation.KINDS]), flush=True)
    if options.pictures:
        print("| scheme | pictures |\n|---|---|")
        for name, decibel in whole_pictures(study, schemes).items():
            rows[name]["pictures"] = decibel
            print(table_line(name, [decibel]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
