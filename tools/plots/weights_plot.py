"""Draws docs/quality-weights.svg from the two tables of docs/QUALITY.md, "Kinds of weights".

    python3 tools/plots/weights_plot.py

Needs Python alone.
"""

import pathlib
import re

from svg import dot, text, write

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
WIDTH, HEIGHT = 760, 400
PANELS = {"Pinhole, pictures": 62, "FLUX.1's width, latents": 422}  # where their axes begin
PANEL = 316  # width
TOP, BOTTOM = 76, 330
BITS, DECIBEL = (4, 9), (30, 62)
BLOCKS, SAFETENSORS = "#b5392f", "#3f6ea5"


def tables():
    """Of each panel [(kind, bits a weight, PSNR)], by the tables' order."""
    text = (DOCS / "QUALITY.md").read_text(encoding="utf-8")
    section = text.split("## Kinds of weights")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in section.splitlines() if line.startswith("|")]
    kind = lambda name: name.split(",")[0]
    wide = [(kind(row[0]), float(row[1]), float(row[2])) for row in rows if len(row) == 3 and re.match(r"[\d.]+$", row[1])]
    bits = {name: value for name, value, _ in wide}
    first = section.split("\n\n|")[1].split("\n\n")[0].count("\n") + 1  # rows of the first table; the others are of products
    pinhole = [(kind(row[0]), bits[kind(row[0])], float(row[2])) for row in rows[:first] if kind(row[0]) in bits]
    return dict(zip(PANELS, (pinhole, wide)))


def x_of(begin, bits):
    return round(begin + PANEL * (bits - BITS[0]) / (BITS[1] - BITS[0]), 1)


def y_of(decibel):
    return round(BOTTOM - (BOTTOM - TOP) * (decibel - DECIBEL[0]) / (DECIBEL[1] - DECIBEL[0]), 1)


def axes(title, begin):
    out = [text(begin, TOP - 12, title, 13, "#555")]
    for decibel in range(DECIBEL[0], DECIBEL[1], 10):
        out.append(f'<path d="M{begin} {y_of(decibel)}h{PANEL}" stroke="#ddd"/>')
        out.append(text(begin - 6, y_of(decibel) + 4, str(decibel), 12, "#555", "end"))
    for bits in range(BITS[0], BITS[1] + 1):
        out.append(f'<path d="M{x_of(begin, bits)} {BOTTOM}v5" stroke="#888"/>')
        out.append(text(x_of(begin, bits), BOTTOM + 19, str(bits), 12, "#555", "middle"))
    out.append(f'<path d="M{begin} {BOTTOM}h{PANEL}" stroke="#888"/>')
    out.append(text(begin + PANEL / 2, BOTTOM + 37, "bits a weight", 12, "#555", "middle"))
    return out


def points(begin, rows):
    """Names stand to the right of dots, but to the left at 8 bits; those of one column keep a line's distance."""
    out, last = [], {}
    for kind, bits, decibel in sorted(rows, key=lambda row: -row[2]):
        colour = BLOCKS if re.match(r"q\d", kind) else SAFETENSORS
        x, y = x_of(begin, bits), y_of(decibel)
        left = bits >= 8 or 5 < bits < 6  # where there is room
        at = max(y + 4, last.get(bits, 0) + 14)
        last[bits] = at
        out.append(dot(x, y, colour))
        out.append(text(x - 10 if left else x + 10, round(at, 1), f"{kind} {decibel:.1f}", 13, anchor="end" if left else "start"))
    return out


def main():
    title = "What a kind of weights costs: PSNR against bf16 over its size"
    body = []
    for name, rows in tables().items():
        body += axes(name, PANELS[name]) + points(PANELS[name], rows)
    for x, colour, words in ((62, BLOCKS, "GGUF's blocks"), (190, SAFETENSORS, "in safetensors files")):
        body += [dot(x + 5, HEIGHT - 16, colour), text(x + 16, HEIGHT - 12, words, 12, "#555")]
    write(DOCS / "quality-weights.svg", WIDTH, HEIGHT, title, body)


main()
