"""Checks the grader (tools/grader) against scenes whose captions are known to be right, and known to be wrong.

    python tools/pinhole/check_grader.py --grade build/grade                    the tables of docs/PINHOLE.md
    python tools/pinhole/check_grader.py --fixtures tests/fixtures/grader       the pictures of tests/grader

For each size, scenes are rendered clean, and degraded as a small model might draw them: blurred, with noise and shifted
colours, with crooked outlines. Each picture is graded with its caption, where all claims must hold, and with a caption
in which one claim was made wrong, where at least one must fail. Ends with code 1 when fewer than 99 % of either are so
(but for crooked outlines, where the right answer is a matter of taste).
"""

import argparse
import collections
import json
import pathlib
import re
import resource
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image, ImageFilter

import scenes  # of this folder

SIZES = (("128x128", 2000), ("256x256", 1000), ("192x128", 1000), ("128x192", 1000), ("96x96", 1000))
DEGRADATIONS = {  # warp and blur: standard deviations in pixels; noise and shift: in 8-bit steps
    "clean": None,
    "soft": {"warp": 0.0, "blur": (0.8, 1.2), "noise": 4.0, "shift": 8.0},
    "softer": {"warp": 0.0, "blur": (1.5, 2.0), "noise": 8.0, "shift": 16.0},
    "warped": {"warp": 1.5, "blur": (0.8, 1.2), "noise": 4.0, "shift": 8.0},
}
WARP_STEP = 12  # pixels between independent displacements
FIXTURE_SIZES = ((96, 96), (128, 128), (128, 96), (96, 128), (112, 112), (160, 96))
GOAL = 0.99
SHAPE = rf"an? (?:(small|large) )?({'|'.join(scenes.COLOURS)}) ({'|'.join(scenes.SHAPES)})"
CAPTION = re.compile(rf"{SHAPE}(?: ({'|'.join(scenes.PLACES[1:])}))?(?: ({'|'.join(scenes.RELATIONS)}) {SHAPE})?"
                     rf" on an? ({'|'.join(scenes.COLOURS)}) background")


