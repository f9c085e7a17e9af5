"""Distils the base model into Pinhole's other two transformers; the text encoders stay the base's.

    python tools/pinhole/distill.py dev     --run RUN --teacher BASE_RUN --data latents.pt --tokenizers FOLDER --steps 1500
    python tools/pinhole/distill.py schnell --run RUN --teacher DEV_RUN  --data latents.pt --tokenizers FOLDER --steps 1500

dev      learns, told a guidance scale g from 1 to 4, what the base gives in two passes: u + g (c - u) (Meng et al. 2023).
         Only what the guidance can speak through is trained (model.is_own_of_dev); the rest is the base's, and the same
         file in the box.
schnell  learns to cross each of the four intervals of its schedule in one step: from the interval's start dev walks to
         its end in several steps, and the straight line between is the target (piecewise as in PeRFlow, Yan et al.
         2024). Half of the starts are noised pictures; the others are where the student's own steps from noise have led
         it, so that it learns to mend its own mistakes (as DAgger, Ross et al. 2011). It starts as dev at one
         guidance, folded into the biases, since it has no such input.
"""

import argparse
import pathlib

import torch

import model
import sample
from base import load_straight, noisy, optimisers_for, sample_batch, sample_straight
from run import Run, hold_then_fall, own_share, start_processes, step_random

TOKENS_PER_BATCH = 32 * 64
GUIDANCE_RANGE, NEAR_NOISE = (1.0, 4.0), 0.5  # the latter: share of the times in base.OUTLINE_TIMES
SCHNELL, WALK, OWN_STARTS = sample.SETTINGS["schnell"], 3, 0.5


def dev_from_base(base: model.Pinhole, tokens) -> model.Pinhole:
    """The base with a guidance input that says nothing yet."""
    dev = model.Pinhole(tokens, guidance=True)
    missing, unknown = dev.load_state_dict(base.state_dict(), strict=False)
    if unknown or any("guidance_embedder" not in name for name in missing):
        raise ValueError(f"base and dev differ in more than guidance: {missing} {unknown}")
    last = dev.transformer.time_text_embed.guidance_embedder.linear_2
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    return dev


@torch.no_grad()
def schnell_from_dev(dev: model.Pinhole, tokens) -> model.Pinhole:
    """dev at SCHNELL.guidance, its guidance embedding added to the bias that it was always added to."""
    schnell = model.Pinhole(tokens)
    state = {name: value for name, value in dev.state_dict().items() if "guidance_embedder" not in name}
    schnell.load_state_dict(state)
    embed = dev.transformer.time_text_embed
    guidance = embed.guidance_embedder(embed.time_proj(torch.tensor([1000.0 * SCHNELL.guidance])))
    schnell.transformer.time_text_embed.timestep_embedder.linear_2.bias += guidance[0]
    return schnell


def dev_loss(student, teacher, data, straight, rng, generator):
    """With straighten.py's pictures, half of the places are those where the base has been."""
    (x, clip, t5, grid), _ = sample_batch(data, rng, generator, TOKENS_PER_BATCH // (2 if straight else 1))
    t, at, _ = noisy(x, generator, NEAR_NOISE)
    here = [clip, t5, t, at]
    if straight:
        here = [torch.cat(pair) for pair in zip(here, sample_straight(straight, grid, rng, len(x)))]
    low, high = GUIDANCE_RANGE
    guidance = low + (high - low) * torch.rand(len(here[0]), generator=generator)
    clip, t5, t, at, guidance = own_share(*here, guidance)
    with torch.no_grad():
        text = teacher.encode(clip, t5)
        empty = teacher.encode(*(part.expand(len(at), -1) for part in data["empty"]))
        with_text, without = teacher.velocity(text, at, t, grid), teacher.velocity(empty, at, t, grid)
        target = without + guidance[:, None, None] * (with_text - without)
    return (student.velocity(text, at, t, grid, guidance) - target).square().mean()


def schnell_loss(student, teacher, data, straight, rng, generator):
    (x, clip, t5, grid), _ = sample_batch(data, rng, generator, TOKENS_PER_BATCH)
    levels = sample.shifted(SCHNELL.steps, SCHNELL.shift)
    interval = int(rng.integers(SCHNELL.steps))
    start, end = levels[interval], levels[interval + 1]
    own_start = rng.random() < OWN_STARTS
    x, clip, t5, noise = own_share(x, clip, t5, torch.randn(x.shape, generator=generator))
    with torch.no_grad():
        text = teacher.encode(clip, t5)
        at = (1 - start) * x + start * noise
        if own_start:
            at = sample.euler(sample.Denoiser("schnell", student, text, text, 1.0), noise, levels[:interval + 1], grid)
        walk = [start + (end - start) * i / WALK for i in range(WALK + 1)]
        denoise = sample.Denoiser("dev", teacher, text, text, SCHNELL.guidance)
        target = (sample.euler(denoise, at, walk, grid) - at) / (end - start)
    return (student.velocity(text, at, torch.full((len(x),), start), grid) - target).square().mean()


def train(options) -> None:
    data = torch.load(options.data, weights_only=True)
    data["empty"] = tuple(part.long() for part in data["empty"])
    straight = load_straight(options.straight, data)
    tokens = model.Tokens(options.tokenizers)
    torch.manual_seed(options.seed)
    teacher = sample.load_pinhole(options.teacher, tokens, guidance=options.kind == "schnell")
    make, loss_of = {"dev": (dev_from_base, dev_loss), "schnell": (schnell_from_dev, schnell_loss)}[options.kind]
    student = make(teacher, tokens).train()
    for part in (student.clip, student.t5):
        part.requires_grad_(False)
    if options.kind == "dev":
        for name, parameter in student.transformer.named_parameters():
            parameter.requires_grad_(model.is_own_of_dev(name))
    if options.compile:
        for pinhole in (student, teacher):
            pinhole.transformer.compile_repeated_blocks(dynamic=False)
    run = Run(options.run, student, optimisers_for(student.transformer, options.rate), ema_decay=0.998)
    while run.step < options.steps:
        rng, generator = step_random(options.seed, run.step)
        loss = loss_of(student, teacher, data, straight, rng, generator)
        run.update(loss, hold_then_fall(run.step, options.steps, fall=0.7, warmup=50))
        run.log({"loss": loss.detach()}, every=20)
        if run.step % 100 == 0 or run.step == options.steps:
            run.save()
            run.draw_curves()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("dev", "schnell"))
    for name in ("run", "teacher", "data", "tokenizers"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--straight", type=pathlib.Path, help="straighten.py's file; for dev")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=7e-4)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--processes", type=int, default=1, help="that share each batch, one thread each")
    parser.add_argument("--compile", action="store_true", help="the blocks by torch.compile; needs a C++ compiler")
    start_processes(train, parser.parse_args())


if __name__ == "__main__":
    main()
