"""Fits the map from latents to RGB that previews are drawn with, and writes it into darkroom.json.

    python tools/pinhole/preview_map.py --model assets/pinhole [--scenes 300]

Least squares over scenes at 128x128 that no training step sees: the mean colour of each 8x8 square, in [-1, 1], against
the latent pixel that the encoder makes of it, shifted and scaled as the sampler has it. The map goes into MODEL and the
models inside it that share its VAE.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import torch

import scenes
import vae as autoencoder

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "fixtures"))
from small_tokenizers import write_json  # noqa: E402

SEED, BATCH, DIGITS = 970_000, 20, 4


@torch.no_grad()
def pairs(vae, shift: float, scale: float, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Latent pixels [N, 16] and the colours of their squares [N, 3]."""
    rng, latents, colours = np.random.default_rng(seed), [], []
    for begin in range(0, count, BATCH):
        drawn = [scenes.held_out_scene(rng) for _ in range(min(BATCH, count - begin))]
        pictures = autoencoder.to_tensor([scenes.render(scene, 128, 128) for scene in drawn])
        latents.append((vae.encoder(pictures)[:, :16] - shift) * scale)
        colours.append(torch.nn.functional.avg_pool2d(pictures, 8))
    return tuple(torch.cat(part).permute(0, 2, 3, 1).flatten(0, 2).double().numpy() for part in (latents, colours))


def r_squared(preview: dict, latents: np.ndarray, colours: np.ndarray) -> float:
    errors = latents @ np.array(preview["rgb"]) + np.array(preview["bias"]) - colours
    return float(1 - np.square(errors).sum() / np.square(colours - colours.mean(0)).sum())


def fit(vae, shift: float, scale: float, count: int = 300) -> dict:
    """What "preview" in darkroom.json is. Prints R² of the fit, and of as many other scenes."""
    latents, colours = pairs(vae, shift, scale, count, SEED)
    solution, *_ = np.linalg.lstsq(np.column_stack([latents, np.ones(len(latents))]), colours, rcond=None)
    rows = [[round(float(value), DIGITS) for value in row] for row in solution]
    preview = {"rgb": rows[:-1], "bias": rows[-1]}
    print(f"preview: R² {r_squared(preview, latents, colours):.4f} over {count} scenes, "
          f"{r_squared(preview, *pairs(vae, shift, scale, count, SEED + 1)):.4f} over as many others")
    return preview


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="exported folder")
    parser.add_argument("--scenes", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = json.loads((options.model / "vae/config.json").read_text())
    preview = fit(autoencoder.load_vae(options.model / "vae"), config["shift_factor"], config["scaling_factor"],
                  options.scenes)
    for path in sorted(options.model.glob("**/darkroom.json")):
        write_json(path, json.loads(path.read_text()) | {"preview": preview})


if __name__ == "__main__":
    main()
