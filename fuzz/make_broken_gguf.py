#!/usr/bin/env python3
"""Writes the broken files of fuzz/broken/gguf, and good ones into fuzz/seeds/gguf; the tests demand an error for each of
the former.

The files are committed, so nothing needs this script; it says what each of them is and makes more of them.
"""
import pathlib
import struct

ROOT = pathlib.Path(__file__).parent
U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = range(13)
TYPE_F32, TYPE_Q4_K, TYPE_IQ2_XXS = 0, 12, 16


def text(value, length=None):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(value) if length is None else length) + value


def field(key, kind, value, length=None):
    return text(key, length) + struct.pack("<I", kind) + value


def array(kind, count, values=b""):
    return struct.pack("<IQ", kind, count) + values


def tensor(name="a", extents=(4,), kind=TYPE_F32, begin=0, rank=None, length=None):
    extents = struct.pack(f"<{len(extents)}Q", *extents)
    return text(name, length) + struct.pack("<I", len(extents) // 8 if rank is None else rank) + extents + struct.pack(
        "<IQ", kind, begin)


def file(tensors=(), fields=(), data=32, version=3, tensor_count=None, field_count=None, alignment=32, magic=b"GGUF"):
    head = magic + struct.pack("<IQQ", version, len(tensors) if tensor_count is None else tensor_count,
                               len(fields) if field_count is None else field_count)
    head += b"".join(fields) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + bytes(data)


def with_field(kind, value, key="k"):
    return file([tensor()], [field(key, kind, value)])


def with_alignment(value, kind=U32):
    return file([tensor()], [field("general.alignment", kind, value)])


GOOD = file([tensor()], [field("general.architecture", TEXT, text("flux"))])
NESTED = array(ARRAY, 1)  # without its one value

BROKEN = {
    # Not all of a file, or not of a version that is read.
    "magic_only": b"GGUF",
    "version_cut": b"GGUF\x03\0",
    "version_0": file([tensor()], version=0),
    "version_1": file([tensor()], version=1),
    "version_4": file([tensor()], version=4),
    "big_endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "counts_cut": GOOD[:20],
    "cut_in_key": GOOD[:40],
    "cut_in_tensor": GOOD[:100],
    "cut_in_padding": file([tensor()], data=0)[:-1],
    "cut_in_data": file([tensor()], data=15),
    "tensor_count_2_to_63": file([tensor()], tensor_count=2**63),
    "tensor_count_100001": file([tensor()], tensor_count=100_001),
    "tensor_count_one_more": file([tensor()], tensor_count=100_000),
    "field_count_all_ones": file([tensor()], field_count=2**64 - 1),
    "field_count_100000": file([tensor()], field_count=100_000),
    # Fields.
    "key_twice": file([tensor()], [field("k", U8, b"\1"), field("k", U8, b"\1")]),
    "key_empty": with_field(U8, b"\1", key=""),
    "key_too_long": file([tensor()], [field(b"k" * 65_536, U8, b"\1")]),
    "key_length_2_to_63": file([tensor()], [field("k", U8, b"\1", length=2**63)]),
    "key_zero_byte": with_field(U8, b"\1", key="a\0b"),
    "key_not_utf8": with_field(U8, b"\1", key=b"\xff"),
    "kind_unknown": with_field(13, b"\1"),
    "kind_all_ones": with_field(2**32 - 1, b"\1"),
    "bool_2": with_field(BOOL, b"\2"),
    "bools_2": with_field(ARRAY, array(BOOL, 3, b"\0\1\2")),
    "text_past_end": with_field(TEXT, text("x", length=4096)),
    "text_length_all_ones": with_field(TEXT, text("x", length=2**64 - 1)),
    "text_length_2_to_63": with_field(TEXT, text("x", length=2**63)),
    "text_not_utf8": with_field(TEXT, text(b"\xc0\xaf")),
    "array_kind_unknown": with_field(ARRAY, array(99, 1, b"\1")),
    "array_2_to_40": with_field(ARRAY, array(U8, 2**40)),
    "array_2_to_61_of_8_bytes": with_field(ARRAY, array(F64, 2**61)),
    "array_past_end": with_field(ARRAY, array(F32, 4096)),
    "array_of_texts_2_to_40": with_field(ARRAY, array(TEXT, 2**40)),
    "array_of_texts_past_end": with_field(ARRAY, array(TEXT, 3000)),
    "array_of_texts_one_too_long": with_field(ARRAY, array(TEXT, 2, text("x") + text("y", length=2**62))),
    "array_of_arrays_2_to_40": with_field(ARRAY, array(ARRAY, 2**40)),
    "array_of_arrays_past_end": with_field(ARRAY, array(ARRAY, 3000)),
    "array_of_arrays_inner_2_to_40": with_field(ARRAY, NESTED + array(U64, 2**40)),
    "array_of_arrays_text_2_to_62": with_field(ARRAY, NESTED + array(TEXT, 1, text("", length=2**62))),
    "array_of_arrays_too_deep": with_field(ARRAY, NESTED * 100 + array(U8, 0)),
    "alignment_0": with_alignment(struct.pack("<I", 0)),
    "alignment_33": with_alignment(struct.pack("<I", 33)),
    "alignment_2_to_31": with_alignment(struct.pack("<I", 2**31)),
    "alignment_2_to_63": with_alignment(struct.pack("<Q", 2**63), U64),
    "alignment_negative": with_alignment(struct.pack("<i", -32), I32),
    "alignment_half": with_alignment(struct.pack("<f", 0.5), F32),
    "alignment_nan": with_alignment(struct.pack("<f", float("nan")), F32),
    "alignment_text": with_alignment(text("32"), TEXT),
    "alignment_list": with_alignment(array(U32, 1, struct.pack("<I", 32)), ARRAY),
    # Tensors.
    "name_twice": file([tensor(), tensor(begin=32)], data=64),
    "name_empty": file([tensor("")]),
    "name_513_bytes": file([tensor("n" * 513)]),
    "name_1_mib_promised": file([tensor(length=2**20)]),
    "name_length_all_ones": file([tensor(length=2**64 - 1)]),
    "name_zero_byte": file([tensor("a\0")]),
    "name_not_utf8": file([tensor(b"\xed\xa0\x80")]),
    "rank_5": file([tensor(extents=(1, 1, 1, 1, 4))]),
    "rank_all_ones": file([tensor(rank=2**32 - 1)]),
    "extent_0": file([tensor(extents=(4, 0))]),
    "extent_2_to_63": file([tensor(extents=(2**63,))]),
    "extents_wrap_to_0": file([tensor(extents=(2**32, 2**32))]),
    "extents_wrap_to_4": file([tensor(extents=(4, 2**62 + 1))]),
    "bytes_wrap": file([tensor(extents=(2**62,))]),
    "bytes_past_end": file([tensor(extents=(2**40,))]),
    "type_unknown": file([tensor(kind=42)]),
    "type_dropped": file([tensor(kind=4)]),
    "type_all_ones": file([tensor(kind=2**32 - 1)]),
    "block_half": file([tensor(extents=(128, 2), kind=TYPE_Q4_K)], data=160),
    "block_scalar": file([tensor(extents=(), kind=TYPE_Q4_K)], data=160),
    "block_one_more_column": file([tensor(extents=(257,), kind=TYPE_Q4_K)], data=320),
    "block_of_listed_type": file([tensor(extents=(32,), kind=TYPE_IQ2_XXS)], data=96),
    "begin_misaligned": file([tensor(begin=4)], data=64),
    "begin_misaligned_for_field": file([tensor(begin=32)], [field("general.alignment", U32, struct.pack("<I", 64))], data=128),
    "begin_past_end": file([tensor(begin=4096)]),
    "begin_2_to_63": file([tensor(begin=2**63)]),
    "begin_wraps": file([tensor(begin=2**64 - 32)]),
    "begin_wraps_with_size": file([tensor(extents=(16,), begin=2**64 - 64)], data=64),
    "overlap": file([tensor(extents=(16,)), tensor("b", begin=32)], data=64),
    "overlap_same_place": file([tensor(), tensor("b")]),
    "overlap_with_first": file([tensor("b", begin=32), tensor(extents=(9,))], data=64),
}

