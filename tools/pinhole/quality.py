"""What settings of generate gain and cost: a grid of them on the same held-out captions and seeds, graded and compared.

    python tools/pinhole/quality.py guidance|samplers|caches|caches20|weights|int8|smooth --darkroom build/darkroom --grade build/grade --model assets/pinhole
        [--count 200] [--seed 660001] [--jobs 2] [--out quality.json] [--plot quality.png]

Half of the captions have one shape, half two. Prints a Markdown table: adherence (every claim held) with its 95 %
interval, PSNR and SSIM in the mean against the table's reference, share of clipped values (0 or 255), contrast (deviation
of luma), passes of the transformer a picture (with a cache: computed in full), seconds of processor time. The figures of docs/QUALITY.md.
"""

import argparse
import concurrent.futures
import json
import math
import pathlib
import resource
import subprocess
import tempfile

import numpy as np
from PIL import Image

import adherence
import sample

STEPS, CFG = sample.SETTINGS["base"].steps, sample.SETTINGS["base"].guidance


def passes_of(steps: int, guided: float, evaluations: int | None = None) -> float:
    """guided: share of the evaluations that take two passes."""
    return (evaluations or steps) * (1 + guided)


# name: flags of generate, passes a picture. The first row of a grid is what the others are compared with.
GRIDS = {
    "guidance": {
        f"CFG {CFG}": ([], passes_of(STEPS, 1)),
        "no CFG": (["--cfg", "1"], passes_of(STEPS, 0)),
        "CFG 1.5": (["--cfg", "1.5"], passes_of(STEPS, 1)),
        "CFG 2.5": (["--cfg", "2.5"], passes_of(STEPS, 1)),
        "CFG 4": (["--cfg", "4"], passes_of(STEPS, 1)),
        "CFG 7": (["--cfg", "7"], passes_of(STEPS, 1)),
        f"{CFG}, steps 0.1 to 0.8": (["--guidance-interval", "0.1,0.8"], passes_of(STEPS, 0.7)),
        f"{CFG}, steps 0 to 0.5": (["--guidance-interval", "0,0.5"], passes_of(STEPS, 0.5)),
        f"{CFG}, steps 0.5 to 1": (["--guidance-interval", "0.5,1"], passes_of(STEPS, 0.5)),
        "4, steps 0 to 0.5": (["--cfg", "4", "--guidance-interval", "0,0.5"], passes_of(STEPS, 0.5)),
        f"{CFG} triangle": (["--guidance-schedule", "triangle"], passes_of(STEPS, 1)),
        f"{CFG} cosine": (["--guidance-schedule", "cosine"], passes_of(STEPS, 1)),
        f"{CFG} linear": (["--guidance-schedule", "linear"], passes_of(STEPS, 1)),
        f"{CFG} rescale": (["--cfg-method", "rescale"], passes_of(STEPS, 1)),
        f"{CFG} zero-star": (["--cfg-method", "zero-star"], passes_of(STEPS, 1)),
        f"{CFG} apg": (["--cfg-method", "apg"], passes_of(STEPS, 1)),
        f"{CFG} threshold 99.5": (["--threshold", "99.5"], passes_of(STEPS, 1)),
        "7 rescale": (["--cfg", "7", "--cfg-method", "rescale"], passes_of(STEPS, 1)),
        "7 apg": (["--cfg", "7", "--cfg-method", "apg"], passes_of(STEPS, 1)),
        "7 threshold 99.5": (["--cfg", "7", "--threshold", "99.5"], passes_of(STEPS, 1)),
        "7 threshold 99.5, mimic 2": (["--cfg", "7", "--threshold", "99.5,2"], passes_of(STEPS, 1)),
    },
    "samplers": {"euler, 100 steps": (["--steps", "100"], passes_of(100, 1))} | {
        f"{name}, {steps} steps": (["--sampler", name, "--steps", str(steps)],
                                   passes_of(steps, 1, 2 * steps - 1 if name == "heun" else None))
        for steps in (4, 6, 10, 20) for name in ("euler", "heun", "dpm++2m", "ipndm", "euler-a")
    } | {f"euler, {spacing}, {steps} steps": (["--spacing", spacing, "--steps", str(steps)], passes_of(steps, 1))
         for steps in (6, 10, 20) for spacing in ("beta", "karras")},
    "caches": {f"no cache, {steps} steps": (["--steps", str(steps)], passes_of(steps, 1)) for steps in (28, 8, 10, 12, 14, 17, 20, 24)} | {
        cache: (["--steps", "28", "--cache", cache], passes_of(28, 1)) for cache in (
            "teacache:0.25", "teacache:0.4", "teacache:0.6", "teacache:0.8", "teacache:0.4,order=0", "teacache:0.4,order=2",
            "teacache:0.2,poly=none", "fbcache:0.08", "fbcache:0.15", "fbcache:0.3", "fbcache:0.08,order=0", "fbcache:0.08,order=2",
            "dbcache:0.08,front=2,back=1", "dbcache:0.15,front=2,back=1", "dbcache:0.3,front=2,back=1", "light", "balanced", "fast")},
    "caches20": {f"no cache, {steps} steps": (["--steps", str(steps)], passes_of(steps, 1)) for steps in (20, 8, 10, 12, 14)} | {
        cache: (["--cache", cache], passes_of(20, 1)) for cache in (
            "teacache:0.25", "teacache:0.4", "teacache:0.6", "fbcache:0.08", "fbcache:0.15", "dbcache:0.08,front=2,back=1")},
    # Of Pinhole's matrices only one in ten has rows that the K types' blocks of 256 divide.
    "weights": {"as stored, bf16": ([], passes_of(STEPS, 1))} | {
        kind: (["--weights", kind], passes_of(STEPS, 1)) for kind in ("q8_0", "int8", "fp8-scaled", "fp8", "q4_0")},
    # "@rms" stands for factors that calibrate makes by that method.
    "smooth": {
        "bf16": (["--precision", "bf16"], passes_of(STEPS, 1)),
        "int8": (["--precision", "int8"], passes_of(STEPS, 1)),
        "int8, groups of 64": (["--precision", "int8", "--int8-group", "64"], passes_of(STEPS, 1)),
        "int8, rms": (["--precision", "int8", "--smooth", "@rms"], passes_of(STEPS, 1)),
        "int8, smoothquant": (["--precision", "int8", "--smooth", "@smoothquant"], passes_of(STEPS, 1)),
        "int8, ptq4dit": (["--precision", "int8", "--smooth", "@ptq4dit"], passes_of(STEPS, 1)),
        "int8, weights": (["--precision", "int8", "--smooth", "@weights"], passes_of(STEPS, 1)),
    },
    "int8": {
        "bf16": ([], passes_of(STEPS, 1)),
        "int8": (["--precision", "int8"], passes_of(STEPS, 1)),
        "int8, groups of 64": (["--precision", "int8", "--int8-group", "64"], passes_of(STEPS, 1)),
        "int7": (["--precision", "int7"], passes_of(STEPS, 1)),
        "attention int8": (["--attention", "int8"], passes_of(STEPS, 1)),
        "both int8": (["--precision", "int8", "--attention", "int8"], passes_of(STEPS, 1)),
        "text encoders int8": (["--text-precision", "int8"], passes_of(STEPS, 1)),
        "text encoders int8, groups of 64": (["--text-precision", "int8", "--int8-group", "64"], passes_of(STEPS, 1)),
        "int8, text encoders too": (["--precision", "int8", "--text-precision", "int8"], passes_of(STEPS, 1)),
        "int8, CFG 4, cache balanced": (["--precision", "int8", "--cfg", "4", "--cache", "balanced"], passes_of(STEPS, 1)),
        "bf16, CFG 4, cache balanced": (["--cfg", "4", "--cache", "balanced"], passes_of(STEPS, 1)),
    },
}


