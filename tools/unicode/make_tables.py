#!/usr/bin/env python3
"""Writes src/text/unicode_tables.cc: make_tables.py UCD_FOLDER > src/text/unicode_tables.cc

UCD_FOLDER holds five files of the Unicode Character Database, of the version in UNICODE, as
https://www.unicode.org/Public/17.0.0/ucd/ has them: UnicodeData.txt, DerivedAge.txt, CompositionExclusions.txt,
GraphemeBreakProperty.txt (in auxiliary/ there) and emoji-data.txt (in emoji/ there).

The reference tokenizers are made of libraries that know different versions of Unicode. Nothing that a library asks
changes for a character once it has been assigned, so each older version is the new one without younger characters.
"""
import sys
from pathlib import Path

UNICODE = (17, 0)   # of the files; lower case and clusters have all of it
PATTERNS = (16, 0)  # letters, numbers and words
NFC = (9, 0)        # normalisation

CLUSTER_KINDS = ["Control", "CR", "LF", "Extend", "Prepend", "SpacingMark", "L", "V", "T", "LV", "LVT", "ZWJ",
                 "Regional_Indicator", "Extended_Pictographic"]
HANGUL = range(0xAC00, 0xD7A4)
# Alphabetic symbols: circled and squared Latin letters. All else that is alphabetic is a letter, a mark or a number.
ALPHABETIC_SYMBOLS = [(0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189)]
JOINERS = [(0x200C, 0x200D)]


def fields(path):
    """The fields of each line, without comments."""
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line:
            yield [field.strip() for field in line.split(";")]


def codes_of(text):
    first, _, last = text.partition("..")
    return range(int(first, 16), int(last or first, 16) + 1)


def read_characters(path):
    """{code: fields of UnicodeData.txt}; the pairs of lines <X, First> and <X, Last> are spread out."""
    characters, first = {}, 0
    for row in fields(path):
        code = int(row[0], 16)
        if row[1].endswith("First>"):
            first = code
            continue
        for each in range(first if row[1].endswith("Last>") else code, code + 1):
            characters[each] = row
    return characters


def read_kinds(path, wanted):
    return {code: row[1] for row in fields(path) if row[1] in wanted for code in codes_of(row[0])}


class Database:
    def __init__(self, folder):
        self.characters = read_characters(folder / "UnicodeData.txt")
        self.age = {code: tuple(int(part) for part in row[1].split("."))
                    for row in fields(folder / "DerivedAge.txt") for code in codes_of(row[0])}
        self.excluded = {int(row[0], 16) for row in fields(folder / "CompositionExclusions.txt")}
        self.clusters = read_kinds(folder / "emoji-data.txt", ["Extended_Pictographic"])
        self.clusters |= read_kinds(folder / "GraphemeBreakProperty.txt", CLUSTER_KINDS)
        self.check(folder)

    def check(self, folder):
        version = "-%d.%d.0.txt" % UNICODE
        for name in ["DerivedAge", "GraphemeBreakProperty"]:
            with open(folder / (name + ".txt"), encoding="utf-8") as file:
                if version not in file.readline():
                    sys.exit(f"{folder / name}.txt is not of Unicode {UNICODE[0]}.{UNICODE[1]}")
        # UnicodeData.txt names no version; every character of it must have an age, and the other way round.
        aged = {code for code in self.age if code & 0xFFFE != 0xFFFE and not 0xFDD0 <= code <= 0xFDEF}
        if aged != set(self.characters):
            sys.exit(f"{folder / 'UnicodeData.txt'} and DerivedAge.txt are of different versions")

    def of_categories(self, categories, version):
        return {code for code, row in self.characters.items() if row[2] in categories and self.age[code] <= version}


def ranges(codes):
    """Sorted [first, last] of runs."""
    out = []
    for code in sorted(codes):
        if out and out[-1][1] == code - 1:
            out[-1][1] = code
        else:
            out.append([code, code])
    return out