GOOD_FILES = {
    "plain": GOOD,
    "no_tensors": file(data=0),
    "scalar_hole_any_order": file([tensor("b", (2, 3), begin=96), tensor("a", (), begin=0), tensor("c", begin=32)], data=120),
    "fields": file([tensor("q", (256, 2), TYPE_Q4_K), tensor("i", (256,), TYPE_IQ2_XXS, begin=320)], [
        field("general.alignment", U32, struct.pack("<I", 64)), field("u8", U8, b"\xff"), field("i8", I8, b"\xff"),
        field("u16", U16, b"\xff\xff"), field("i16", I16, b"\xff\xff"), field("i32", I32, b"\xff" * 4),
        field("u64", U64, b"\xff" * 8), field("i64", I64, b"\xff" * 8), field("f32", F32, struct.pack("<f", 0.5)),
        field("f64", F64, struct.pack("<d", -1.5)), field("yes", BOOL, b"\1"), field("t", TEXT, text("\u00e9\0x")),
        field("tokens", ARRAY, array(TEXT, 3, text("a") + text("") + text(b"\xff"))),
        field("scores", ARRAY, array(F32, 2, struct.pack("<2f", 1, -2))), field("none", ARRAY, array(I64, 0)),
        field("bools", ARRAY, array(BOOL, 2, b"\1\0")),
        field("nested", ARRAY, array(ARRAY, 2, array(U8, 2, b"ab") + array(ARRAY, 1, array(TEXT, 1, text("deep"))))),
    ], data=512, alignment=64),
    "version_2": file([tensor()], version=2),
}

for folder, files in (("broken", BROKEN), ("seeds", GOOD_FILES)):
    (ROOT / folder / "gguf").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (ROOT / folder / "gguf" / (name + ".gguf")).write_bytes(content)
