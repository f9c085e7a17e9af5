"""Pictures that the base drew, and the scenes that they should have been: training data against crooked outlines.

    python tools/pinhole/straighten.py --run RUN --vae RUN --tokenizers FOLDER --data latents.pt --grade build/grade --out straight.pt

The flow is learned on noised scenes, whose outlines are all straight; where sampling has led to a crooked one, the
model has never been, and keeps it. So it draws captions of the training set, the grader says what it sees in them
(kind, colour, centre, radius of each shape), that scene is drawn and encoded, and the latents on the way, at noise
levels below LAST_LEVEL, are kept with it: base.py --straight teaches the way from the one to the other. Above that level
guidance decides what is drawn, and a target would teach it a second time. (As DAgger, Ross et al. 2011, with the
renderer as the expert.) Pictures that do not keep their caption, or that are too crooked to be read, are left out.
"""

import argparse
import multiprocessing
import pathlib

import numpy as np
import torch

import latents
import model
import sample
import scenes
import vae as autoencoder

CHUNK = 50
LAST_LEVEL = 0.82
LARGEST_ERROR = 0.08  # of an outline, in radii


def kept_levels() -> list:
    """Every second step of the base's schedule below LAST_LEVEL, as indices and levels."""
    levels = sample.shifted(sample.SETTINGS["base"].steps, sample.SETTINGS["base"].shift)
    low = [(index, level) for index, level in enumerate(levels[:-1]) if level < LAST_LEVEL]
    return low[::2]


def seen_scene(caption: str, picture: dict) -> scenes.Scene | None:
    """What the grader saw, or None if that is not the caption's scene or too crooked."""
    if not picture["holds"] or any(shape["outline_error"] > LARGEST_ERROR for shape in picture["shapes"]):
        return None
    shapes = tuple(scenes.Shape(s["kind"], s["colour"], s["x"], s["y"], s["radius"]) for s in picture["shapes"])
    return scenes.Scene(caption, picture["background"]["colour"], shapes)


@torch.no_grad()
def draw_chunk(job: tuple) -> dict:
    """CHUNK pictures of one size, less those left out: states [N, levels, tokens, 64], targets, captions."""
    options, seed, size, index = job
    torch.set_num_threads(1)
    rng, generator = np.random.default_rng([seed, *size, index]), torch.Generator().manual_seed(seed * 1000 + size[0] + index)
    tokens = model.Tokens(options.tokenizers)
    pinhole, vae = sample.load_pinhole(options.run, tokens), autoencoder.load_vae(options.vae)
    data = torch.load(options.data, weights_only=True, mmap=True)
    captions = [model.vary(rng, scenes.training_scene(rng).caption) for _ in range(CHUNK)]
    settings, grid = sample.SETTINGS["base"], (size[1] // latents.PATCH, size[0] // latents.PATCH)
    denoise = sample.Denoiser("base", pinhole, pinhole.encode(*tokens(captions)), pinhole.encode(*tokens([""])), settings.guidance)
    levels, kept = sample.shifted(settings.steps, settings.shift), dict(kept_levels())
    x, states = torch.randn(CHUNK, grid[0] * grid[1], 64, generator=generator), []
    for i in range(settings.steps):
        if i in kept:
            states.append(x.half())
        x = sample.euler(denoise, x, levels[i:i + 2], grid)
    pictures = sample.to_pictures(vae.decoder(model.unpack(x / data["scale"] + data["shift"], grid)))
    graded = sample.grade(options.grade, captions, pictures)["pictures"]
    seen = [seen_scene(caption, graded[name]) for caption, name in zip(captions, sorted(graded))]
    rows = [row for row, scene in enumerate(seen) if scene]
    straight = autoencoder.to_tensor([scenes.render(seen[row], *size) for row in rows])
    target = (model.pack(vae.encoder(straight)[:, :16]) - data["shift"]) * data["scale"]
    return {"states": torch.stack(states, 1)[rows].numpy(), "target": target.half().numpy(), "captions": [captions[row] for row in rows]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "vae", "tokenizers", "data", "grade", "out"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=4000, help="pictures, as many of each size")
    parser.add_argument("--seed", type=int, default=6)
    options = parser.parse_args()
    tokens, parts = model.Tokens(options.tokenizers), []
    with multiprocessing.get_context("spawn").Pool() as pool:
        for size in latents.SIZES:
            jobs = [(options, options.seed, size, index) for index in range(options.count // len(latents.SIZES) // CHUNK)]
            chunks = pool.map(draw_chunk, jobs, chunksize=1)
            clip, t5 = tokens([caption for chunk in chunks for caption in chunk["captions"]])
            states, target = (torch.from_numpy(np.concatenate([chunk[name] for chunk in chunks])) for name in ("states", "target"))
            parts.append({"states": states, "target": target, "clip": clip.short(), "t5": t5.short(),
                          "grid": (size[1] // latents.PATCH, size[0] // latents.PATCH)})
            print(f"{size[0]}x{size[1]}: {len(t5)} of {len(jobs) * CHUNK} pictures", flush=True)
    torch.save({"parts": parts, "levels": [level for _, level in kept_levels()]}, options.out)


if __name__ == "__main__":
    main()