def ranges_by_value(values):
    """[first, last, value] of runs of equal values."""
    out = []
    for code in sorted(values):
        if out and out[-1][1] == code - 1 and out[-1][2] == values[code]:
            out[-1][1] = code
        else:
            out.append([code, code, values[code]])
    return out


def lower_rules(database):
    """[first, last, step, distance]: every `step`-th code point from first to last moves by distance."""
    moves = {code: int(row[13], 16) - code for code, row in database.characters.items() if row[13]}
    out = []
    for code in sorted(moves):
        if out and out[-1][3] == moves[code]:
            first, last, step, _ = out[-1]
            gap = code - last
            if gap <= 2 and (first == last or gap == step):
                out[-1][1:3] = [code, gap]
                continue
        out.append([code, code, 1, moves[code]])
    return out


def decompositions(database):
    """{code: (first, second or 0)} by canonical equivalence, without Hangul."""
    out = {}
    for code, row in database.characters.items():
        if row[5] and not row[5].startswith("<") and database.age[code] <= NFC:
            parts = [int(part, 16) for part in row[5].split()]
            out[code] = (parts[0], parts[1] if len(parts) > 1 else 0)
    return out


def classes(database):
    return {code: int(row[3]) for code, row in database.characters.items()
            if row[3] != "0" and database.age[code] <= NFC}


def compositions(database, marks):
    """[(first, second, both)], sorted: the decompositions in pairs that do compose again."""
    return sorted((first, second, code) for code, (first, second) in decompositions(database).items()
                  if second and code not in database.excluded and code not in marks and first not in marks)


def hexed(values):
    return [f"0x{value:X}" for value in values]


def table(kind, name, rows):
    print(f"\nconst {kind} {name}Table[] = {{")
    line = "   "
    for row in rows:
        text = " {" + ", ".join(row) + "},"
        if len(line) + len(text) > 110:
            print(line)
            line = "   "
        line += text
    print(f"{line}}};")


def write_tables(database):
    letters = database.of_categories(["Lu", "Ll", "Lt", "Lm", "Lo"], PATTERNS)
    others = database.of_categories(["Mn", "Mc", "Me", "Nd", "Nl", "Pc"], PATTERNS)
    others |= {code for first, last in ALPHABETIC_SYMBOLS + JOINERS for code in range(first, last + 1)}
    marks = classes(database)
    clusters = {code: kind for code, kind in database.clusters.items() if code not in HANGUL}
    tables = [
        ("CodeRange", "kLetters", [hexed(r) for r in ranges(letters)]),
        ("CodeRange", "kNumbers", [hexed(r) for r in ranges(database.of_categories(["Nd", "Nl", "No"], PATTERNS))]),
        ("CodeRange", "kWordsOthers", [hexed(r) for r in ranges(others)]),
        ("LowerRule", "kLowerRules", [hexed(r[:2]) + [str(r[2]), str(r[3])] for r in lower_rules(database)]),
        ("ClassRange", "kCombiningClasses", [hexed(r[:2]) + [str(r[2])] for r in ranges_by_value(marks)]),
        ("Decomposition", "kDecompositions",
         [hexed([code, *parts]) for code, parts in sorted(decompositions(database).items())]),
        ("Composition", "kCompositions", [hexed(row) for row in compositions(database, marks)]),
        ("ClusterRange", "kClusterKinds",
         [hexed(r[:2]) + ["k" + r[2].replace("_", "")] for r in ranges_by_value(clusters)]),
    ]
    print("// Made by tools/unicode/make_tables.py from the Unicode Character Database "
          f"{UNICODE[0]}.{UNICODE[1]}.0; do not edit.\n// clang-format off\n#include \"text/unicode_tables.h\"\n")
    print("namespace darkroom {\n\nnamespace {\n\nusing enum ClusterKind;")
    for entry in tables:
        table(*entry)
    print("\n}  // namespace\n")
    for kind, name, _ in tables:
        print(f"const std::span<const {kind}> {name} = {name}Table;")
    print("\n}  // namespace darkroom")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_tables(Database(Path(sys.argv[1])))
