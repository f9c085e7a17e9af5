"""Draws README's two plots, docs/speed.svg and docs/memory.svg, from docs/measured.json.

    python3 tools/plots/readme_plots.py

Needs Python alone. The figures stand in docs/measured.json; docs/SPEED.md says how each was measured.
"""

import json
import pathlib
from xml.sax.saxutils import escape

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
WIDTH = 760
LEFT = 190  # where bars begin
RIGHT = 640  # where the longest bar ends
BAR = 20
COLOURS = {"darkroom": "#b5392f", "stable-diffusion.cpp": "#8a8f98", "diffusers": "#5b7fa6",
           "512×512": "#d98a80", "1024×1024": "#b5392f"}


class Plot:
    def __init__(self, title, note):
        self.parts = []
        self.title = title
        self.note = note
        self.y = 34
        self.text(16, 26, title, 16, weight="bold")

    def text(self, x, y, words, size=13, colour="#222", anchor="start", weight="normal"):
        self.parts.append(f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
                          f'font-weight="{weight}">{escape(words)}</text>')

    def heading(self, words):
        self.y += 26
        self.text(16, self.y, words, colour="#555")
        self.y += 8

    def bar(self, label, value, longest, colour, shown, room=0):
        """`room`: a value whose place the words leave free, as a line stands there."""
        length = round((RIGHT - LEFT) * value / longest, 1)
        self.text(LEFT - 8, self.y + 15, label, anchor="end")
        self.parts.append(f'<rect x="{LEFT}" y="{self.y}" width="{length}" height="{BAR}" fill="{colour}"/>')
        end = max(length, (RIGHT - LEFT) * room / longest)
        self.text(round(LEFT + end + 8, 1), self.y + 15, shown)
        self.y += BAR + 4

    def line(self, value, longest, top):
        """A black line across the bars drawn since `top`: what they must not pass."""
        x = round(LEFT + (RIGHT - LEFT) * value / longest, 1)
        self.parts.append(f'<path d="M{x} {top - 3}V{self.y - 1}" stroke="#000" stroke-width="2"/>')

    def write(self, path):
        self.text(16, self.y + 22, self.note, 12, "#555")
        height = self.y + 36
        body = "\n".join(self.parts)
        path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
                        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">\n'
                        f"<title>{escape(self.title)}</title>\n"
                        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n{body}\n</svg>\n', encoding="utf-8")


def draw_speed(figures):
    plot = Plot(figures["title"], figures["note"])
    longest = max(seconds for group in figures["groups"] for _, _, seconds in group["bars"])
    for group in figures["groups"]:
        plot.heading(group["name"])
        for program, dtype, seconds in group["bars"]:
            plot.bar(program, seconds, longest, COLOURS[program], f"{seconds:g} s, {dtype}")
    plot.write(DOCS / "speed.svg")


def draw_memory(figures):
    plot = Plot(figures["title"], figures["note"])
    longest = max(figures["budgets"])
    for i, budget in enumerate(figures["budgets"]):
        plot.heading(f"--budget {budget}GiB (the black line)")
        top = plot.y
        for name, peaks in figures["series"]:
            plot.bar(name, peaks[i], longest, COLOURS[name], f"{peaks[i]:.2f}", budget)
        plot.line(budget, longest, top)
    plot.write(DOCS / "memory.svg")


def main():
    figures = json.loads((DOCS / "measured.json").read_text(encoding="utf-8"))
    draw_speed(figures["speed"])
    draw_memory(figures["memory"])


if __name__ == "__main__":
    main()
