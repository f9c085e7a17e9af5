"""The world that Pinhole draws: the grammar of its captions, and a renderer of what a caption says.

    python tools/pinhole/scenes.py --count 24 --seed 1 --size 128x128 --out FOLDER     PNGs and captions.json
    python tools/pinhole/scenes.py --sheet sheet.png                                   one picture of 24 scenes

single  a [small|large] COLOUR SHAPE [on the left|on the right|at the top|at the bottom] on a BACKGROUND background
pair    a COLOUR SHAPE (next to|left of|above) a COLOUR SHAPE on a BACKGROUND background

A scene is a caption together with the numbers that the caption leaves open (centres, radii), so one caption has many
pictures. Lengths are fractions of the shorter side of the picture: shapes keep their size in wide and tall pictures.
"""

import argparse
import dataclasses
import hashlib
import json
import pathlib

import numpy as np

COLOURS = {
    "red": (222, 32, 32), "orange": (255, 140, 0), "yellow": (255, 225, 30), "green": (30, 160, 60),
    "blue": (30, 80, 222), "purple": (128, 40, 170), "pink": (255, 150, 190), "brown": (130, 75, 35),
    "black": (16, 16, 16), "white": (248, 248, 248), "grey": (128, 128, 128), "cyan": (0, 210, 225),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")
SIZES = {"": (0.19, 0.225), "small": (0.125, 0.15), "large": (0.30, 0.335)}
PLACES = ("", "on the left", "on the right", "at the top", "at the bottom")
RELATIONS = ("next to", "left of", "above")
PAIR_RADIUS = (0.15, 0.185)

# What a shape's radius of 1 means: the picture of each shape in its own coordinates, y pointing down.
STAR_OUTER, STAR_INNER = 1.12, 0.47
RING_INNER = 0.56
TRIANGLE = ((0.0, -1.05), (1.08, 0.82), (-1.08, 0.82))
SQUARE_HALF, DIAMOND_HALF, CROSS_LONG, CROSS_SHORT = 0.86, 1.15, 1.0, 0.34
SUBSAMPLES = 4  # a side: 16 samples a pixel


@dataclasses.dataclass(frozen=True)
class Shape:
    kind: str
    colour: str
    x: float  # centre, as a fraction of the width
    y: float  # centre, as a fraction of the height
    radius: float  # as a fraction of the shorter side


@dataclasses.dataclass(frozen=True)
class Scene:
    caption: str
    background: str
    shapes: tuple


def star_points() -> tuple:
    angles = -np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2 == 0, STAR_OUTER, STAR_INNER)
    return tuple(zip(radii * np.cos(angles), radii * np.sin(angles)))


def inside_polygon(points, u, v):
    """Even-odd rule: crossings of the ray to the right of each sample."""
    inside = np.zeros(u.shape, bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1]):
        if y0 == y1:
            continue
        crosses = (y0 > v) != (y1 > v)
        inside ^= crosses & (u < (x1 - x0) * (v - y0) / (y1 - y0) + x0)
    return inside


def inside(kind: str, u, v):
    """Whether the points (u, v) of a shape's own coordinates lie in it."""
    if kind == "circle":
        return u * u + v * v <= 1.0
    if kind == "ring":
        r2 = u * u + v * v
        return (r2 <= 1.0) & (r2 >= RING_INNER**2)
    if kind == "square":
        return np.maximum(np.abs(u), np.abs(v)) <= SQUARE_HALF
    if kind == "diamond":
        return np.abs(u) + np.abs(v) <= DIAMOND_HALF
    if kind == "cross":
        a, b = np.abs(u), np.abs(v)
        return (np.maximum(a, b) <= CROSS_LONG) & (np.minimum(a, b) <= CROSS_SHORT)
    if kind == "triangle":
        return inside_polygon(TRIANGLE, u, v)
    if kind == "star":
        return inside_polygon(star_points(), u, v)
    if kind == "heart":
        x, y = u * 1.14, -(v * 1.14) + 0.12
        return (x * x + y * y - 1.0) ** 3 - x * x * y**3 <= 0.0
    raise ValueError(f"no shape {kind!r}")


