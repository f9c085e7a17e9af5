"""A training run in a folder: a checkpoint to go on from, a log, its curves. Used by every training script here.

FOLDER/checkpoint.pt   weights, their exponential moving average, optimiser, step: written whole, then renamed
FOLDER/log.jsonl       one line per logged step: {"step", "seconds", "loss", ...}
FOLDER/curves.png      every column of the log against the step

A step's random numbers come from (seed, step) alone, so an interrupted run ends as an uninterrupted one would.
"""

import ctypes
import json
import math
import os
import pathlib
import signal
import time

import numpy as np
import torch
from torch import distributed, multiprocessing


PR_SET_PDEATHSIG = 1


def step_random(seed: int, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """The random numbers of one step: numpy's for the scenes, torch's for noise and dropout."""
    rng = np.random.default_rng([seed, step])
    return rng, torch.Generator().manual_seed(int(rng.integers(2**62)))


def cosine(step: int, steps: int, warmup: int = 50) -> float:
    return min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


def hold_then_fall(step: int, steps: int, fall: float, warmup: int = 50) -> float:
    """Constant, then linear to 1 % over the last `fall` of the run."""
    left = (steps - step) / (fall * steps)
    return min(1.0, (step + 1) / warmup) * max(0.01, min(1.0, left))


def start_processes(train, options) -> None:
    """Runs train(options) in options.processes processes, which share every batch. Several have one thread each: about
    as fast as so many threads, and slowed down no more than in proportion by other work beside them."""
    if options.processes == 1:
        train(options)
    else:
        options.run.mkdir(parents=True, exist_ok=True)
        (options.run / "meeting").unlink(missing_ok=True)
        multiprocessing.spawn(_join, (train, options), nprocs=options.processes)


def _join(rank: int, train, options) -> None:
    # Linux: to end with the process that started it. Left behind, it would go on and write over the checkpoint.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    torch.set_num_threads(1)
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[rank % len(allowed)]})
    distributed.init_process_group("gloo", init_method=f"file://{(options.run / 'meeting').absolute()}", rank=rank,
                                   world_size=options.processes)
    train(options)
    distributed.destroy_process_group()


def rank_and_world() -> tuple[int, int]:
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def own_share(*batch: torch.Tensor) -> tuple:
    """The rows of a batch that this process computes."""
    rank, world = rank_and_world()
    return tuple(part[rank::world] for part in batch)


def average_gradients(parameters: list) -> None:
    """Over all processes; their shares of a batch count alike."""
    if not distributed.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(part.view_as(gradient))


class Run:
    """Weights, their average, optimisers and the log of one run. Of several processes the first writes.

    model: the trained module. ema_decay: per step; the average starts as a plain mean so that it is of use early.
    """

    def __init__(self, folder: pathlib.Path, model: torch.nn.Module, optimisers: list, ema_decay: float):
        self.folder, self.model, self.optimisers, self.ema_decay = folder, model, optimisers, ema_decay
        self.rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
        self.ema = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.step, self.seconds, self.sums, self.count = 0, 0.0, {}, 0
        self.started = time.perf_counter()
        self.writes = rank_and_world()[0] == 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "checkpoint.pt").exists():
            self.load(torch.load(folder / "checkpoint.pt", weights_only=True))

    def load(self, saved: dict) -> None:
        self.model.load_state_dict(saved["model"])
        self.ema = saved["ema"]
        for optimiser, state in zip(self.optimisers, saved["optimisers"]):
            optimiser.load_state_dict(state)
        self.step, self.seconds = saved["step"], saved["seconds"]
        log = self.folder / "log.jsonl"
        if log.exists() and self.writes:  # steps after the checkpoint are done again
            kept = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= self.step]
            log.write_text("".join(line + "\n" for line in kept))
        print(f"{self.folder}: going on from step {self.step}", flush=True)

    def elapsed(self) -> float:
        return self.seconds + time.perf_counter() - self.started

    def save(self) -> None:
        if not self.writes:
            return
        state = {"model": self.model.state_dict(), "ema": self.ema, "step": self.step, "seconds": self.elapsed(),
                 "optimisers": [optimiser.state_dict() for optimiser in self.optimisers]}
        torch.save(state, self.folder / "checkpoint.tmp")
        os.replace(self.folder / "checkpoint.tmp", self.folder / "checkpoint.pt")

    def update(self, loss: torch.Tensor, rate: float, clip: float = 1.0) -> None:
        """One step of all optimisers at `rate` times their own learning rate, and of the average."""
        loss.backward()
        average_gradients(list(self.model.parameters()))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        for optimiser, rates in zip(self.optimisers, self.rates):
            for group, own in zip(optimiser.param_groups, rates):
                group["lr"] = own * rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        decay = min(self.ema_decay, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            names, values = zip(*((name, value) for name, value in self.model.state_dict().items() if value.is_floating_point()))
            torch._foreach_lerp_([self.ema[name] for name in names], list(values), 1.0 - decay)
        self.step += 1

    def log(self, values: dict, every: int) -> None:
        """Adds to the means of the current interval; writes a line at its end."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.count += 1
        if self.step % every or not self.writes:
            return
        line = {"step": self.step, "seconds": round(self.elapsed(), 1)}
        line |= {name: round(total / self.count, 6) for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def draw_curves(self) -> None:
        if not self.writes:
            return
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot

        log = self.folder / "log.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        names = [name for name in lines[-1] if name not in ("step", "seconds")] if lines else []
        if not names:
            return
        figure, axes = pyplot.subplots(1, len(names), figsize=(5 * len(names), 3.4), squeeze=False)
        for axis, name in zip(axes[0], names):
            axis.plot([line["step"] for line in lines if name in line], [line[name] for line in lines if name in line])
            axis.set_title(name)
            axis.set_xlabel("step")
            axis.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(self.folder / "curves.png", dpi=80)
        pyplot.close(figure)
