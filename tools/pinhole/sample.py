"""Pictures from a run, for looking at while it trains: a sheet, and the grader's word if the program is given.

    python tools/pinhole/sample.py --run RUN --vae RUN --tokenizers FOLDER --data latents.pt --sheet sheet.png
        [--kind base|dev|schnell] [--count 24] [--steps N] [--guidance G] [--size 128x128] [--grade build/grade]

The figures that count are drawn by darkroom from the exported model; these here agree with them but for rounding.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

import model
import scenes
import vae as autoencoder

SEED = 880_000


class Settings(NamedTuple):
    """How a kind of model is drawn with, unless told otherwise. shift: at the native 64 tokens. guidance: the scale of
    true CFG, or what dev is told; schnell has none, and was distilled from dev at this one."""

    steps: int
    shift: float
    guidance: float


SETTINGS = {"base": Settings(20, 3.0, 2.0), "dev": Settings(20, 3.0, 2.5), "schnell": Settings(4, 2.0, 2.5)}


def shifted(steps: int, shift: float) -> list:
    """Noise levels of FlowMatchEulerDiscreteScheduler with a static shift, the last one 0."""
    plain = [1.0 - i * (1.0 - 1.0 / steps) / max(1, steps - 1) for i in range(steps)]
    return [shift * s / (1 + (shift - 1) * s) for s in plain] + [0.0]


class Denoiser:
    """The velocity of a caption as a kind of model gives it. base: two passes, `guidance` is the CFG scale;
    dev: one pass that is told the guidance; schnell: one pass, guidance has no meaning."""

    def __init__(self, kind: str, pinhole: model.Pinhole, text, empty, guidance: float):
        self.kind, self.pinhole, self.text, self.guidance = kind, pinhole, text, guidance
        count = text[0].shape[0]
        self.empty = tuple(part.expand(count, *part.shape[1:]) for part in empty)

    def __call__(self, x, t: float, grid):
        times = torch.full((x.shape[0],), t)
        if self.kind == "dev":
            return self.pinhole.velocity(self.text, x, times, grid, torch.full_like(times, self.guidance))
        if self.kind == "schnell" or self.guidance == 1.0:
            return self.pinhole.velocity(self.text, x, times, grid)
        with_text = self.pinhole.velocity(self.text, x, times, grid)
        without = self.pinhole.velocity(self.empty, x, times, grid)
        return without + self.guidance * (with_text - without)


def euler(denoise, x, sigmas: list, grid):
    for now, after in zip(sigmas, sigmas[1:]):
        x = x + (after - now) * denoise(x, now, grid)
    return x


def load_pinhole(run: pathlib.Path, tokens: model.Tokens, guidance: bool = False) -> model.Pinhole:
    """The averaged weights of a run, or those of an exported folder."""
    pinhole = model.Pinhole(tokens, guidance)
    if not (run / "checkpoint.pt").exists():
        pinhole.load_exported(run)
        return pinhole.eval().requires_grad_(False)
    averaged = torch.load(run / "checkpoint.pt", weights_only=True)["ema"]
    pinhole.load_state_dict({name: value for name, value in averaged.items() if not name.startswith("label")})
    return pinhole.eval().requires_grad_(False)


def to_pictures(decoded: torch.Tensor) -> list:
    """f32 [N, 3, H, W] in [-1, 1] to uint8 [H, W, 3]."""
    return list(((decoded.permute(0, 2, 3, 1).clamp(-1, 1) + 1) * 127.5).round().numpy().astype(np.uint8))


@torch.no_grad()
def draw(options, captions: list, size: tuple) -> list:
    """uint8 pictures [H, W, 3], one a caption."""
    tokens = model.Tokens(options.tokenizers)
    pinhole = load_pinhole(options.run, tokens, options.kind == "dev")
    decoder = autoencoder.load_vae(options.vae).decoder
    data = torch.load(options.data, weights_only=True, mmap=True)
    grid, pictures = (size[1] // 16, size[0] // 16), []
    empty = pinhole.encode(*tokens([""]))
    generator = torch.Generator().manual_seed(SEED)
    for start in range(0, len(captions), 32):
        text = pinhole.encode(*tokens(captions[start:start + 32]))
        x = torch.randn(text[0].shape[0], grid[0] * grid[1], 64, generator=generator)
        denoise = Denoiser(options.kind, pinhole, text, empty, options.guidance)
        x = euler(denoise, x, shifted(options.steps, options.shift), grid)
        pictures += to_pictures(decoder(model.unpack(x / data["scale"] + data["shift"], grid)))
    return pictures


def grade(program: pathlib.Path, captions: list, pictures: list) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{index:04}.png" for index in range(len(pictures))]
        for name, picture in zip(names, pictures):
            Image.fromarray(picture).save(f"{folder}/{name}")
        listing = pathlib.Path(folder) / "captions.json"
        listing.write_text(json.dumps(dict(zip(names, captions))))
        answer = subprocess.run([program, "--list", listing, folder], check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "vae", "tokenizers", "data", "sheet"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--kind", choices=("base", "dev", "schnell"), default="base")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--steps", type=int, help="this and the next two: default SETTINGS of the kind")
    parser.add_argument("--shift", type=float)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--grade", type=pathlib.Path, help="the grader's program")
    options = parser.parse_args()
    for name, value in SETTINGS[options.kind]._asdict().items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    rng, size = np.random.default_rng(SEED), tuple(map(int, options.size.split("x")))
    captions = [scenes.held_out_scene(rng).caption for _ in range(options.count)]
    pictures = draw(options, captions, size)
    shown = pictures[:24]
    rows = [np.concatenate(shown[i:i + 6], axis=1) for i in range(0, len(shown) // 6 * 6, 6)]
    Image.fromarray(np.concatenate(rows)).save(options.sheet)
    for index, caption in enumerate(captions[:24]):
        print(index, caption)
    if options.grade:
        print(json.dumps(grade(options.grade, captions, pictures)["summary"], indent=1))


if __name__ == "__main__":
    main()