def render(scene: Scene, width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3]; edges are the mean of SUBSAMPLES² samples a pixel."""
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = COLOURS[scene.background]
    side = min(width, height)
    for shape in scene.shapes:
        cx, cy, radius = shape.x * width, shape.y * height, shape.radius * side
        left, right = max(0, int(cx - 1.3 * radius)), min(width, int(cx + 1.3 * radius) + 2)
        top, bottom = max(0, int(cy - 1.3 * radius)), min(height, int(cy + 1.3 * radius) + 2)
        xs = (np.arange((right - left) * SUBSAMPLES) + 0.5) / SUBSAMPLES + left
        ys = (np.arange((bottom - top) * SUBSAMPLES) + 0.5) / SUBSAMPLES + top
        u, v = np.meshgrid((xs - cx) / radius, (ys - cy) / radius)
        cover = inside(shape.kind, u, v).reshape(bottom - top, SUBSAMPLES, right - left, SUBSAMPLES)
        cover = cover.mean(axis=(1, 3), dtype=np.float32)[..., None]
        area = picture[top:bottom, left:right]
        area += cover * (np.array(COLOURS[shape.colour], np.float32) - area)
    return (picture + 0.5).astype(np.uint8)


def pick(rng, values):
    return values[rng.integers(len(values))]


def article(rng, word: str) -> str:
    """The grammar says "a" throughout; people write "an orange star". Captions have both."""
    return ("an " if word[0] in "aeiou" and rng.integers(2) else "a ") + word


def random_single(rng) -> Scene:
    background, colour = rng.choice(list(COLOURS), 2, replace=False)
    kind, size, place = pick(rng, SHAPES), pick(rng, list(SIZES)), pick(rng, PLACES)
    radius = rng.uniform(*SIZES[size])
    # A large shape stays in the picture: its centre moves less far from the middle.
    near = max(0.27, 1.08 * radius)
    off = near + rng.uniform(-0.03, 0.03) if near == 0.27 else near
    x, y = 0.5 + rng.uniform(-0.05, 0.05), 0.5 + rng.uniform(-0.05, 0.05)
    x = {"on the left": off, "on the right": 1.0 - off}.get(place, x)
    y = {"at the top": off, "at the bottom": 1.0 - off}.get(place, y)
    words = [article(rng, size or colour)] + ([colour] if size else []) + [kind] + ([place] if place else [])
    caption = " ".join(words) + f" on {article(rng, background)} background"
    return Scene(caption, background, (Shape(kind, colour, x, y, radius),))


def random_pair(rng) -> Scene:
    background, first, second = pick(rng, list(COLOURS)), None, None
    others = [colour for colour in COLOURS if colour != background]
    first, second = (pick(rng, others), pick(rng, SHAPES)), (pick(rng, others), pick(rng, SHAPES))
    relation = pick(rng, RELATIONS)
    near, far = 0.26 + rng.uniform(-0.03, 0.03), 0.74 + rng.uniform(-0.03, 0.03)
    across = 0.5 + rng.uniform(-0.06, 0.06), 0.5 + rng.uniform(-0.06, 0.06)
    if relation == "next to" and rng.integers(2):
        near, far = far, near
    shapes = []
    for (colour, kind), along, side in zip((first, second), (near, far), across):
        x, y = (side, along) if relation == "above" else (along, side)
        shapes.append(Shape(kind, colour, x, y, rng.uniform(*PAIR_RADIUS)))
    caption = (f"{article(rng, first[0])} {first[1]} {relation} {article(rng, second[0])} {second[1]}"
               f" on {article(rng, background)} background")
    return Scene(caption, background, tuple(shapes))


def random_scene(rng, pair_share: float = 0.5) -> Scene:
    return random_pair(rng) if rng.random() < pair_share else random_single(rng)


def held_out(caption: str) -> bool:
    """Whether a caption is kept from training: one in eight, whichever way it is written ("a" or "an")."""
    plain = " ".join("a" if word == "an" else word for word in caption.split())
    return hashlib.sha256(plain.encode()).digest()[0] < 32


def is_turned(scene: Scene) -> bool:
    """Whether the second shape of "next to" is on the left."""
    return " next to " in scene.caption and scene.shapes[0].x > scene.shapes[1].x


def training_scene(rng, draw=random_scene) -> Scene:
    """A scene of draw() whose caption is not held out, and that is not turned: a caption that leaves the order open is
    more than a model of this size can decide, and in one picture of five it draws the same shape twice."""
    while held_out((scene := draw(rng)).caption) or is_turned(scene):
        pass
    return scene


def held_out_scene(rng, draw=random_scene) -> Scene:
    """A scene of draw() whose caption no training step has seen."""
    while not held_out((scene := draw(rng)).caption):
        pass
    return scene


def cover_of(scene: Scene, width: int, height: int, patch: int) -> tuple[np.ndarray, np.ndarray]:
    """For every patch × patch square: which of scene.shapes lies on it (-1: none on a tenth of it), int8 [rows,
    columns], and where the square's centre lies in that shape's own coordinates, f32 [rows, columns, 2]."""
    rows, columns, side, steps = height // patch, width // patch, min(width, height), 4
    owner, best = np.full((rows, columns), -1, np.int8), np.full((rows, columns), 0.1, np.float32)
    centre = np.zeros((rows, columns, 2), np.float32)
    xs, ys = ((np.arange(n * steps) + 0.5) * (patch / steps) for n in (columns, rows))
    for index, shape in enumerate(scene.shapes):
        u, v = np.meshgrid((xs - shape.x * width) / (shape.radius * side), (ys - shape.y * height) / (shape.radius * side))
        cover = inside(shape.kind, u, v).reshape(rows, steps, columns, steps).mean(axis=(1, 3))
        here = cover > best
        owner[here], best[here] = index, cover[here]
        middle = np.stack([part.reshape(rows, steps, columns, steps).mean(axis=(1, 3)) for part in (u, v)], axis=-1)
        centre[here] = middle[here]
    return owner, centre


def main() -> None:
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", default="128x128", help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--out", type=pathlib.Path, help="folder for NNNN.png and captions.json")
    parser.add_argument("--sheet", type=pathlib.Path, help="one PNG of all scenes, six a row")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    rng = np.random.default_rng(options.seed)
    scenes = [random_scene(rng) for _ in range(options.count)]
    pictures = [render(scene, width, height) for scene in scenes]
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for index, picture in enumerate(pictures):
            Image.fromarray(picture).save(options.out / f"{index:04}.png")
        captions = {f"{index:04}.png": scene.caption for index, scene in enumerate(scenes)}
        (options.out / "captions.json").write_text(json.dumps(captions, indent=1) + "\n")
    if options.sheet:
        rows = [np.concatenate(pictures[i:i + 6], axis=1) for i in range(0, len(pictures) // 6 * 6, 6)]
        Image.fromarray(np.concatenate(rows)).save(options.sheet)


if __name__ == "__main__":
    main()
