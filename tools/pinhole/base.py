"""Trains Pinhole's base model: both text encoders and the transformer, from scratch, by flow matching.

    python tools/pinhole/base.py --run RUN --data latents.pt --tokenizers FOLDER --steps 8000     train, or go on

x_t = (1 - t) x + t noise; the target is noise - x; t is logit-normal, wide and toward noise, where composition is
decided and where the shifted schedule spends its steps. One caption in ten is empty, so that classifier-free guidance has its other half. Learning rate: constant,
then linear to nothing over the last 40 %, which is where much of the gain comes. Matrices of the transformer's blocks
are trained with Muon, everything else with AdamW.
"""

import argparse
import pathlib

import torch

import model
from run import Run, hold_then_fall, step_random

TOKENS_PER_BATCH = 64 * 64
EMPTY_SHARE = 0.1
TIME_MEAN, TIME_SPREAD = 0.6, 1.2


def sample_batch(data: dict, rng, generator):
    """One picture size a batch: packed latents, caption ids (some empty), grid."""
    parts = data["parts"]
    sizes = [len(part["t5"]) for part in parts]
    part = parts[rng.choice(len(parts), p=[size / sum(sizes) for size in sizes])]
    count = TOKENS_PER_BATCH // (part["grid"][0] * part["grid"][1])
    rows = torch.from_numpy(rng.choice(len(part["t5"]), count, replace=False))
    clip, t5 = part["clip"][rows].long(), part["t5"][rows].long()
    empty = torch.rand(count, generator=generator) < EMPTY_SHARE
    clip[empty], t5[empty] = data["empty"][0], data["empty"][1]
    return part["latents"][rows].float(), clip, t5, part["grid"]


def noisy(x, generator):
    """t [N], x_t and the noise of a batch."""
    t = torch.sigmoid(TIME_SPREAD * torch.randn(len(x), generator=generator) + TIME_MEAN)
    noise = torch.randn(x.shape, generator=generator)
    at = t[:, None, None]
    return t, (1 - at) * x + at * noise, noise


def optimisers_for(pinhole, rate: float) -> list:
    matrices, others = [], []
    for name, parameter in pinhole.named_parameters():
        inner = "transformer_blocks" in name and parameter.ndim == 2
        (matrices if inner else others).append(parameter)
    return [Muon(matrices, rate), torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)]


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal by Newton-Schulz (Jordan et al. 2024), in f32; torch.optim.Muon computes it in bf16,
    which processors without bf16 arithmetic do ten times slower. Steps have the size of AdamW's: 0.2 sqrt(max side)."""

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @staticmethod
    def orthogonal(g: torch.Tensor) -> torch.Tensor:
        wide = g if g.shape[0] <= g.shape[1] else g.T
        x = wide / (wide.norm() + 1e-7)
        for _ in range(5):
            square = x @ x.T
            x = 3.4445 * x + (-4.7750 * square + 2.0315 * (square @ square)) @ x
        return x if g.shape[0] <= g.shape[1] else x.T

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                momentum = state.setdefault("momentum", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                direction = self.orthogonal(parameter.grad.lerp(momentum, group["momentum"]))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(direction, alpha=-group["lr"] * 0.2 * max(parameter.shape) ** 0.5)


def train(options) -> None:
    data = torch.load(options.data, weights_only=True)
    torch.manual_seed(options.seed)
    pinhole = model.Pinhole(model.Tokens(options.tokenizers))
    pinhole.train()
    run = Run(options.run, pinhole, optimisers_for(pinhole, options.rate), ema_decay=0.999)
    while run.step < options.steps:
        rng, generator = step_random(options.seed, run.step)
        x, clip, t5, grid = sample_batch(data, rng, generator)
        t, at, noise = noisy(x, generator)
        loss = (pinhole.velocity(pinhole.encode(clip, t5), at, t, grid) - (noise - x)).square().mean()
        run.update(loss, hold_then_fall(run.step, options.steps, options.fall, warmup=200))
        run.log({"loss": loss.detach()}, every=20)
        if run.step % 200 == 0 or run.step == options.steps:
            run.save()
            run.draw_curves()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizers", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--fall", type=float, default=0.4, help="share of the steps in which the rate falls")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=3)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
