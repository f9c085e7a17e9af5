"""What smoothing a site's input needs to know: how large its channels become, from runs or from the weights alone.

Smoothing (Xiao et al. 2023, SmoothQuant) divides channel j of x by s_j and multiplies column j of W by it. Used by
quantisation.py.
"""

import torch

from emulation import Site, sites_of

LEAST = 1e-5


class Recorder:
    """While it is entered, notes of every pass and site the channels' largest magnitudes and root mean squares [K], and with
    `keep` the inputs [rows, K] of every keep-th pass."""

    def __init__(self, transformer, keep: int = 0):
        self.sites, self.keep = sites_of(transformer), keep
        self.largest = {(s.name, s.kind): [] for s in self.sites}
        self.rms = {(s.name, s.kind): [] for s in self.sites}
        self.inputs = {(s.name, s.kind): [] for s in self.sites}

    def note(self, key, x: torch.Tensor) -> None:
        rows = x.reshape(-1, x.shape[-1])
        if self.keep and len(self.largest[key]) % self.keep == 0:
            self.inputs[key].append(rows.clone())
        self.largest[key].append(rows.abs().amax(0))
        self.rms[key].append(rows.square().mean(0).sqrt())

    def __enter__(self):
        self.handles = [s.linears[0].register_forward_pre_hook(lambda _m, args, key=(s.name, s.kind): self.note(key, args[0]))
                        for s in self.sites]
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()


def ranks(x: torch.Tensor) -> torch.Tensor:
    return x.argsort(-1).argsort(-1).double()


def spearman(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of a's rows [S, K] with b [K]: [S]."""
    a, b = ranks(a) - (a.shape[-1] - 1) / 2, ranks(b) - (b.shape[-1] - 1) / 2
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm())


def largest_weight(site: Site) -> torch.Tensor:
    return site.weight.abs().amax(0)


def rms_weight(site: Site) -> torch.Tensor:
    return site.weight.square().mean(0).sqrt()


def ptq4dit_salience(site: Site, passes: torch.Tensor) -> torch.Tensor:
    """Mean of the passes' [S, K], of more weight where activations and weights are not large in the same channels (Wu et al.
    2024, PTQ4DiT: softmax of -Spearman)."""
    return (torch.softmax(-spearman(passes, largest_weight(site)), 0).float()[:, None] * passes).sum(0)


def smoothing_of(inputs: torch.Tensor, weights: torch.Tensor, alpha: float, segments: list) -> torch.Tensor:
    """s = inputs^alpha / weights^(1 - alpha) of saliences [K], within `segments`; 1 outside. Each segment has a geometric
    mean of 1, so that segments that share a row of W, and its scale, stay comparable."""
    s = inputs.clamp(min=LEAST) ** alpha / weights.clamp(min=LEAST) ** (1 - alpha)
    out = torch.ones_like(s)
    for a, b in segments:
        out[a:b] = s[a:b] / s[a:b].log().mean().exp()
    return out


class Bounds:
    """Salience from the weights: an adaptive norm's values have mean 0 and deviation 1 before scale and shift, so a channel
    has mean `shift` and deviation |1 + scale|, and what a linear layer makes of them follows, channels taken as
    independent. embeddings [S, D]: of the times, what the modulations read."""

    def __init__(self, embeddings: torch.Tensor):
        self.embeddings = embeddings

    def modulated(self, modulation: tuple) -> tuple:
        """Means and deviations [S, D]."""
        linear, shift, scale = modulation
        chunks = linear(torch.nn.functional.silu(self.embeddings)).split(self.embeddings.shape[-1], -1)
        return chunks[shift], (1 + chunks[scale]).abs()

    def after(self, linear, modulation: tuple) -> tuple:
        mean, deviation = self.modulated(modulation)
        return linear(mean), (deviation**2 @ linear.weight.T**2).sqrt()

    def salience(self, site: Site, over_times) -> torch.Tensor:
        """[K]. over_times: [K] of means and deviations [S, K], such as root_mean_square() and largest()."""
        if site.modulation:
            return over_times(*self.modulated(site.modulation))
        parts = []
        if site.values:
            parts.append(torch.stack([over_times(*self.after(*value)) for value in site.values]).amax(0))
        if site.gelu:
            mean, deviation = self.after(*site.gelu)
            parts.append(torch.nn.functional.gelu(mean + 3 * deviation, approximate="tanh").amax(0).clamp(min=0.17))
        return torch.cat(parts)


def root_mean_square(mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    return (mean**2 + deviation**2).mean(0).sqrt()


def largest(mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    return (mean.abs() + 3 * deviation).amax(0)
