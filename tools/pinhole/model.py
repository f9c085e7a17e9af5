"""Pinhole's parts: FLUX.1's own classes at small sizes, and the tokenizers in FLUX.1's file formats.

The sizes are bounded by the box: three transformers (base, dev, schnell), one autoencoder and one pair of text
encoders in bf16 must stay below 16 MiB with everything else in assets/pinhole.
"""

import copy
import pathlib
import sys

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

import scenes

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "fixtures"))
import small_tokenizers  # noqa: E402

CLIP_MERGES, T5_PIECES = 400, 400
CLIP_WIDTH, T5_WIDTH, WIDTH, HEAD = 64, 96, 128, 32
CLIP_TOKENS, T5_TOKENS = 77, 20
SINGLE_BLOCKS = 9
AXES = (4, 14, 14)


def vary(rng, caption: str) -> str:
    """A caption as people may type it: now and then a capital, a full stop, the other grey."""
    if rng.random() < 0.3:
        caption = caption.replace("grey", "gray")
    if rng.random() < 0.1:
        caption = caption[0].upper() + caption[1:]
    return caption + "." if rng.random() < 0.1 else caption


def write_tokenizers(folder: pathlib.Path) -> None:
    """tokenizer/ and tokenizer_2/: every word of the captions is one token, other words fall into pieces."""
    rng = np.random.default_rng(5)
    captions = [vary(rng, scenes.random_scene(rng).caption) for _ in range(6000)]
    words = sorted({word for caption in captions for word in caption.rstrip(".").split()} | {"An"})
    lines = captions + small_tokenizers.corpus()
    small_tokenizers.write_clip_tokenizer(folder / "tokenizer", CLIP_MERGES, lines)
    small_tokenizers.write_t5_tokenizer(folder / "tokenizer_2", T5_PIECES, lines, tuple(words))


class Tokens:
    """Captions to ids as FluxPipeline makes them: CLIP padded to 77, T5 to T5_TOKENS, both cut there."""

    def __init__(self, folder: pathlib.Path):
        self.clip = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.t5 = T5TokenizerFast.from_pretrained(folder / "tokenizer_2")

    def __call__(self, captions: list) -> tuple[torch.Tensor, torch.Tensor]:
        """int64 [N, 77] and [N, T5_TOKENS]."""
        clip = self.clip(captions, padding="max_length", max_length=CLIP_TOKENS, truncation=True, return_tensors="pt")
        t5 = self.t5(captions, padding="max_length", max_length=T5_TOKENS, truncation=True, return_tensors="pt")
        return clip.input_ids, t5.input_ids


def make_clip(tokens: Tokens) -> CLIPTextModel:
    size = len(tokens.clip)
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=size, hidden_size=CLIP_WIDTH, intermediate_size=2 * CLIP_WIDTH, projection_dim=CLIP_WIDTH,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=CLIP_TOKENS, hidden_act="quick_gelu",
        bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1))


def make_t5(tokens: Tokens) -> T5EncoderModel:
    return T5EncoderModel(T5Config(
        vocab_size=len(tokens.t5), d_model=T5_WIDTH, d_kv=32, d_ff=192, num_layers=2, num_heads=3,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False, tie_word_embeddings=False,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0))


def make_transformer(guidance: bool) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=1, num_single_layers=SINGLE_BLOCKS, attention_head_dim=HEAD,
        num_attention_heads=WIDTH // HEAD, joint_attention_dim=T5_WIDTH, pooled_projection_dim=CLIP_WIDTH,
        guidance_embeds=guidance, axes_dims_rope=AXES)


def start_quietly(transformer: FluxTransformer2DModel) -> None:
    """Small modulations and no output at first: the untrained model predicts zero, and trains from there."""
    for name, parameter in transformer.named_parameters():
        if name.endswith(("norm1.linear.weight", "norm1_context.linear.weight", "norm.linear.weight")):
            torch.nn.init.normal_(parameter, std=0.02)
        elif name.startswith(("norm_out.linear", "proj_out")):
            torch.nn.init.zeros_(parameter)


def is_own_of_dev(name: str) -> bool:
    """Whether dev has a parameter of the transformer for itself: the embeddings of time, text and guidance, everything
    that they modulate, and the last layer. The others it shares with the base."""
    return name.startswith(("time_text_embed", "norm_out", "proj_out")) or ".norm" in name


def deepen(transformer: FluxTransformer2DModel, blocks: int) -> None:
    """Up to that many single blocks: the new ones are spread evenly, each a copy of the block before it whose output is
    zero, so the model stays what it was."""
    old = list(transformer.single_transformer_blocks)
    where = {round((i + 1) * len(old) / (blocks - len(old) + 1)) - 1 for i in range(blocks - len(old))}
    grown = []
    for index, block in enumerate(old):
        grown.append(block)
        if index in where:
            grown.append(copy.deepcopy(block))
            torch.nn.init.zeros_(grown[-1].proj_out.weight)
            torch.nn.init.zeros_(grown[-1].proj_out.bias)
    transformer.single_transformer_blocks = torch.nn.ModuleList(grown)


class Pinhole(torch.nn.Module):
    """The three parts that are trained together: both text encoders and the transformer."""

    def __init__(self, tokens: Tokens, guidance: bool = False):
        super().__init__()
        self.clip, self.t5 = make_clip(tokens), make_t5(tokens)
        self.transformer = make_transformer(guidance)
        start_quietly(self.transformer)

    def load_exported(self, folder: pathlib.Path) -> None:
        """The weights of a folder that export.py wrote, rounded to bf16 as they are there. A transformer with fewer single
        blocks is deepened first."""
        for part, name in ((self.clip, "text_encoder"), (self.t5, "text_encoder_2"), (self.transformer, "transformer")):
            saved = type(part).from_pretrained(folder / name, torch_dtype=torch.float32)
            if part is self.transformer:
                deepen(saved, SINGLE_BLOCKS)
            part.load_state_dict(saved.state_dict())

    def encode(self, clip_ids, t5_ids):
        """Pooled [N, CLIP_WIDTH] and states [N, T5_TOKENS, T5_WIDTH].

        CLIP looks back only and is read at the first end token, so what lies behind the last of these is left out."""
        ends = (clip_ids == self.clip.config.eos_token_id).int().argmax(1)
        return self.clip(clip_ids[:, :ends.max() + 1]).pooler_output, self.t5(t5_ids)[0]

    def velocity(self, text, x, t, grid, guidance=None):
        """x [N, tokens, 64] at noise level t [N], in [0, 1]; grid (rows, columns). The velocity, as x."""
        pooled, states = text
        rows, columns = grid
        ids = torch.zeros(rows, columns, 3)
        ids[..., 1] += torch.arange(rows)[:, None]
        ids[..., 2] += torch.arange(columns)[None, :]
        return self.transformer(
            hidden_states=x, encoder_hidden_states=states, pooled_projections=pooled, timestep=t, guidance=guidance,
            img_ids=ids.reshape(-1, 3), txt_ids=torch.zeros(states.shape[1], 3), return_dict=False)[0]


def pack(latents: torch.Tensor) -> torch.Tensor:
    """[N, 16, h, w] to [N, h/2 * w/2, 64], as FluxPipeline packs them."""
    n, c, h, w = latents.shape
    return latents.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w // 4, c * 4)


def unpack(tokens: torch.Tensor, grid) -> torch.Tensor:
    """The inverse of pack(); grid (rows, columns) of tokens."""
    n, (rows, columns) = tokens.shape[0], grid
    return tokens.view(n, rows, columns, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(n, 16, rows * 2, columns * 2)
