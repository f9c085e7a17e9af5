"""The training set of the transformer: scenes drawn and encoded once, with their captions.

    python tools/pinhole/latents.py --vae RUN --tokenizers FOLDER --count 24000 --out latents.pt

Writes the tokenizers into FOLDER first if they are not there. The file holds, per picture size, packed latents (f16,
shifted and scaled to deviation 1), caption ids, and once the shift and scale. Needs about 200 MB of memory and disk.
"""

import argparse
import pathlib

import numpy as np
import torch

import model
import scenes
import vae as autoencoder

SIZES = {(128, 128): 0.6, (192, 128): 0.2, (128, 192): 0.2}  # width, height: share


@torch.no_grad()
def encode_size(vae, tokens, rng, size: tuple, count: int) -> dict:
    latents, captions = [], []
    while len(captions) < count:
        drawn = [scenes.random_scene(rng) for _ in range(32)]
        pictures = autoencoder.to_tensor([scenes.render(scene, *size) for scene in drawn])
        latents.append(model.pack(vae.encoder(pictures)[:, :16]).half())
        captions += [model.vary(rng, scene.caption) for scene in drawn]
        if len(captions) % 3200 == 0:
            print(f"{size[0]}x{size[1]}: {len(captions)} of {count}", flush=True)
    clip_ids, t5_ids = tokens(captions)
    return {"latents": torch.cat(latents), "clip": clip_ids.short(), "t5": t5_ids.short(),
            "grid": (size[1] // 16, size[0] // 16)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=pathlib.Path, required=True, help="run folder of vae.py")
    parser.add_argument("--tokenizers", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=24000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    if not (options.tokenizers / "tokenizer").exists():
        model.write_tokenizers(options.tokenizers)
    vae, tokens = autoencoder.load_vae(options.vae), model.Tokens(options.tokenizers)
    rng = np.random.default_rng(options.seed)
    parts = [encode_size(vae, tokens, rng, size, round(options.count * share)) for size, share in SIZES.items()]
    everything = torch.cat([part["latents"].float().flatten() for part in parts])
    shift, scale = everything.mean().item(), 1.0 / everything.std().item()
    for part in parts:
        part["latents"] = ((part["latents"].float() - shift) * scale).half()
    clip, t5 = tokens([""])
    torch.save({"parts": parts, "shift": shift, "scale": scale, "empty": (clip, t5)}, options.out)
    print(f"{options.out}: {sum(len(part['t5']) for part in parts)} pictures, shift {shift:.4f}, scale {scale:.4f}")


if __name__ == "__main__":
    main()
