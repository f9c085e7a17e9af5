"""Trains Pinhole's autoencoder: diffusers' AutoencoderKL, 16 latent channels, factor 8.

    python tools/pinhole/vae.py --run RUN --steps 4000            train, or go on
    python tools/pinhole/vae.py --run RUN --test 200              PSNR on held-out scenes, whole pictures
    python tools/pinhole/vae.py --run RUN --steps 300 --decoder OLD    the decoder of OLD further; latents stay as they are

It is an autoencoder with latent noise of a fixed size instead of a sampled posterior: 2 × 16 moments are still there,
as the class wants them, with a constant log variance. Loss: L1 of the pixels, of their gradients, and a little squared
error, which PSNR is made of. Most steps see 64 × 64 crops around the edges of shapes, where all the error is; the last
quarter sees whole pictures, because group norms take their statistics over what they see.
With --decoder half of the pictures have grey in them, and the latents more noise: on grey every activation is small, group
norms enlarge what is left, and shapes had halos.
Between the two, every latent channel is scaled to deviation 1 (folded into the last layer of the encoder and the first
of the decoder), so that the one scaling factor of the config fits all channels.
"""

import argparse
import math
import pathlib

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

import scenes
from run import Run, cosine, step_random

CHANNELS, GROUPS = (16, 32, 64, 64), 2  # never fewer than 8 channels a group: flat colours must pass GroupNorm
CROP, CROP_BATCH, WHOLE_BATCH = 64, 16, 4
WHOLE_SIZES = ((128, 128), (128, 128), (192, 128), (128, 192))
WHOLE_SHARE = 0.25
NOISE, DECODER_NOISE = 0.1, 0.25
SMALL_RADIUS = 0.19
HELD_OUT_SEED = 990_000


def make_vae() -> AutoencoderKL:
    stages = len(CHANNELS)
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=16, block_out_channels=CHANNELS, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * stages, up_block_types=("UpDecoderBlock2D",) * stages,
        norm_num_groups=GROUPS, sample_size=128, use_quant_conv=False, use_post_quant_conv=False,
        scaling_factor=1.0, shift_factor=0.0)


