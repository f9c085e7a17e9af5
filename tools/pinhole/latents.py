"""The training set of the transformer: scenes drawn and encoded once, with their captions.

    python tools/pinhole/latents.py --vae RUN --tokenizers FOLDER --count 24000 --out latents.pt

Writes the tokenizers into FOLDER first if they are not there. The file holds, per picture size, packed latents (f16,
shifted and scaled to deviation 1), caption ids, what lies on every latent token (kind and colour, as indices into
scenes.SHAPES and scenes.COLOURS, and the token's place in that shape), and once the shift and scale. Held-out captions
do not occur. Runs in as many processes as there are cores; the result does not depend on their number. Needs about
250 MB of memory and disk.
"""

import argparse
import multiprocessing
import pathlib

import numpy as np
import torch

import model
import scenes
import vae as autoencoder

SIZES = {(128, 128): 0.6, (192, 128): 0.2, (128, 192): 0.2}  # width, height: share


CHUNK, PATCH = 200, 16


def labels_of(scene: scenes.Scene, size: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per latent token: kind (len(SHAPES): the background), colour, and where in the shape it lies [2]."""
    owner, centre = scenes.cover_of(scene, *size, PATCH)
    kinds = [scenes.SHAPES.index(shape.kind) for shape in scene.shapes] + [len(scenes.SHAPES)]
    names = list(scenes.COLOURS)
    colours = [names.index(colour) for colour in [shape.colour for shape in scene.shapes] + [scene.background]]
    flat = owner.reshape(-1)
    return np.array(kinds, np.uint8)[flat], np.array(colours, np.uint8)[flat], centre.reshape(-1, 2).astype(np.float16)


@torch.no_grad()
def encode_chunk(job: tuple) -> tuple:
    """CHUNK scenes of one size: latents, labels, captions."""
    vae_run, seed, size, index = job
    torch.set_num_threads(1)
    vae, rng = autoencoder.load_vae(vae_run), np.random.default_rng([seed, *size, index])
    latents, labels, captions = [], [], []
    for _ in range(CHUNK // 20):
        drawn = [scenes.training_scene(rng) for _ in range(20)]
        pictures = autoencoder.to_tensor([scenes.render(scene, *size) for scene in drawn])
        latents.append(model.pack(vae.encoder(pictures)[:, :16]).half().numpy())
        labels += [labels_of(scene, size) for scene in drawn]
        captions += [model.vary(rng, scene.caption) for scene in drawn]
    return np.concatenate(latents), [np.stack(part) for part in zip(*labels)], captions


def encode_size(pool, tokens, options, size: tuple, count: int) -> dict:
    jobs = [(options.vae, options.seed, size, index) for index in range(count // CHUNK)]
    latents, labels, captions = zip(*pool.map(encode_chunk, jobs))
    kind, colour, place = (torch.from_numpy(np.concatenate(part)) for part in zip(*labels))
    clip_ids, t5_ids = tokens([caption for part in captions for caption in part])
    print(f"{size[0]}x{size[1]}: {len(t5_ids)} pictures", flush=True)
    return {"latents": torch.from_numpy(np.concatenate(latents)), "clip": clip_ids.short(), "t5": t5_ids.short(),
            "kind": kind, "colour": colour, "place": place, "grid": (size[1] // PATCH, size[0] // PATCH)}


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
    tokens = model.Tokens(options.tokenizers)
    with multiprocessing.get_context("spawn").Pool() as pool:
        parts = [encode_size(pool, tokens, options, size, round(options.count * share)) for size, share in SIZES.items()]
    everything = torch.cat([part["latents"].float().flatten() for part in parts])
    shift, scale = everything.mean().item(), 1.0 / everything.std().item()
    for part in parts:
        part["latents"] = ((part["latents"].float() - shift) * scale).half()
    clip, t5 = tokens([""])
    torch.save({"parts": parts, "shift": shift, "scale": scale, "empty": (clip, t5)}, options.out)
    print(f"{options.out}: {sum(len(part['t5']) for part in parts)} pictures, shift {shift:.4f}, scale {scale:.4f}")


if __name__ == "__main__":
    main()
