"""Draws docs/quality-quantisation.svg from the first table of docs/QUALITY.md, "Salient channels in 8 bits".

    python3 tools/plots/quantisation_plot.py

Needs Python alone.
"""

import pathlib

from svg import dot, text, write

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
WIDTH, TOP, LINE = 860, 84, 24
PANELS = (("modulated inputs, SQNR", 1, 6, (15, 45), 330), ("pictures, PSNR", 5, 9, (30, 60), 600))  # columns, axis, begin
PANEL = 236  # width
PLAIN, SALIENT = "#3f6ea5", "#b5392f"


def table():
    """[(scheme, its cells)] of the schemes that pictures were drawn with."""
    section = (DOCS / "QUALITY.md").read_text(encoding="utf-8").split("## Salient channels in 8 bits")[1].split("\n## ")[0]
    block = section.split("\n\n| scheme |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in block.splitlines()[2:]]
    return [(row[0], row) for row in rows if row[9] != "–"]


def panel(rows, title, plain, salient, axis, begin):
    bottom = TOP + LINE * len(rows)
    x_of = lambda value: round(begin + PANEL * (value - axis[0]) / (axis[1] - axis[0]), 1)
    out = [text(begin, TOP - 30, title, 13, "#555")]
    for decibel in range(axis[0], axis[1] + 1, 10):
        out += [f'<path d="M{x_of(decibel)} {TOP - 12}V{bottom}" stroke="#ddd"/>',
                text(x_of(decibel), TOP - 16, str(decibel), 11, "#555", "middle")]
    for index, (_, cells) in enumerate(rows):
        y = TOP + LINE * index + 4
        a, b = x_of(float(cells[plain])), x_of(float(cells[salient]))
        out += [f'<path d="M{a} {y}H{b}" stroke="#bbb"/>', dot(a, y, PLAIN), dot(b, y, SALIENT)]
    return out


def main():
    rows = table()
    height = TOP + LINE * len(rows) + 36
    title = "8-bit products: what saves salient channels"
    body = []
    body += [text(316, TOP + LINE * i + 8, name, 13, anchor="end") for i, (name, _) in enumerate(rows)]
    for one in PANELS:
        body += panel(rows, *one)
    for x, colour, words in ((330, PLAIN, "Pinhole"), (440, SALIENT, "the same function, salient channels")):
        body += [dot(x + 5, height - 16, colour), text(x + 16, height - 12, words, 12, "#555")]
    write(DOCS / "quality-quantisation.svg", WIDTH, height, title, body)


main()
