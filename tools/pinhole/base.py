"""Trains Pinhole's base model: both text encoders and the transformer, from scratch, by flow matching.

    python tools/pinhole/base.py --run RUN --data latents.pt --tokenizers FOLDER --steps 8000     train, or go on
        [--start assets/pinhole]                                         from an exported model's weights
        [--straight straight.pt]                                         half of each batch from straighten.py

x_t = (1 - t) x + t noise; the target is noise - x; t is logit-normal, wide and toward noise, where composition is
decided and where the shifted schedule spends its steps. One caption in ten is empty, so that classifier-free guidance has its other half. Learning rate: constant,
then linear to nothing over the last 40 %, which is where much of the gain comes. Matrices of the transformer's blocks
are trained with Muon, everything else with AdamW.

The renderer knows what lies on every latent token, so the states of a middle block are also asked for it (kind, colour,
place in the shape), by one linear layer that is thrown away afterwards. That is representation alignment (REPA, Yu et
al. 2024) with the truth instead of another network's features: the flow alone says little about kinds at first, because
a shape's kind moves only the pixels of its edge. Likewise T5's states of the words for colours and kinds are asked what
belongs together: which shape it is, its colour and kind, where it is to be and how large. FLUX.1's T5 could read before
its transformer saw a caption; so T5 learns these answers alone first, which takes two minutes, and is asked on.
"""

import argparse
import pathlib

import torch
from torch.nn import functional

import model
import scenes
from run import Run, hold_then_fall, own_share, rank_and_world, start_processes, step_random

TOKENS_PER_BATCH = 64 * 64
EMPTY_SHARE = 0.1
TIME_MEAN, TIME_SPREAD = 0.3, 1.2
OUTLINE_TIMES = (0.6, 1.0)  # where outlines go wrong: from true latents with less noise they stay straight
LABELLED_BLOCK, LABEL_WEIGHT = 3, 0.1  # of the nine single blocks
# What a colour's or kind's word is asked: first or second shape or background; colour; kind or none; none, left, right,
# top, bottom, beside; none, small, large, one of two.
WORD_CLASSES, WORD_WEIGHT = (3, len(scenes.COLOURS), len(scenes.SHAPES) + 1, 6, 4), 0.05
IGNORED = -100
READING_STEPS, READING_BATCH, READING_RATE = 1500, 128, 2e-3


def words_of(tokens: model.Tokens, ids) -> list:
    """The plain word of every token of a caption, in the spelling of scenes.py."""
    words = [piece.strip("\u2581").lower() for piece in tokens.t5.convert_ids_to_tokens(ids.tolist())]
    return ["grey" if word == "gray" else word for word in words]


def word_answers(words: list) -> list:
    """WORD_CLASSES' answers for each word, IGNORED where there is none."""
    names = list(scenes.COLOURS)
    answers = [[IGNORED] * len(WORD_CLASSES) for _ in words]
    colours = [i for i, word in enumerate(words) if word in scenes.COLOURS]
    kinds = [i for i, word in enumerate(words) if word in scenes.SHAPES]
    places = [place for place, word in enumerate(("left", "right", "top", "bottom"), 1) if word in words]
    for slot, (colour, kind) in enumerate(zip(colours, kinds)):
        if len(kinds) == 1:
            place, size = (places or [0])[0], 1 if "small" in words else 2 if "large" in words else 0
        else:
            place, size = 5 if "next" in words else (3 if "above" in words else 1) + slot, 3
        answer = [slot, names.index(words[colour]), scenes.SHAPES.index(words[kind]), place, size]
        answers[colour] = answers[kind] = answer
    if kinds:
        answers[colours[-1]] = [2, names.index(words[colours[-1]]), len(scenes.SHAPES), IGNORED, IGNORED]
    return answers