def luma(picture: np.ndarray) -> np.ndarray:
    return picture @ np.array([0.299, 0.587, 0.114])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a - b) ** 2)
    return 10 * math.log10(255**2 / error) if error > 0 else 99.0


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Of luma, over all 8 × 8 windows (Wang et al. 2004, uniform weights)."""
    def mean(x):
        sums = np.cumsum(np.cumsum(np.pad(x, ((1, 0), (1, 0))), 0), 1)
        return (sums[8:, 8:] - sums[:-8, 8:] - sums[8:, :-8] + sums[:-8, :-8]) / 64
    a, b = luma(a), luma(b)
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(np.mean((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))))


def calibrated(options, flag: str, folder: pathlib.Path) -> str:
    """The flag, or the file of factors that it stands for."""
    if not flag.startswith("@"):
        return flag
    factors = folder / f"{flag[1:]}.safetensors"
    subprocess.run([options.darkroom, "calibrate", "-m", options.model, "--method", flag[1:], "-q", "-o", factors],
                   check=True, stdout=subprocess.DEVNULL)
    return str(factors)


def draw(options, captions: list, flags: list, folder: pathlib.Path) -> float:
    """Pictures NNNN.png; returns seconds of processor time a picture."""
    def one(index: int) -> None:
        subprocess.run([options.darkroom, "generate", "-m", options.model, "-p", captions[index], "-q", "-t", "1", "--seed",
                        str(options.seed + index), "-o", folder / f"{index:04}.png", *flags], check=True, stdout=subprocess.DEVNULL)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, range(len(captions))))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / len(captions)


def measure(options, captions: list, flags: list, reference: list | None) -> tuple[dict, list]:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        flags = [calibrated(options, flag, folder) for flag in flags]
        seconds = draw(options, captions, flags, folder)
        listing = folder / "captions.json"
        listing.write_text(json.dumps({f"{i:04}.png": caption for i, caption in enumerate(captions)}))
        answer = subprocess.run([options.grade, "--list", listing, folder], check=True, capture_output=True, text=True)
        graded = json.loads(answer.stdout)["pictures"]
        files = [Image.open(folder / f"{i:04}.png") for i in range(len(captions))]
        pictures = [np.asarray(file, dtype=np.float64) for file in files]
        recipes = [json.loads(file.text["darkroom"]) for file in files]
    right = sum(picture["holds"] for picture in graded.values())
    errors = [shape["outline_error"] for picture in graded.values() if picture["holds"] for shape in picture["shapes"]]
    row = {"right": right, "of": len(captions), "seconds": seconds, "outline_error": float(np.mean(errors)) if errors else None,
           "clipped": float(np.mean([np.mean((p == 0) | (p == 255)) for p in pictures])),
           "contrast": float(np.mean([luma(p).std() for p in pictures]))}
    if "cache" in recipes[0]:
        row["passes"] = float(np.mean([recipe["passes"] - recipe.get("skipped_passes", 0) for recipe in recipes]))
    if reference:
        row |= {"psnr": float(np.mean([psnr(a, b) for a, b in zip(pictures, reference)])),
                "ssim": float(np.mean([ssim(a, b) for a, b in zip(pictures, reference)]))}
    return row, pictures


def table_line(name: str, passes: float, row: dict) -> str:
    low, high = adherence.wilson(row["right"], row["of"])
    compared = f"{row['psnr']:.1f} | {row['ssim']:.3f}" if "psnr" in row else "– | –"
    return (f"| {name} | {row['right'] / row['of']:.1%} ({low:.1%} to {high:.1%}) | {compared} | {row['outline_error']:.4f} | "
            f"{row['clipped']:.2%} | {row['contrast']:.1f} | {passes:.0f} | {row['seconds']:.2f} |")


def series_of(name: str) -> tuple[str, str]:
    """A row's family and what sets it apart there: "fbcache:0.08,order=2" -> ("fbcache", "0.08,order=2")."""
    for mark in (":", ", ", " "):
        if mark in name:
            family, _, rest = name.partition(mark)
            if family == "no":  # "no cache, 14 steps"
                family, _, rest = name.partition(", ")
            return family, rest.removesuffix(" steps")
    return name, ""