def warped(picture: np.ndarray, rng, warp) -> np.ndarray:
    """Each pixel taken from a place nearby, smoothly varying: crooked outlines."""
    height, width, _ = picture.shape
    grid = (height // WARP_STEP + 2, width // WARP_STEP + 2)
    shifts = [np.asarray(Image.fromarray(rng.normal(0, warp, grid).astype(np.float32)).resize((width, height),
              Image.Resampling.BICUBIC)) for _ in range(2)]
    y = np.clip(np.arange(height)[:, None] + shifts[0], 0, height - 1.001)
    x = np.clip(np.arange(width)[None, :] + shifts[1], 0, width - 1.001)
    top, left = y.astype(int), x.astype(int)
    fy, fx = (y - top)[..., None], (x - left)[..., None]
    mixed = ((1 - fy) * ((1 - fx) * picture[top, left] + fx * picture[top, left + 1])
             + fy * ((1 - fx) * picture[top + 1, left] + fx * picture[top + 1, left + 1]))
    return mixed.round().astype(np.uint8)


def degrade(picture: np.ndarray, rng, warp, blur, noise, shift) -> np.ndarray:
    """Warp, blur, one shift of each channel, and noise: half of pixels, half of 4×4 blocks, as decoders leave it."""
    crooked = Image.fromarray(warped(picture, rng, warp) if warp else picture)
    soft = crooked.filter(ImageFilter.GaussianBlur(rng.uniform(*blur)))
    height, width, _ = picture.shape
    coarse = rng.normal(0, noise / 2**0.5, (-(-height // 4), -(-width // 4), 3))
    fine = rng.normal(0, noise / 2**0.5, picture.shape)
    off = rng.uniform(-shift, shift, 3) + fine + coarse.repeat(4, 0).repeat(4, 1)[:height, :width]
    return np.clip(np.asarray(soft, np.float64) + off, 0, 255).round().astype(np.uint8)


def parts_of(caption: str) -> dict:
    size, colour, kind, place, relation, _, colour2, kind2, background = CAPTION.fullmatch(caption).groups()
    shapes = [(colour, kind)] + ([(colour2, kind2)] if relation else [])
    return {"size": size, "place": place, "relation": relation, "shapes": shapes, "background": background}


def text_of(parts: dict) -> str:
    first = f"a {parts['size'] + ' ' if parts['size'] else ''}{' '.join(parts['shapes'][0])}"
    rest = f" {parts['place']}" if parts["place"] else ""
    if parts["relation"]:
        rest += f" {parts['relation']} a {' '.join(parts['shapes'][1])}"
    return f"{first}{rest} on a {parts['background']} background"


def other(rng, values, *not_these):
    return scenes.pick(rng, [value for value in values if value not in not_these])


def with_wrong_relation(parts: dict, rng) -> dict:
    wrong = "above" if parts["relation"] != "above" else other(rng, scenes.RELATIONS, "above")
    swapped = {**parts, "shapes": parts["shapes"][::-1]}
    # Two equal shapes are the same in both orders, and so are two next to each other.
    if parts["relation"] != "next to" and parts["shapes"][0] != parts["shapes"][1] and rng.integers(2):
        return swapped
    return {**parts, "relation": wrong}


def with_wrong_count(parts: dict, rng) -> dict:
    if parts["relation"]:
        return {**parts, "relation": None, "shapes": parts["shapes"][:1]}
    second = (other(rng, scenes.COLOURS, parts["background"]), scenes.pick(rng, scenes.SHAPES))
    return {**parts, "size": None, "place": None, "relation": scenes.pick(rng, scenes.RELATIONS),
            "shapes": [*parts["shapes"], second]}


def wrong_caption(caption: str, rng) -> tuple:
    """The claim that was made wrong, and the caption."""
    parts = parts_of(caption)
    claims = ["colour", "kind", "background", "count"] + [c for c in ("size", "place", "relation") if parts[c]]
    claim = scenes.pick(rng, claims)
    index = rng.integers(len(parts["shapes"]))
    colour, kind = parts["shapes"][index]
    if claim == "colour":
        parts["shapes"][index] = (other(rng, scenes.COLOURS, colour, parts["background"]), kind)
    elif claim == "kind":
        parts["shapes"][index] = (colour, other(rng, scenes.SHAPES, kind))
    elif claim == "background":
        parts["background"] = other(rng, scenes.COLOURS, parts["background"], *(c for c, _ in parts["shapes"]))
    elif claim == "size":
        parts["size"] = other(rng, ("small", "large"), parts["size"])
    elif claim == "place":
        parts["place"] = other(rng, scenes.PLACES[1:], parts["place"])
    else:
        parts = (with_wrong_relation if claim == "relation" else with_wrong_count)(parts, rng)
    return claim, text_of(parts)


def grade(program: str, folder: pathlib.Path, captions: dict) -> dict:
    (folder / "captions.json").write_text(json.dumps(captions))
    done = subprocess.run([program, "--list", folder / "captions.json", folder], check=True, capture_output=True)
    return json.loads(done.stdout)


def check(options, size: str, count: int, degradation: str) -> tuple:
    """A row of the table, and what failed."""
    width, height = map(int, size.split("x"))
    rng = np.random.default_rng([options.seed, width, height, *degradation.encode()])
    drawn = [scenes.random_scene(rng) for _ in range(max(1, int(count * options.share)))]
    right = {f"{index:05}.png": scene.caption for index, scene in enumerate(drawn)}
    wrong = {name: wrong_caption(caption, rng) for name, caption in right.items()}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, scene in zip(right, drawn):
            picture = scenes.render(scene, width, height)
            if DEGRADATIONS[degradation]:
                picture = degrade(picture, rng, **DEGRADATIONS[degradation])
            Image.fromarray(picture).save(folder / name)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        graded = grade(options.grade, folder, right)
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        graded_wrong = grade(options.grade, folder, {name: caption for name, (_, caption) in wrong.items()})
        failed = [(name, graded["pictures"][name]) for name in right if not graded["pictures"][name]["holds"]]
        passed = [(name, graded_wrong["pictures"][name], wrong[name][0]) for name in wrong
                  if graded_wrong["pictures"][name]["holds"]]
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            for name in {entry[0] for entry in failed + passed}:
                (options.keep / f"{size}-{degradation}-{name}").write_bytes((folder / name).read_bytes())
    return {"size": size, "degradation": degradation, "count": len(right), "graded": graded, "failed": failed,
            "passed": passed, "wrong": collections.Counter(claim for claim, _ in wrong.values()), "seconds": seconds}


def percent(right: int, of: int) -> str:
    return f"{100 * right / of:.2f} %" if of else "–"


def largest_error(result: dict) -> float:
    """Of all shapes of pictures that were judged right, in radii: how near they came to being called unclear."""
    pictures = result["graded"]["pictures"].values()
    return max(shape["outline_error"] for picture in pictures if picture["holds"] for shape in picture["shapes"])


def row(result: dict) -> str:
    summary, count = result["graded"]["summary"], result["count"]
    claims = summary["claims"].values()
    cells = [result["size"].replace("x", "×"), result["degradation"], str(count),
             percent(sum(c["right"] for c in claims), sum(c["of"] for c in claims)),
             percent(summary["single"]["right"], summary["single"]["of"]),
             percent(summary["pair"]["right"], summary["pair"]["of"]),
             percent(count - len(result["passed"]), count), f"{largest_error(result):.3f}",
             f"{1000 * result['seconds'] / count:.1f}"]
    return "| " + " | ".join(cells) + " |"


def explain(result: dict) -> None:
    for name, picture in result["failed"]:
        claims = [claim for claim in picture["claims"] if not claim["holds"]]
        fails = "; ".join(f"{claim['claim']} {claim['expected']} seen as {claim['seen']}" for claim in claims)
        print(f"  {result['size']} {result['degradation']} {name}: {picture['caption']}: {fails}")
    for name, picture, claim in result["passed"]:
        print(f"  {result['size']} {result['degradation']} {name}: wrong {claim} not seen: {picture['caption']}")


def write_fixtures(folder: pathlib.Path) -> None:
    """60 clean scenes of several sizes, and their captions."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    captions = {}
    for index in range(60):
        width, height = FIXTURE_SIZES[index % len(FIXTURE_SIZES)]
        scene = scenes.random_scene(rng)
        captions[f"{index:02}.png"] = scene.caption
        Image.fromarray(scenes.render(scene, width, height)).save(folder / f"{index:02}.png", optimize=True)
    (folder / "captions.json").write_text(json.dumps(captions, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grade", default="build/grade", help="the program")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the scenes, for a quicker look")
    parser.add_argument("--degradations", nargs="*", choices=DEGRADATIONS, help="all unless told")
    parser.add_argument("--sizes", nargs="*", choices=[size for size, _ in SIZES], help="all unless told")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the pictures that were misjudged")
    parser.add_argument("--fixtures", type=pathlib.Path, help="write the tests' pictures into this folder instead")
    options = parser.parse_args()
    if options.fixtures:
        return write_fixtures(options.fixtures)
    print("| size | pictures | scenes | claims right | singles right | pairs right | wrong captions rejected"
          " | largest outline error | processor ms each |\n|---|---|---|---|---|---|---|---|---|")
    results = []
    for degradation in options.degradations or DEGRADATIONS:
        for size, count in SIZES:
            if options.sizes and size not in options.sizes:
                continue
            results.append(check(options, size, count, degradation))
            print(row(results[-1]), flush=True)
    for result in results:
        explain(result)
    for claim in sorted({claim for result in results for claim in result["wrong"]}):
        of = sum(result["wrong"][claim] for result in results)
        missed = sum(entry[2] == claim for result in results for entry in result["passed"])
        print(f"wrong {claim}: {of - missed} of {of} rejected")
    judged = [result for result in results if result["degradation"] != "warped"]
    sys.exit(any(max(len(r["failed"]), len(r["passed"])) > (1 - GOAL) * r["count"] for r in judged))


if __name__ == "__main__":
    main()
