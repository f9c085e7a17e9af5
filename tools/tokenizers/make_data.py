#!/usr/bin/env python3
"""Writes the vocabularies that are built into darkroom: make_data.py TOKENIZER TOKENIZER_2 OUTPUT

TOKENIZER holds CLIP's vocab.json and merges.txt, TOKENIZER_2 T5's tokenizer.json, as the FLUX.1 repositories have them;
OUTPUT is assets/tokenizers. With --check nothing is written: exit code 1 if OUTPUT holds anything else. Sources, SHA-256:

    vocab.json      e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349
    merges.txt      9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a
    tokenizer.json  6cd1badb7467cdab971403bbeb1945070ca385652385a2b6549f672b08089dfc

and of what zlib 1.2.13 makes of them:

    clip_merges.z   ddfb7818744bc7c61cda56540b6bb9d52f66e890b57c6c4e2252c478a61ccc45
    t5_pieces.z     5f690a4bf53348042197205dd635342ce216b8a75718f1d755199db248fbf9e3

Each file of OUTPUT is one zlib stream. Numbers are little-endian; "planes" are all lowest bytes first, then all second
bytes and so on, which zlib packs better.

    clip_merges.z  planes of u16: the ids of all left halves, planes of u16: of all right halves. Ids count GPT-2's 256
                   bytes, the same at the end of a word, then the merges; behind them stand the two special tokens.
    t5_pieces.z    u32 numbers: pieces, bytes of their texts, units of the character map's trie, bytes of its
                   replacements. The texts, each ended by a newline, a space for U+2581. Planes of u32: the score's f32
                   bits minus the piece's before it. Planes of u32: the trie. The replacements.
                   Piece 0 is <pad>, 1 </s>, 2 <unk>. The 100 sentinels behind the pieces are left out: T5Tokenizer
                   makes them.
"""
import base64
import json
import struct
import sys
import zlib
from pathlib import Path


def planes(numbers, size):
    return b"".join(bytes(n >> 8 * i & 0xFF for n in numbers) for i in range(size))


def must(holds, message):
    if not holds:
        sys.exit("make_data.py: " + message)


def gpt2_bytes():
    """The characters that stand for bytes, in the order of their ids."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in printable] + [chr(0x100 + i) for i in range(256 - len(printable))]


def clip_data(folder):
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    must(lines[0].startswith("#version") and lines[-1] == "", "merges.txt has no #version line or is cut short")
    merges = [tuple(line.split(" ")) for line in lines[1:-1]]
    letters = gpt2_bytes()
    pieces = letters + [c + "</w>" for c in letters] + [a + b for a, b in merges] + ["<|startoftext|>", "<|endoftext|>"]
    must(vocab == {piece: i for i, piece in enumerate(pieces)}, "vocab.json does not follow from merges.txt")
    must(len(set(merges)) == len(merges) and len(vocab) <= 1 << 16, "merges.txt has a merge twice, or too many")
    return planes([vocab[a] for a, _ in merges], 2) + planes([vocab[b] for _, b in merges], 2)


def t5_data(folder):
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = document["model"]["vocab"]
    sentinels = [[f"<extra_id_{i}>", 0.0] for i in reversed(range(100))]
    must(vocab[:3] == [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0]] and vocab[-100:] == sentinels,
         "tokenizer.json is not T5's: its special pieces are others")
    added = document["added_tokens"]
    flags = ["single_word", "lstrip", "rstrip", "normalized"]
    must([t["id"] for t in added] == [0, 1, 2, *range(len(vocab) - 100, len(vocab))]
         and all(vocab[t["id"]][0] == t["content"] and not any(t[flag] for flag in flags) for t in added),
         "tokenizer.json has other added tokens than T5's")
    vocab = vocab[:-100]
    must(not any(c in piece for piece, _ in vocab for c in " \n"), "a piece has a space or a newline")
    texts = "".join(piece.replace("\u2581", " ") + "\n" for piece, _ in vocab).encode()
    scores = [score for _, score in vocab]
    packed = struct.pack(f"<{len(scores)}f", *scores)
    must(list(struct.unpack(f"<{len(scores)}f", packed)) == scores, "a score is no f32")
    bits = struct.unpack(f"<{len(scores)}I", packed)
    steps = [(b - a) % (1 << 32) for a, b in zip((0, *bits), bits)]

    charsmap, = (base64.b64decode(step["precompiled_charsmap"]) for step in document["normalizer"]["normalizers"]
                 if step["type"] == "Precompiled")
    trie_bytes, = struct.unpack_from("<I", charsmap)
    trie = struct.unpack_from(f"<{trie_bytes // 4}I", charsmap, 4)
    replacements = charsmap[4 + trie_bytes:]
    return (struct.pack("<4I", len(vocab), len(texts), len(trie), len(replacements)) + texts + planes(steps, 4)
            + planes(trie, 4) + replacements)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--check"]
    if len(arguments) != 3:
        sys.exit(__doc__)
    clip, t5, output = map(Path, arguments)
    status = 0
    for name, data in [("clip_merges.z", clip_data(clip)), ("t5_pieces.z", t5_data(t5))]:
        packed = zlib.compress(data, 9)
        if "--check" not in sys.argv:
            (output / name).write_bytes(packed)
            continue
        found = (output / name).read_bytes()
        # Another zlib, such as zlib-ng, packs the same data into other bytes.
        if found != packed and ("ng" not in zlib.ZLIB_RUNTIME_VERSION or zlib.decompress(found) != data):
            print(f"{output / name} is not what make_data.py makes")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