class Labelled(model.Pinhole):
    """Pinhole with the layer that names what lies on a token."""

    def __init__(self, tokens: model.Tokens):
        super().__init__(tokens)
        self.label_norm = torch.nn.LayerNorm(model.WIDTH)
        self.labels = torch.nn.Linear(model.WIDTH, len(scenes.SHAPES) + 1 + len(scenes.COLOURS) + 2)
        self.label_words = torch.nn.Linear(model.T5_WIDTH, sum(WORD_CLASSES))
        middle = self.transformer.single_transformer_blocks[LABELLED_BLOCK]
        middle.register_forward_hook(lambda block, inputs, outputs: setattr(self, "states", outputs[1]))

    def label_loss(self, part: dict, rows, t) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the first rows of the last call of velocity(), which are those of the part; and in how many of the shape
        tokens at t > 0.9, where only the caption tells it, the kind is right."""
        kinds = len(scenes.SHAPES) + 1
        kind, colour, place = self.labels(self.label_norm(self.states[:len(rows)])).split((kinds, len(scenes.COLOURS), 2), dim=-1)
        true_kind, true_colour, true_place = (part[name][rows] for name in ("kind", "colour", "place"))
        true_kind, shape = true_kind.long(), true_kind < kinds - 1
        loss = functional.cross_entropy(kind.flatten(0, 1), true_kind.flatten(), reduction="none").view_as(shape)
        loss = (loss * torch.where(shape, 1.0, 0.3)).mean()
        loss = loss + 0.3 * functional.cross_entropy(colour.flatten(0, 1), true_colour.long().flatten())
        loss = loss + 0.3 * (place[shape] - true_place[shape].float()).square().mean()
        told = (kind.argmax(-1) == true_kind)[shape & (t > 0.9)[:, None]]
        return loss, told.float().mean().nan_to_num(1 / 8)

    def word_loss(self, states, answers) -> torch.Tensor:
        """states [N, tokens, T5_WIDTH] of encode(); answers [N, tokens, questions]."""
        questions = self.label_words(states).split(WORD_CLASSES, dim=-1)
        return sum(functional.cross_entropy(logits.flatten(0, 1), answers[..., i].flatten(), ignore_index=IGNORED)
                   for i, logits in enumerate(questions))


def sample_batch(data: dict, rng, generator, tokens: int = TOKENS_PER_BATCH, equal_sizes: bool = False):
    """One picture size a batch, as often as the data has it or all equally often: packed latents, caption ids (some
    empty), grid; and which rows of which part it is, and which captions are empty."""
    parts = data["parts"]
    sizes = [1 if equal_sizes else len(part["t5"]) for part in parts]
    part = parts[rng.choice(len(parts), p=[size / sum(sizes) for size in sizes])]
    count = tokens // (part["grid"][0] * part["grid"][1])
    rows = torch.from_numpy(rng.choice(len(part["t5"]), count, replace=False))
    clip, t5 = part["clip"][rows].long(), part["t5"][rows].long()
    empty = torch.rand(count, generator=generator) < EMPTY_SHARE
    clip[empty], t5[empty] = data["empty"][0], data["empty"][1]
    return (part["latents"][rows].float(), clip, t5, part["grid"]), (part, rows, empty)


def noisy(x, generator, outlines: float = 0.0):
    """t [N], x_t and the noise of a batch; that share of the times is uniform in OUTLINE_TIMES."""
    t = torch.sigmoid(TIME_SPREAD * torch.randn(len(x), generator=generator) + TIME_MEAN)
    if outlines > 0:
        low, high = OUTLINE_TIMES
        late = low + (high - low) * torch.rand(len(x), generator=generator)
        t = torch.where(torch.rand(len(x), generator=generator) < outlines, late, t)
    noise = torch.randn(x.shape, generator=generator)
    at = t[:, None, None]
    return t, (1 - at) * x + at * noise, noise


def load_straight(path, data: dict) -> dict | None:
    """straighten.py's file with the ids of the empty caption, or None without a path."""
    if not path:
        return None
    return torch.load(path, weights_only=True) | {"empty": tuple(part[0].long() for part in data["empty"])}


def sample_straight(straight: dict, grid, rng, count: int) -> tuple:
    """Of straighten.py's pictures of that grid: caption ids (some empty), t, x_t and the velocity to the straight one."""
    part = next(part for part in straight["parts"] if part["grid"] == grid)
    rows, levels = rng.choice(len(part["t5"]), count, replace=False), rng.integers(len(straight["levels"]), size=count)
    clip, t5 = part["clip"][rows].long(), part["t5"][rows].long()
    empty = torch.from_numpy(rng.random(count) < EMPTY_SHARE)
    clip[empty], t5[empty] = straight["empty"]
    t, at = torch.tensor(straight["levels"])[levels], part["states"][rows, levels].float()
    return clip, t5, t, at, (at - part["target"][rows].float()) / t[:, None, None]