def to_tensor(pictures: list) -> torch.Tensor:
    """uint8 pictures to f32 [N, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()


def crop_picture(rng) -> np.ndarray:
    """A crop of a picture at 128², around a point near the edge of one of its shapes."""
    scene = scenes.random_scene(rng)
    shape = scene.shapes[rng.integers(len(scene.shapes))]
    angle, reach = rng.uniform(0, 2 * np.pi), shape.radius * rng.uniform(0.3, 1.2)
    x, y = 128 * (shape.x + reach * np.cos(angle)), 128 * (shape.y + reach * np.sin(angle))
    left, top = (int(np.clip(round(c - CROP / 2), 0, 128 - CROP)) for c in (x, y))
    return scenes.render(scene, 128, 128)[top:top + CROP, left:left + CROP]


def batch_of(rng, whole: bool) -> torch.Tensor:
    if not whole:
        return to_tensor([crop_picture(rng) for _ in range(CROP_BATCH)])
    width, height = WHOLE_SIZES[rng.integers(len(WHOLE_SIZES))]
    return to_tensor([scenes.render(scenes.random_scene(rng), width, height) for _ in range(WHOLE_BATCH)])


def gradient_loss(difference: torch.Tensor) -> torch.Tensor:
    return (difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()) / 2


def losses(vae, pictures: torch.Tensor, generator, noise: float = NOISE) -> tuple[torch.Tensor, dict]:
    mean = vae.encoder(pictures)[:, :16]
    difference = vae.decoder(mean + noise * torch.randn(mean.shape, generator=generator)) - pictures
    l1, square = difference.abs().mean(), difference.square().mean()
    loss = l1 + 0.5 * gradient_loss(difference) + 0.5 * square + 1e-4 * mean.square().mean()
    return loss, {"loss": loss.detach(), "psnr": 10 * math.log10(4 / square.item()),
                  "latent_std": mean.detach().std()}


def grey_scene(rng) -> scenes.Scene:
    """Has grey in it; every second one is on grey with small shapes, where halos showed most."""
    small_on_grey = rng.random() < 0.5
    while True:
        scene = scenes.random_scene(rng)
        if small_on_grey:
            found = scene.background == "grey" and max(shape.radius for shape in scene.shapes) < SMALL_RADIUS
        else:
            found = "grey" in [scene.background, *(shape.colour for shape in scene.shapes)]
        if found:
            return scene


def train_decoder(options) -> None:
    vae = load_vae(options.decoder)
    vae.decoder.requires_grad_(True).train()
    optimiser = torch.optim.AdamW(vae.decoder.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=1e-3)
    run = Run(options.run, vae, [optimiser], ema_decay=0.99)
    while run.step < options.steps:
        rng, generator = step_random(options.seed, run.step)
        width, height = WHOLE_SIZES[rng.integers(len(WHOLE_SIZES))]
        drawn = [(grey_scene if i % 2 else scenes.random_scene)(rng) for i in range(WHOLE_BATCH)]
        loss, values = losses(vae, to_tensor([scenes.render(scene, width, height) for scene in drawn]), generator,
                              noise=DECODER_NOISE * rng.random())
        run.update(loss, cosine(run.step, options.steps))
        run.log(values, every=20)
        if run.step % 100 == 0 or run.step == options.steps:
            run.save()
            run.draw_curves()


@torch.no_grad()
def whiten(vae: AutoencoderKL) -> None:
    """Scales every latent channel to mean 0 and deviation 1; the picture stays the same but for the borders."""
    rng = np.random.default_rng(HELD_OUT_SEED - 1)
    latents = torch.cat([vae.encoder(batch_of(rng, True))[:, :16].flatten(2).transpose(1, 2).reshape(-1, 16)
                         for _ in range(32)])
    mean, std = latents.mean(0), latents.std(0)
    out, back = vae.encoder.conv_out, vae.decoder.conv_in
    out.weight[:16] /= std[:, None, None, None]
    out.bias[:16] = (out.bias[:16] - mean) / std
    back.bias += (back.weight.sum((2, 3)) * mean).sum(1)
    back.weight *= std[None, :, None, None]


def train(options, vae: AutoencoderKL) -> None:
    optimiser = torch.optim.AdamW(vae.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=1e-3)
    run = Run(options.run, vae, [optimiser], ema_decay=0.998)
    switch = round(options.steps * (1 - WHOLE_SHARE))
    vae.train()
    while run.step < options.steps:
        if run.step == switch:
            whiten(vae)
            run.ema = {name: value.detach().clone() for name, value in vae.state_dict().items()}
        rng, generator = step_random(options.seed, run.step)
        loss, values = losses(vae, batch_of(rng, run.step >= switch), generator)
        run.update(loss, cosine(run.step, options.steps))
        run.log(values, every=20)
        if run.step % 200 == 0 or run.step == options.steps:
            run.save()
            run.draw_curves()
    vae.load_state_dict(run.ema)


@torch.no_grad()
def test(vae: AutoencoderKL, count: int, sheet: pathlib.Path | None) -> float:
    """Mean PSNR over held-out 128² scenes, in dB of uint8 pixels."""
    from PIL import Image

    rng, values, rows = np.random.default_rng(HELD_OUT_SEED), [], []
    for index in range(count):
        picture = scenes.render(scenes.random_scene(rng), 128, 128)
        decoded = vae.decoder(vae.encoder(to_tensor([picture]))[:, :16])[0].permute(1, 2, 0)
        decoded = ((decoded.clamp(-1, 1) + 1) * 127.5).round().numpy().astype(np.uint8)
        values.append(10 * math.log10(255**2 / max(1e-9, np.mean((picture.astype(float) - decoded) ** 2))))
        if index < 12:
            rows.append(np.concatenate([picture, decoded]))
    if sheet:
        Image.fromarray(np.concatenate([np.concatenate(rows[i:i + 6], 1) for i in (0, 6)])).save(sheet)
    print(f"PSNR over {count} held-out scenes: mean {np.mean(values):.2f} dB, lowest {np.min(values):.2f} dB")
    return float(np.mean(values))


def load_vae(run: pathlib.Path) -> AutoencoderKL:
    """For evaluation: the averaged weights of a run, or those of an exported vae/ folder."""
    vae, exported = make_vae(), run / "diffusion_pytorch_model.safetensors"
    vae.load_state_dict(load_file(exported) if exported.exists() else
                        torch.load(run / "checkpoint.pt", weights_only=True)["ema"])
    return vae.eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=pathlib.Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--decoder", type=pathlib.Path, help="run or exported folder whose decoder is trained further")
    parser.add_argument("--test", type=int, default=0, help="only measure, on that many held-out scenes")
    parser.add_argument("--sheet", type=pathlib.Path, help="PNG of scenes above their reconstructions")
    options = parser.parse_args()
    if not options.test:
        torch.manual_seed(options.seed)
        if options.decoder:
            train_decoder(options)
        else:
            train(options, make_vae())
    test(load_vae(options.run), options.test or 100, options.sheet or options.run / "reconstructions.png")


if __name__ == "__main__":
    main()