def plot(rows: dict, path: pathlib.Path) -> None:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    families = {}
    for name, row in rows.items():
        family, rest = series_of(name)
        families.setdefault(family, []).append((rest, row))
    figure, (adheres, near) = pyplot.subplots(1, 2, figsize=(14, 6))
    for index, (family, members) in enumerate(families.items()):
        colour = f"C{index % 10}"
        members.sort(key=lambda member: member[1]["passes"])
        for axis, value in ((adheres, lambda r: 100 * r["right"] / r["of"]), (near, lambda r: r.get("psnr"))):
            points = [(row["passes"], value(row), rest) for rest, row in members if value(row) is not None]
            if not points:
                continue
            joined = family in ("no cache", "euler") and axis is near
            axis.plot(*zip(*((x, y) for x, y, _ in points)), "o-" if joined else "o", color=colour, markersize=4,
                      linewidth=0.7, label=family)
            for x, y, rest in points:
                axis.annotate(rest, (x, y), fontsize=6, color=colour, xytext=(4, -2), textcoords="offset points")
    for axis, label in ((adheres, "every claim held, %"), (near, "PSNR to the table's first row, dB")):
        axis.set_xlabel("passes of the transformer a picture")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    near.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", choices=GRIDS)
    for name in ("darkroom", "grade", "model"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=660_001)
    parser.add_argument("--jobs", type=int, default=2, help="pictures at a time, one thread each")
    parser.add_argument("--rows", help="only those whose name contains this, and the first")
    parser.add_argument("--out", type=pathlib.Path, help="JSON of all rows")
    parser.add_argument("--plot", type=pathlib.Path)
    options = parser.parse_args()
    options.singles = options.pairs = options.count // 2
    captions, rows, reference = adherence.held_out(options), {}, None
    print("| settings | every claim held | PSNR | SSIM | outlines off | clipped | contrast | passes | seconds |\n|---|---|---|---|---|---|---|---|---|")
    for name, (flags, passes) in GRIDS[options.grid].items():
        if reference and options.rows and options.rows not in name:
            continue
        row, pictures = measure(options, captions, flags, reference)
        reference = reference or pictures
        rows[name] = {"passes": passes} | row
        print(table_line(name, rows[name]["passes"], row), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