def optimisers_for(pinhole, rate: float) -> list:
    """Of all that is to be trained."""
    matrices, others = [], []
    for name, parameter in pinhole.named_parameters():
        if not parameter.requires_grad:
            continue
        inner = "transformer_blocks" in name and parameter.ndim == 2
        (matrices if inner else others).append(parameter)
    return [Muon(matrices, rate), torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)]


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal by Newton-Schulz (Jordan et al. 2024), in f32; torch.optim.Muon computes it in bf16,
    which processors without bf16 arithmetic do ten times slower. Steps have the size of AdamW's: 0.2 sqrt(max side).
    Matrices of one shape are handled as one stack."""

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @staticmethod
    def orthogonal(g: torch.Tensor) -> torch.Tensor:
        """[N, rows, columns], each made nearly orthogonal."""
        wide = g if g.shape[1] <= g.shape[2] else g.mT
        x = wide / (wide.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
        for _ in range(5):
            square = x @ x.mT
            x = 3.4445 * x + (-4.7750 * square + 2.0315 * (square @ square)) @ x
        return x if g.shape[1] <= g.shape[2] else x.mT

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            stacks = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    stacks.setdefault(tuple(parameter.shape), []).append(parameter)
            for shape, parameters in stacks.items():
                gradients = torch.stack([parameter.grad for parameter in parameters])
                momenta = [self.state[parameter].setdefault("momentum", torch.zeros_like(parameter)) for parameter in parameters]
                for momentum, gradient in zip(momenta, gradients):
                    momentum.lerp_(gradient, 1 - group["momentum"])
                directions = self.orthogonal(gradients.lerp(torch.stack(momenta), group["momentum"]))
                for parameter, direction in zip(parameters, directions):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(direction, alpha=-group["lr"] * 0.2 * max(shape) ** 0.5)


def teach_reading(pinhole: Labelled, parts: list, seed: int, t5_reads: bool) -> None:
    """T5, unless it can read already, and the layer that asks it, by the word loss alone; prints the last losses."""
    captions, answers = (torch.cat([part[name] for part in parts]) for name in ("t5", "answers"))
    learning = [*([] if t5_reads else pinhole.t5.parameters()), *pinhole.label_words.parameters()]
    optimiser = torch.optim.AdamW(learning, lr=READING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(READING_STEPS):
        rng, _ = step_random(seed + 1, step)
        rows = torch.from_numpy(rng.choice(len(captions), READING_BATCH, replace=False))
        loss = pinhole.word_loss(pinhole.t5(captions[rows].long())[0], answers[rows])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.param_groups[0]["lr"] = READING_RATE * hold_then_fall(step, READING_STEPS, fall=0.5)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 100 == 99 and rank_and_world()[0] == 0:
            print(f"reading: step {step + 1}, word loss {loss.item():.4f}", flush=True)


def train(options) -> None:
    data, tokens = torch.load(options.data, weights_only=True), model.Tokens(options.tokenizers)
    for part in data["parts"]:
        part["answers"] = torch.tensor([word_answers(words_of(tokens, ids)) for ids in part["t5"]])
    straight = load_straight(options.straight, data)
    torch.manual_seed(options.seed)
    pinhole = Labelled(tokens).train()
    if options.start:
        pinhole.load_exported(options.start)
    if not (options.run / "checkpoint.pt").exists():
        teach_reading(pinhole, data["parts"], options.seed, t5_reads=options.start is not None)
    if options.compile:
        pinhole.transformer.compile_repeated_blocks(dynamic=False)
    run = Run(options.run, pinhole, optimisers_for(pinhole, options.rate), ema_decay=0.999)
    while run.step < options.steps:
        rng, generator = step_random(options.seed, run.step)
        count = TOKENS_PER_BATCH // 2 if straight else TOKENS_PER_BATCH
        (x, clip, t5, grid), origin = sample_batch(data, rng, generator, count, options.equal_sizes)
        t, at, noise = noisy(x, generator, options.outlines)
        part, rows, empty = origin
        answers = part["answers"][rows].masked_fill(empty[:, None, None], IGNORED)
        x, clip, t5, t, at, noise, rows, answers = own_share(x, clip, t5, t, at, noise, rows, answers)
        here = [clip, t5, t, at, noise - x]
        if straight:
            more = own_share(*sample_straight(straight, grid, rng, len(origin[1])))
            here = [torch.cat(pair) for pair in zip(here, more)]
        clip, t5, all_t, at, velocity = here
        text = pinhole.encode(clip, t5)
        squares = (pinhole.velocity(text, at, all_t, grid) - velocity).square().mean((1, 2))
        flow, bends = squares[:len(x)], squares[len(x):] * all_t[len(x):].square()  # bends: of the clean latents
        loss = torch.cat([flow, bends]).mean()
        label_loss, kinds_right = pinhole.label_loss(part, rows, t)
        rate = hold_then_fall(run.step, options.steps, options.fall, warmup=200)
        word_loss = pinhole.word_loss(text[1][:len(x)], answers)
        run.update(loss + rate * (LABEL_WEIGHT * label_loss + WORD_WEIGHT * word_loss), rate)
        run.log({"loss": flow.detach().mean(), **({"straight_loss": bends.detach().mean()} if straight else {}),
                 "label_loss": label_loss.detach(), "word_loss": word_loss.detach(), "kinds_right": kinds_right}, every=20)
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
    parser.add_argument("--equal-sizes", action="store_true", help="every picture size equally often")
    parser.add_argument("--outlines", type=float, default=0.0, help="share of the times between %g and %g" % OUTLINE_TIMES)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--start", type=pathlib.Path, help="an exported model whose weights are the first ones")
    parser.add_argument("--straight", type=pathlib.Path, help="straighten.py's file")
    parser.add_argument("--processes", type=int, default=1, help="that share each batch, one thread each")
    parser.add_argument("--compile", action="store_true", help="the blocks by torch.compile; needs a C++ compiler")
    start_processes(train, parser.parse_args())


if __name__ == "__main__":
    main()
