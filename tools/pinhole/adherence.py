"""Draws held-out captions with darkroom itself and lets the grader judge them: the figures of docs/PINHOLE.md.

    python tools/pinhole/adherence.py --darkroom build/darkroom --grade build/grade --model assets/pinhole
        [--singles 250] [--pairs 250] [--size 128x128] [--seed 880001] [--sheet sheet.png] [-- FLAGS OF GENERATE]

Every caption gets a seed of its own. Prints the shares with all claims right, with 95 % intervals (Wilson), the share of
each kind of claim, what is taken for what, and how crooked the outlines are.
"""

import argparse
import json
import math
import pathlib
import subprocess
import tempfile

import numpy as np
from PIL import Image

import scenes


def wilson(right: int, of: int) -> tuple[float, float]:
    share, z = right / of, 1.96
    centre, spread = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (centre - spread) / (1 + z * z / of), (centre + spread) / (1 + z * z / of)


def held_out(options) -> list:
    rng = np.random.default_rng(options.seed)
    captions = [scenes.held_out_scene(rng, scenes.random_single).caption for _ in range(options.singles)]
    return captions + [scenes.held_out_scene(rng, scenes.random_pair).caption for _ in range(options.pairs)]


def draw(options, captions: list, folder: pathlib.Path) -> dict:
    width, height = options.size.split("x")
    named = {}
    for index, caption in enumerate(captions):
        named[f"{index:04}.png"] = caption
        subprocess.run([options.darkroom, "generate", "-m", options.model, "-p", caption, "-W", width, "-H", height, "-q",
                        "--seed", str(options.seed + index), "-o", folder / f"{index:04}.png", *options.flags],
                       check=True, stdout=subprocess.DEVNULL)
    return named


def report(summary: dict) -> None:
    for kind in ("single", "pair"):
        share = summary[kind]
        if share["of"]:
            low, high = wilson(share["right"], share["of"])
            print(f"{kind:<7} all claims right: {share['right']} of {share['of']} = {share['right'] / share['of']:.1%} "
                  f"({low:.1%} to {high:.1%})")
    for claim, share in summary["claims"].items():
        if share["of"]:
            print(f"  {claim:<11} {share['right']} of {share['of']} = {share['right'] / share['of']:.1%}")
    for claim, table in summary["confusion"].items():
        wrong = {f"{expected} -> {seen}": count for expected, row in table.items() for seen, count in row.items()
                 if seen != expected}
        if wrong:
            print(f"  wrong {claim}: " + ", ".join(f"{name} {count}" for name, count in sorted(wrong.items(), key=lambda w: -w[1])))


def report_outlines(pictures) -> None:
    """How crooked the shapes are that were judged right: distance of their outline from the true one, in radii."""
    errors = [shape["outline_error"] for picture in pictures if picture["holds"] for shape in picture["shapes"]]
    if errors:
        print(f"  outlines    off by {np.mean(errors):.4f} radii in the mean, {np.percentile(errors, 95):.4f} at 95 % of shapes")


def write_sheet(folder: pathlib.Path, names: list, path: pathlib.Path) -> None:
    """24 pictures, evenly from all, six a row."""
    chosen = [np.asarray(Image.open(folder / name)) for name in names[:: max(1, len(names) // 24)][:24]]
    Image.fromarray(np.concatenate([np.concatenate(chosen[i:i + 6], axis=1) for i in range(0, len(chosen), 6)])).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("darkroom", "grade", "model"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--singles", type=int, default=250)
    parser.add_argument("--pairs", type=int, default=250)
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--seed", type=int, default=880_001)
    parser.add_argument("--sheet", type=pathlib.Path)
    parser.add_argument("flags", nargs="*", help="more flags of darkroom generate, behind --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        captions = draw(options, held_out(options), folder)
        listing = folder / "captions.json"
        listing.write_text(json.dumps(captions))
        answer = subprocess.run([options.grade, "--list", listing, folder], check=True, capture_output=True, text=True)
        graded = json.loads(answer.stdout)
        report(graded["summary"])
        report_outlines(graded["pictures"].values())
        if options.sheet:
            write_sheet(folder, list(captions), options.sheet)


if __name__ == "__main__":
    main()
