#!/usr/bin/env python3
"""Writes the broken safetensors files, scales, configs and indexes of fuzz/broken; the tests demand an error for each.

The files are committed, so nothing needs this script; it says what each of them is and makes more of them.
"""
import json
import pathlib
import struct

ROOT = pathlib.Path(__file__).parent / "broken"
LIMIT = 100_000_000


def entry(shape=(4,), dtype="F32", offsets=(0, 16), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def file(header, data=16, length=None):
    """A file of a header (bytes, text, or an object for JSON) and that many data bytes (or the bytes themselves)."""
    if not isinstance(header, (bytes, str)):
        header = json.dumps(header)
    header = header.encode("utf-8", "surrogatepass") if isinstance(header, str) else header
    data = bytes(data) if isinstance(data, int) else data
    return struct.pack("<Q", len(header) if length is None else length) + header + data


GOOD = file({"a": entry()})
TEXT = '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'


def with_field(name, text):
    """TEXT with the value of one field replaced by JSON text."""
    fields = {"dtype": '"F32"', "shape": "[4]", "data_offsets": "[0,16]", name: text}
    return file('{"a":{%s}}' % ",".join(f'"{k}":{v}' for k, v in fields.items()))


SAFETENSORS = {
    # Not a safetensors file, or not all of one.
    "empty": b"",
    "seven_bytes": b"\x10" + bytes(6),
    "length_only": struct.pack("<Q", 0),
    "length_past_end": file(TEXT, length=4096),
    "length_over_limit": file(TEXT, length=LIMIT + 1),
    "length_all_ones": file(TEXT, length=2**64 - 1),
    "length_sign_bit": file(TEXT, length=2**63),
    "length_wraps_with_8": file(TEXT, length=2**64 - 8),
    "length_one_short": file(TEXT, length=len(TEXT) - 1),
    "length_one_long": file(TEXT, length=len(TEXT) + 1),
    "length_big_endian": struct.pack(">Q", len(TEXT)) + TEXT.encode() + bytes(16),
    "cut_in_data": GOOD[:-1],
    "cut_in_header": GOOD[:30],
    "one_byte_more": GOOD + b"\0",
    "git_lfs_pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 23802816640\n",
    "web_page": b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n",
    "web_page_upper_case": b"\r\n  <HTML><BODY>403</BODY></HTML>\n",
    "xml_error": b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>',
    "json_error": b'{"error":"Access to model black-forest-labs/FLUX.1-dev is restricted."}',
    "pytorch_zip": b"PK\x03\x04" + bytes(40),
    "pytorch_pickle": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(40),
    "gzip": b"\x1f\x8b\x08\0" + bytes(40),
    # The header is not the JSON that it must be.
    "header_empty": file("", data=16),
    "header_not_json": file("{not json at all}", data=0),
    "header_array": file("[]", data=0),
    "header_leading_form_feed": file("\f" + TEXT),
    "header_only_blanks": file(" \n\t\r"),
    "header_byte_order_mark": file("\ufeff" + TEXT),
    "header_unclosed": file(TEXT[:-1]),
    "header_two_objects": file(TEXT + "{}"),
    "header_trailing_comma": file(TEXT[:-1] + ",}"),
    "header_comment": file(TEXT + "/*x*/"),
    "header_zero_padding": file(TEXT + "\0\0\0"),
    "header_zero_then_garbage": file(TEXT + "\0{}{}{}"),
    "header_bad_utf8": file(TEXT.replace("a", "\udcff", 1).encode("utf-8", "surrogateescape")),
    "header_overlong_utf8": file(TEXT.encode().replace(b'"a"', b'"\xc0\xaf"')),
    "header_lone_surrogate_escape": file(TEXT.replace('"a"', '"\\ud800"')),
    "header_raw_newline_in_name": file(TEXT.replace('"a"', '"a\n"')),
    "header_utf16": file(TEXT.encode("utf-16-le")),
    "nested_lists": file('{"a":' + "[" * 5000 + "]" * 5000 + "}"),
    "nested_objects": file('{"a":' * 5000 + "1" + "}" * 5000),
    # Names and metadata.
    "name_twice": file('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'),
    "name_twice_escaped": file('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"\\u0061":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'),
    "name_twice_first_empty": file('{"a":{},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    "name_twice_last_too_small": file('{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}}'),
    "metadata_twice": file('{"__metadata__":{},"__metadata__":{}}', data=0),
    "metadata_key_twice_first_number": file('{"__metadata__":{"k":1,"k":"2"}}', data=0),
    "metadata_null_twice": file('{"__metadata__":null,"__metadata__":null}', data=0),
    "metadata_number": file('{"__metadata__":{"k":1}}', data=0),
    "metadata_nested": file('{"__metadata__":{"k":{"x":"y"}}}', data=0),
    "metadata_list": file('{"__metadata__":[]}', data=0),
    "metadata_text": file('{"__metadata__":"x"}', data=0),
    "metadata_null_value": file('{"__metadata__":{"k":null}}', data=0),
    "metadata_as_tensor": file('{"__metadata__":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    # The fields of an entry.
    "entry_null": file('{"a":null}', data=0),
    "entry_list_short": file('{"a":["F32",[4]]}'),
    "entry_list_long": file('{"a":["F32",[4],[0,16],0]}'),
    "entry_list_other_order": file('{"a":[[4],"F32",[0,16]]}'),
    "entry_list_closed_as_object": file('{"a":["F32",[4],[0,16]}'),
    "entry_empty": file('{"a":{}}', data=0),
    "dtype_missing": file('{"a":{"shape":[4],"data_offsets":[0,16]}}'),
    "shape_missing": file('{"a":{"dtype":"F32","data_offsets":[0,16]}}'),
    "offsets_missing": file('{"a":{"dtype":"F32","shape":[4]}}'),
    "field_unknown_nested_too_deep": file(TEXT.replace("}}", ',"x":' + "[" * 126 + "]" * 126 + "}}")),
    "field_unknown_number_too_large": file(TEXT.replace("}}", ',"x":1e400}}')),
    "field_unknown_alone": file('{"a":{"strides":[1]}}'),
    "field_twice": file('{"a":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    "shape_twice": file('{"a":{"dtype":"F32","shape":[4],"shape":[4],"data_offsets":[0,16]}}'),
    "offsets_twice": file('{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"data_offsets":[0,16]}}'),
    "dtype_unknown": with_field("dtype", '"F33"'),
    "dtype_lower_case": with_field("dtype", '"f32"'),
    "dtype_empty": with_field("dtype", '""'),
    "dtype_number": with_field("dtype", "32"),
    "dtype_null": with_field("dtype", "null"),
    "dtype_object_empty": with_field("dtype", "{}"),
    "dtype_object_of_two": with_field("dtype", '{"F32":null,"F16":null}'),
    "dtype_object_not_null": with_field("dtype", '{"F32":0}'),
    "dtype_object_of_object": with_field("dtype", '{"F32":{}}'),
    "dtype_escape_sequences": with_field("dtype", '"\\u001b[2J\\nX"'),
    "shape_number": with_field("shape", "4"),
    "shape_negative": with_field("shape", "[-4]"),
    "shape_negative_zero": with_field("shape", "[-0]"),
    "shape_two_negatives": with_field("shape", "[-2,-2]"),
    "shape_real": with_field("shape", "[4.0]"),
    "shape_exponent": with_field("shape", "[4e0]"),
    "shape_text": with_field("shape", '["4"]'),
    "shape_nested": with_field("shape", "[[4]]"),
    "shape_null": with_field("shape", "[null]"),
    "shape_true": with_field("shape", "[true,4]"),
    "shape_too_large_for_64_bits": with_field("shape", "[18446744073709551616]"),
    "shape_wraps_to_4": with_field("shape", "[4611686018427387905,4]"),
    "shape_product_overflows": with_field("shape", "[4294967296,4294967296]"),
    "shape_overflows_then_zero": file({"a": entry((2**33, 2**33, 0), offsets=(0, 0))}, data=0),
    "shape_size_overflows": with_field("shape", "[4611686018427387904]"),
    "shape_2_to_63": with_field("shape", "[9223372036854775808,0]"),
    "shape_too_small": with_field("shape", "[3]"),
    "shape_too_large": with_field("shape", "[5]"),
    "shape_zero_with_data": with_field("shape", "[0]"),
    "shape_scalar_with_too_much_data": with_field("shape", "[]"),
    "shape_of_40_extents": with_field("shape", "[" + "1," * 39 + "4]"),
    "offsets_reversed": with_field("data_offsets", "[16,0]"),
    "offsets_one": with_field("data_offsets", "[16]"),
    "offsets_three": with_field("data_offsets", "[0,16,16]"),
    "offsets_none": with_field("data_offsets", "[]"),
    "offsets_negative": with_field("data_offsets", "[-16,0]"),
    "offsets_real": with_field("data_offsets", "[0,16.0]"),
    "offsets_text": with_field("data_offsets", '["0","16"]'),
    "offsets_null": with_field("data_offsets", "null"),
    "offsets_hole_at_start": file({"a": entry(offsets=(8, 24))}, data=24),
    "offsets_hole_between": file({"a": entry(offsets=(0, 16)), "b": entry(offsets=(20, 36))}, data=36),
    "offsets_overlap": file({"a": entry(offsets=(0, 16)), "b": entry(offsets=(12, 28))}, data=28),
    "offsets_same_place": file({"a": entry(offsets=(0, 16)), "b": entry(offsets=(0, 16))}, data=16),
    "offsets_past_end": file({"a": entry((400,), offsets=(0, 1600))}, data=16),
    "offsets_huge": file({"a": entry((2**60,), "I8", (0, 2**60))}, data=16),
    "offsets_near_2_to_64": file({"a": entry((1,), "U8", (2**64 - 2, 2**64 - 1))}, data=16),
    "offsets_wrap": file({"a": entry((8,), "U8", (2**64 - 4, 4))}, data=16),
    "offsets_data_uncovered": file({"a": entry((2,), offsets=(0, 8))}, data=16),
    "no_tensors_but_data": file({}, data=16),
    "half_byte": file({"a": entry((3,), "F4", (0, 1))}, data=1),
    "too_many_tensors": file("{" + ",".join('"%x":0' % i for i in range(2000)) + "}", data=0),
}



def scaled(scale=(), dtype="I8", shape=(2,), scale_dtype="F32", weight=(2, 3), name="a.weight_scale", kind="f"):
    """A file of a matrix `a.weight` and its scales."""
    count, size = weight[0] * weight[1], {"I8": 1, "F8_E4M3": 1, "BF16": 2}[dtype]
    pad = -count * size % 8
    data = bytes(count * size + pad) + b"".join(struct.pack("<" + kind, s) for s in scale)
    tensors = {"a.weight": entry(weight, dtype, (0, count * size)),
               "pad": entry((pad,), "U8", (count * size, count * size + pad))}
    if scale:
        tensors[name] = entry(shape, scale_dtype, (count * size + pad, len(data)))
    return file(tensors, data=data)


NAN, INFINITE = float("nan"), float("inf")

# Good safetensors files whose matrix [2, 3] cannot be used.
SCALES = {
    "i8_without": scaled(),
    "nan": scaled((0.5, NAN)),
    "infinite": scaled((INFINITE, 0.5)),
    "zero": scaled((0.5, 0.0)),
    "minus_zero": scaled((-0.0,), shape=()),
    "negative": scaled((-0.5,), shape=(1,), dtype="F8_E4M3"),
    "subnormal": scaled((1e-40,), shape=(1,)),
    "huge": scaled((2e6,), shape=(1,), dtype="F8_E4M3"),
    "three_for_two_rows": scaled((0.5, 0.5, 0.5), shape=(3,)),
    "one_per_column": scaled((0.5, 0.5, 0.5), shape=(1, 3)),
    "one_per_element": scaled((0.5,) * 6, shape=(2, 3)),
    "three_extents": scaled((0.5, 0.5), shape=(2, 1, 1)),
    "row_vector": scaled((0.5, 0.5), shape=(1, 2)),
    "in_f64": scaled((0.5, 0.5), scale_dtype="F64", kind="d"),
    "in_f16": scaled((0.5, 0.5), scale_dtype="F16", kind="e"),
    "in_i32": scaled((1, 1), scale_dtype="I32", kind="i"),
    "of_bf16": scaled((0.5,), shape=(1,), dtype="BF16"),
    "blocks": scaled((0.5,) * 4, shape=(2, 2), dtype="F8_E4M3", name="a.weight_scale_inv"),
    "blocks_in_one_row": scaled((0.5, 0.5), shape=(1, 2), dtype="F8_E4M3", name="a.weight_scale_inv"),
    "inverse_nan": scaled((NAN,), shape=(1,), dtype="F8_E4M3", name="a.weight_scale_inv"),
    "inverse_of_bf16": scaled((0.5,), shape=(1,), dtype="BF16", name="a.weight_scale_inv"),
    "other_name_nan": scaled((NAN,), shape=(), dtype="F8_E4M3", name="a.scale_weight"),
}

CONFIG_GOOD = {"_class_name": "X", "num_layers": 19, "num_attention_heads": 24, "scaling_factor": 0.36,
               "guidance_embeds": True, "axes_dims_rope": [16, 56, 56]}


def config(text=None, **fields):
    if text is not None:
        return text if isinstance(text, bytes) else text.encode()
    return json.dumps({**CONFIG_GOOD, **fields}).encode()


def raw(field, value):
    """The good config with one value that json.dumps would not write."""
    return json.dumps({**CONFIG_GOOD, field: "VALUE"}).replace('"VALUE"', value).encode()


INDEX = '{"metadata":{"total_size":8},"weight_map":{"a":%s}}'

CONFIG = {
    "empty": b"",
    "space": b"   \n",
    "array": b"[1]",
    "number": b"3",
    "text": b'"text"',
    "null": b"null",
    "web_page": b"<!DOCTYPE html><html></html>",
    "unclosed": config()[:-1],
    "two_objects": config() + b"{}",
    "zero_byte": config() + b"\0",
    "bad_utf8": config().replace(b"X", b"\xff"),
    "utf16": config().decode().encode("utf-16"),
    "byte_order_mark_then_nothing": b"\xef\xbb\xbf",
    "python_literal": b"{'num_layers': 19}",
    "trailing_comma": b'{"num_layers": 19,}',
    "nested_lists": b'{"num_layers": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    "nested_objects": b'{"num_layers": ' + b'{"a":' * 3000 + b"1" + b"}" * 3001,
    "nested_unclosed": b"[" * 5000,
    "layers_missing": b"{}",
    "layers_null": config(num_layers=None),
    "layers_negative": config(num_layers=-1),
    "layers_zero": config(num_layers=0),
    "layers_too_many": config(num_layers=1001),
    "layers_real": config(num_layers=19.0),
    "layers_text": config(num_layers="19"),
    "layers_list": config(num_layers=[19]),
    "layers_2_to_64": raw("num_layers", "18446744073709551615"),
    "layers_past_64_bits": raw("num_layers", "1" + "0" * 400),
    "layers_minus_2_to_63": raw("num_layers", "-9223372036854775808"),
    "heads_true": config(num_attention_heads=True),
    "factor_infinite": raw("scaling_factor", "1e999"),
    "factor_nan": raw("scaling_factor", "NaN"),
    "factor_negative": config(scaling_factor=-1),
    "factor_text": config(scaling_factor="0.36"),
    "guidance_number": config(guidance_embeds=1),
    "class_number": config(_class_name=7),
    "axes_number": config(axes_dims_rope=16),
    "axes_negative": config(axes_dims_rope=[16, -56, 56]),
    "axes_mixed": config(axes_dims_rope=[16, "56", 56]),
    "axes_endless": config(axes_dims_rope=[1] * 5000),
    "axes_nested": config(axes_dims_rope=[[16]]),
    "index_no_map": config(),
    "index_array": b"[]",
    "index_map_empty": b'{"weight_map":{}}',
    "index_map_list": b'{"weight_map":["a"]}',
    "index_map_null": b'{"weight_map":null}',
    "index_shard_number": config(INDEX % "1"),
    "index_shard_null": config(INDEX % "null"),
    "index_shard_empty": config(INDEX % '""'),
    "index_shard_parent": config(INDEX % '"../a.safetensors"'),
    "index_shard_only_dots": config(INDEX % '".."'),
    "index_shard_absolute": config(INDEX % '"/etc/a.safetensors"'),
    "index_shard_folder": config(INDEX % '"sub/a.safetensors"'),
    "index_shard_backslash": config(INDEX % '"..\\\\a.safetensors"'),
    "index_shard_zero_byte": config(INDEX % '"/etc/passwd\\u0000.safetensors"'),
    "index_shard_hidden": config(INDEX % '".a.safetensors"'),
    "index_shard_suffix_only": config(INDEX % '".safetensors"'),
    "index_shard_pickle": config(INDEX % '"pytorch_model.bin"'),
    "index_shard_long": config(INDEX % ('"' + "a" * 5000 + '.safetensors"')),
    "index_too_many_shards": json.dumps({"weight_map": {str(i): f"{i}.safetensors" for i in range(1001)}}).encode(),
    "index_nested": config(INDEX % ("[" * 9000 + "]" * 9000)),
}

for folder, files, suffix in (("safetensors", SAFETENSORS, ".safetensors"), ("scales", SCALES, ".safetensors"),
                              ("config", CONFIG, ".json")):
    (ROOT / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (ROOT / folder / (name + suffix)).write_bytes(content)
