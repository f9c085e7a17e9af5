"""8-bit products as `--precision int8` does them, in f32, and what could make them closer: smoothing and rotation.

A site is one input of linear layers in a block of FluxTransformer2DModel. Its segments are columns with a scale of their
own (a single block's output layer reads attention and MLP). Used by quantisation.py.
"""

import dataclasses
import functools

import torch

DOUBLE_KINDS = ("img qkv", "txt qkv", "img out", "txt out", "img mlp in", "txt mlp in", "img mlp out", "txt mlp out")
SINGLE_KINDS = ("single in", "single out")
KINDS = DOUBLE_KINDS + SINGLE_KINDS


@dataclasses.dataclass
class Site:
    """kind: of KINDS. linears: the layers that read this input. modulation: (linear layer, chunk of the shift, chunk of
    the scale) where the input is under an adaptive norm. values: (V's layer, its modulation) of each stream that
    attention's output mixes. gelu: (layer before GELU, its modulation) where the input, or its last segment, is GELU's."""

    name: str
    kind: str
    linears: list
    segments: list
    modulation: tuple | None = None
    values: list = dataclasses.field(default_factory=list)
    gelu: tuple | None = None

    @property
    def weight(self) -> torch.Tensor:
        return torch.cat([linear.weight for linear in self.linears])

    @property
    def foldable(self) -> list:
        """Segments that a smoothing's 1/s reaches without a multiplication of activations: those not GELU's."""
        return self.segments[:len(self.segments) - 1] if self.gelu else self.segments


def double_sites(index: int, block, d: int) -> list:
    attn, out = block.attn, []
    streams = (("img", block.norm1.linear, (attn.to_q, attn.to_k, attn.to_v), attn.to_out[0], block.ff),
               ("txt", block.norm1_context.linear, (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj), attn.to_add_out,
                block.ff_context))
    values = [(qkv[2], (modulation, 0, 1)) for _, modulation, qkv, _, _ in streams]
    for name, modulation, qkv, to_out, ff in streams:
        site = functools.partial(Site, f"double.{index}")
        inner, outer = ff.net[0].proj, ff.net[2]
        out += [site(f"{name} qkv", list(qkv), [(0, d)], modulation=(modulation, 0, 1)),
                site(f"{name} out", [to_out], [(0, d)], values=values),
                site(f"{name} mlp in", [inner], [(0, d)], modulation=(modulation, 3, 4)),
                site(f"{name} mlp out", [outer], [(0, outer.in_features)], gelu=(inner, (modulation, 3, 4)))]
    return out


def single_sites(index: int, block, d: int) -> list:
    attn, modulation = block.attn, (block.norm.linear, 0, 1)
    return [Site(f"single.{index}", "single in", [attn.to_q, attn.to_k, attn.to_v, block.proj_mlp], [(0, d)], modulation),
            Site(f"single.{index}", "single out", [block.proj_out], [(0, d), (d, block.proj_out.in_features)],
                 values=[(attn.to_v, modulation)], gelu=(block.proj_mlp, modulation))]


def sites_of(transformer) -> list:
    d = transformer.inner_dim
    doubles = [site for i, b in enumerate(transformer.transformer_blocks) for site in double_sites(i, b, d)]
    return doubles + [site for i, b in enumerate(transformer.single_transformer_blocks) for site in single_sites(i, b, d)]


def in_eight_bits(x: torch.Tensor, group: int = 0) -> torch.Tensor:
    """x [.., K] rounded to 8 bits with a scale for each `group` columns of a row (0, or one that does not divide K: all)."""
    k = x.shape[-1]
    parts = x.reshape(*x.shape[:-1], -1, group if group and k % group == 0 else k)
    scale = parts.abs().amax(-1, keepdim=True) / 127
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return ((parts / scale).round().clamp(-127, 127) * scale).reshape(x.shape)


@functools.cache
def hadamard(size: int) -> torch.Tensor:
    """Orthogonal [size, size]: powers of the regular matrix of 4 (ConvRot), for 2 · 4^n times Sylvester's of 2."""
    four = torch.tensor([[1., 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]) / 2
    matrix = torch.ones(1, 1)
    while matrix.shape[0] * 4 <= size:
        matrix = torch.kron(matrix, four)
    return matrix if matrix.shape[0] == size else torch.kron(matrix, torch.tensor([[1., 1], [1, -1]]) / 2**0.5)


def rotated(x: torch.Tensor, size: int) -> torch.Tensor:
    """x [.., K] with each `size` columns (0: none; where they do not divide K the largest halving that does) rotated."""
    while size > 1 and x.shape[-1] % size:
        size //= 2
    return x if size <= 1 else (x.reshape(*x.shape[:-1], -1, size) @ hadamard(size)).reshape(x.shape)


@dataclasses.dataclass
class Scheme:
    """How a product is done. smoothing: vector [K] of a Site by name (divides x, multiplies W), or None."""

    group_x: int = 0
    group_w: int = 0
    rotation: int = 0
    smoothing: dict | None = None

    def prepare(self, site: Site) -> torch.Tensor:
        """The site's weights as they are multiplied: [N, K]."""
        weight = site.weight * self.factors(site)
        for a, b in site.segments:
            weight[:, a:b] = rotated(weight[:, a:b], self.rotation)
        return in_eight_bits(weight, self.group_w)

    def factors(self, site: Site) -> torch.Tensor:
        ones = torch.ones(site.segments[-1][1])
        return ones if self.smoothing is None else self.smoothing.get((site.name, site.kind), ones)

    def inputs(self, site: Site, x: torch.Tensor) -> torch.Tensor:
        x = x / self.factors(site)
        return torch.cat([in_eight_bits(rotated(x[..., a:b], self.rotation), self.group_x) for a, b in site.segments], -1)


class Emulated:
    """While it is entered, the transformer multiplies as the scheme says."""

    def __init__(self, transformer, scheme: Scheme):
        self.sites, self.scheme = sites_of(transformer), scheme

    def __enter__(self):
        for site in self.sites:
            rows = self.scheme.prepare(site).split([linear.out_features for linear in site.linears])
            last = {}  # q, k, v and the MLP read one tensor: it is quantised once
            for linear, weight in zip(site.linears, rows):
                linear.forward = functools.partial(self.multiply, site, last, weight, linear.bias)
        return self

    def multiply(self, site, last, weight, bias, x):
        if last.get("x") is not x:
            last["x"], last["quantised"] = x, self.scheme.inputs(site, x)
        return torch.nn.functional.linear(last["quantised"], weight, bias)

    def __exit__(self, *_):
        for site in self.sites:
            for linear in site.linears:
                del linear.forward
