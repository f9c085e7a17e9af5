#!/usr/bin/env python3
"""Writes fuzz/broken/clip_tokenizer and fuzz/broken/t5_tokenizer; the tests demand an error for each file.

Each file is a tokenizer folder in one (fuzz/tokenizer_bundle.h). The files are committed, so nothing needs this script;
it says what each of them is and makes more of them.
"""
import base64
import json
import pathlib
import struct

ROOT = pathlib.Path(__file__).parent / "broken"


def bundle(**sections):
    """Keyword vocab_json="..." becomes the section vocab.json."""
    out = b""
    for name, text in sections.items():
        if text is None:
            continue
        name = name[::-1].replace("_", ".", 1)[::-1] if name != "prompt" else name
        out += f"=== {name}\n".encode() + (text if isinstance(text, bytes) else text.encode()) + b"\n"
    return out


VOCAB = {"a": 0, "b</w>": 1, "ab</w>": 2, "<|startoftext|>": 3, "<|endoftext|>": 4}
MERGES = "#version: 0.2\na b</w>"


def clip(vocab=VOCAB, merges=MERGES, config=None, special=None):
    dump = lambda value: value if value is None or isinstance(value, (str, bytes)) else json.dumps(value)
    return bundle(vocab_json=dump(vocab), merges_txt=merges, tokenizer_config_json=dump(config),
                  special_tokens_map_json=dump(special))


def without(token):
    return {piece: i for i, piece in enumerate(p for p in VOCAB if p != token)}


REGEX = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
NORMALIZER = {"type": "Sequence", "normalizers": [
    {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, {"type": "Lowercase"}]}
SPLIT = {"type": "Split", "pattern": {"Regex": REGEX}, "behavior": "Removed", "invert": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def steps(*words):
    return {"type": "Sequence", "pretokenizers": list(words)}


def saved(vocab=VOCAB, merges=[["a", "b</w>"]], model={}, normalizer=NORMALIZER, pre_tokenizer=steps(SPLIT, BYTES),
          without=None, config=None, **more):
    """As transformers 5 saves a CLIP tokenizer."""
    document = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
                "model": {"type": "BPE", "vocab": vocab, "merges": merges, **model} if isinstance(model, dict) else model, **more}
    for fields in (document, document["model"]):
        if isinstance(fields, dict):
            fields.pop(without, None)
    return bundle(tokenizer_json=json.dumps(document), tokenizer_config_json=None if config is None else json.dumps(config))


def decoder(**tokens):
    return {"added_tokens_decoder": {key.lstrip("_"): value for key, value in tokens.items()}}


CLIP = {
    "empty": b"", "no_vocab": clip(vocab=None), "vocab_empty_file": clip(vocab=""), "vocab_not_json": clip(vocab="<html>"),
    "vocab_list": clip(vocab=list(VOCAB)), "vocab_no_pieces": clip(vocab={}), "vocab_null": clip(vocab="null"),
    "vocab_cut": clip(vocab=json.dumps(VOCAB)[:-5]), "vocab_zero_byte": clip(vocab=json.dumps(VOCAB).encode() + b"\0"),
    "vocab_bad_utf8": clip(vocab=json.dumps(VOCAB).encode().replace(b'"a"', b'"\xff"')),
    "vocab_nested": clip(vocab="[" * 5000),
    "id_text": clip(vocab={**VOCAB, "c": "5"}), "id_negative": clip(vocab={**VOCAB, "c": -1}),
    "id_real": clip(vocab={**VOCAB, "c": 5.0}), "id_null": clip(vocab={**VOCAB, "c": None}),
    "id_list": clip(vocab={**VOCAB, "c": [5]}), "id_twice": clip(vocab={**VOCAB, "c": 4}),
    "id_past_end": clip(vocab={**VOCAB, "c": 6}), "id_32_bits": clip(vocab={**VOCAB, "c": 2**32 + 5}),
    "id_64_bits": clip(vocab={**VOCAB, "c": 2**64 - 1}), "id_past_64_bits": clip(vocab={**VOCAB, "c": 2**70}),
    "no_start_token": clip(vocab=without("<|startoftext|>")), "no_end_token": clip(vocab=without("<|endoftext|>")),
    "merge_one_piece": clip(merges=MERGES + "\nab</w>"), "merge_three_pieces": clip(merges=MERGES + "\na a a"),
    "merge_two_spaces": clip(merges="a  b</w>"), "merge_blank_line": clip(merges=MERGES + "\n\na b</w>"),
    "merge_unknown_left": clip(merges="q b</w>"), "merge_unknown_right": clip(merges="a q"),
    "merge_unknown_result": clip(merges="b</w> a"), "merge_bad_utf8": clip(merges=b"a \xff"),
    "merge_binary": clip(merges=bytes(range(256))), "merge_json": clip(merges='[["a","b</w>"]]'),
    "config_not_json": clip(config="{"), "config_list": clip(config=[]), "config_number": clip(config="7"),
    "config_bos_number": clip(config={"bos_token": 3}), "config_bos_unknown": clip(config={"bos_token": "<start>"}),
    "config_eos_list": clip(config={"eos_token": ["<|endoftext|>"]}), "config_pad_empty": clip(config={"pad_token": ""}),
    "config_pad_unknown": clip(config={"pad_token": "[PAD]"}), "config_unk_unknown": clip(config={"unk_token": "[UNK]"}),
    "config_left_padding": clip(config={"padding_side": "left"}),
    "config_left_truncation": clip(config={"truncation_side": "left"}),
    "config_side_number": clip(config={"padding_side": 1}),
    "decoder_list": clip(config={"added_tokens_decoder": []}),
    "decoder_id_word": clip(config=decoder(x={"content": "x"})),
    "decoder_id_negative": clip(config={"added_tokens_decoder": {"-1": {"content": "x"}}}),
    "decoder_id_huge": clip(config=decoder(_99999999999999999999={"content": "x"})),
    "decoder_id_gap": clip(config=decoder(_17={"content": "x"})),
    "decoder_id_other": clip(config=decoder(_0={"content": "<|endoftext|>"})),
    "decoder_text": clip(config=decoder(_4="<|endoftext|>")),
    "decoder_no_content": clip(config=decoder(_4={"special": True})),
    "decoder_content_number": clip(config=decoder(_4={"content": 4})),
    "decoder_flag_text": clip(config=decoder(_4={"content": "<|endoftext|>", "lstrip": "yes"})),
    "decoder_twice": clip(config=decoder(_5={"content": "x"}, _6={"content": "x"})),
    "decoder_same_when_normal": clip(config=decoder(_5={"content": "X", "normalized": True},
                                                    _6={"content": "x", "normalized": True})),
    "decoder_long": clip(config=decoder(_5={"content": "x" * 2000})),
    "map_list": clip(special=[]), "map_bos_number": clip(special={"bos_token": 1}),
    "map_not_json": clip(special="bos_token: <s>"), "map_pad_object": clip(special={"pad_token": {"text": "x"}}),
    "extra_text": clip(config={"extra_special_tokens": "x"}), "extra_numbers": clip(config={"extra_special_tokens": [1]}),
}
CLIP |= {
    "saved_empty": bundle(tokenizer_json=""), "saved_list": bundle(tokenizer_json="[]"),
    "saved_cut": bundle(tokenizer_json=saved().decode().split("\n", 1)[1][:300]),
    "saved_over_good_files": clip() + bundle(tokenizer_json="{}"),
    "saved_no_normalizer": saved(without="normalizer"), "saved_normalizer_null": saved(normalizer=None),
    "saved_normalizer_text": saved(normalizer="NFC"), "saved_normalizer_list": saved(normalizer=[]),
    "saved_normalizer_other": saved(normalizer={"type": "BertNormalizer", "lowercase": True}),
    "saved_normalizer_short": saved(normalizer={**NORMALIZER, "normalizers": NORMALIZER["normalizers"][:2]}),
    "saved_normalizer_nfkc": saved(normalizer={**NORMALIZER, "normalizers": [{"type": "NFKC"}, *NORMALIZER["normalizers"][1:]]}),
    "saved_no_pre_tokenizer": saved(without="pre_tokenizer"), "saved_pre_tokenizer_text": saved(pre_tokenizer="ByteLevel"),
    "saved_pre_tokenizer_list": saved(pre_tokenizer=[SPLIT, BYTES]),
    "saved_pre_tokenizer_no_steps": saved(pre_tokenizer={"type": "Sequence"}),
    "saved_pre_tokenizer_texts": saved(pre_tokenizer=steps("Split", "ByteLevel")),
    "saved_pre_tokenizer_one": saved(pre_tokenizer=steps(SPLIT)),
    "saved_pre_tokenizer_three": saved(pre_tokenizer=steps(SPLIT, BYTES, BYTES)),
    "saved_pre_tokenizer_swapped": saved(pre_tokenizer=steps(BYTES, SPLIT)),
    "saved_pre_tokenizer_metaspace": saved(pre_tokenizer={"type": "Metaspace", "replacement": "▁"}),
    "saved_pre_tokenizer_other_pattern": saved(pre_tokenizer=steps({**SPLIT, "pattern": {"Regex": r"\S+"}}, BYTES)),
    "saved_pre_tokenizer_text_pattern": saved(pre_tokenizer=steps({**SPLIT, "pattern": {"String": REGEX}}, BYTES)),
    "saved_pre_tokenizer_isolated": saved(pre_tokenizer=steps({**SPLIT, "behavior": "Isolated"}, BYTES)),
    "saved_pre_tokenizer_prefix": saved(pre_tokenizer=steps(SPLIT, {**BYTES, "add_prefix_space": True})),
    "saved_pre_tokenizer_no_regex": saved(pre_tokenizer=steps(SPLIT, {**BYTES, "use_regex": False})),
    "saved_no_model": saved(without="model"), "saved_model_null": saved(model=None), "saved_model_list": saved(model=[]),
    "saved_model_unigram": saved(model={"type": "Unigram"}), "saved_model_type_number": saved(model={"type": 5}),
    "saved_model_suffix": saved(model={"end_of_word_suffix": "@@"}), "saved_model_prefix": saved(model={"continuing_subword_prefix": "##"}),
    "saved_no_vocab": saved(without="vocab"), "saved_vocab_list": saved(vocab=[[piece, 0.0] for piece in VOCAB]),
    "saved_vocab_no_pieces": saved(vocab={}), "saved_vocab_text": saved(vocab="vocab.json"),
    "saved_id_past_end": saved(vocab={**VOCAB, "c": 6}), "saved_id_twice": saved(vocab={**VOCAB, "c": 4}),
    "saved_no_end_token": saved(vocab=without("<|endoftext|>")),
    "saved_no_merges": saved(without="merges"), "saved_merges_object": saved(merges={"a": "b</w>"}),
    "saved_merges_text": saved(merges="a b</w>"), "saved_merge_one": saved(merges=[["a"]]),
    "saved_merge_three": saved(merges=[["a", "b</w>", "c"]]), "saved_merge_number": saved(merges=[7]),
    "saved_merge_ids": saved(merges=[[0, 1]]), "saved_merge_null": saved(merges=[None]),
    "saved_merge_nested": saved(merges=[[["a"], ["b</w>"]]]), "saved_merge_text_one": saved(merges=["a"]),
    "saved_merge_text_three": saved(merges=["a b</w> c"]), "saved_merge_unknown_left": saved(merges=[["q", "b</w>"]]),
    "saved_merge_unknown_result": saved(merges=[["b</w>", "a"]]),
    "saved_merge_unprintable": saved(merges=[["\x1b[31m\n", "\u202e"]]),
    "saved_added_object": saved(added_tokens={}), "saved_added_no_id": saved(added_tokens=[{"content": "x"}]),
    "saved_added_id_gap": saved(added_tokens=[{"id": 17, "content": "x"}]),
    "saved_added_twice": saved(added_tokens=[{"id": 5, "content": "x"}, {"id": 6, "content": "x"}]),
    "saved_padding_left": saved(padding={"direction": "Left"}), "saved_padding_text": saved(padding="Left"),
    "saved_truncation_left": saved(truncation={"direction": "Left"}), "saved_truncation_number": saved(truncation={"direction": 1}),
    "saved_left_padding_in_settings": saved(padding={"direction": "Right"}, config={"padding_side": "left"}),
}

PIECES = [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁", -2.0], ["▁a", -3.0]]


def t5(pieces=PIECES, model=None, charsmap=None, config=None, special=None, **more):
    document = {"model": {"type": "Unigram", "unk_id": 2, "vocab": pieces} if model is None else model, **more}
    if charsmap is not None:
        text = charsmap if isinstance(charsmap, str) else base64.b64encode(charsmap).decode()
        document["normalizer"] = {"type": "Sequence",
                                  "normalizers": [{"type": "Precompiled", "precompiled_charsmap": text}]}
    dump = lambda value: value if value is None or isinstance(value, str) else json.dumps(value)
    return bundle(tokenizer_json=json.dumps(document), tokenizer_config_json=dump(config),
                  special_tokens_map_json=dump(special))


def raw(text):
    return bundle(tokenizer_json=text)


def trie(units, words, replacements=b"b\0", length=None):
    """A character map of zero units but for `words`; the root's offset is 256."""
    array = [0] * units
    array[0] = 256 << 10
    for index, word in words.items():
        array[index] = word
    size = units * 4 if length is None else length
    return struct.pack("<I", size) + struct.pack(f"<{units}I", *array) + replacements


def edge(node, byte, target, leaf=False):
    """The unit of the child of `node` for `byte`, whose own children are at `target`."""
    child = node ^ byte
    return {child: (child ^ target) << 10 | (256 if leaf else 0) | byte}


LEAF = 1 << 31
A = ord("a")
T5 = {
    "empty": b"", "empty_file": raw(""), "not_json": raw("<!DOCTYPE html>"), "list": raw("[]"), "number": raw("5"),
    "no_model": raw("{}"), "model_null": raw('{"model":null}'), "model_list": t5(model=[]),
    "model_no_vocab": t5(model={"type": "Unigram"}), "model_bpe": t5(model={"type": "BPE", "vocab": PIECES}),
    "model_type_number": t5(model={"type": 1, "vocab": PIECES}),
    "cut": t5()[:60], "nested": raw("[" * 3000 + "]" * 3000),
    "vocab_empty": t5(pieces=[]), "vocab_object": t5(pieces={"a": 1}), "vocab_texts": t5(pieces=["a", "b", "c"]),
    "vocab_two_pieces": t5(pieces=PIECES[:2]), "piece_triple": t5(pieces=PIECES + [["a", 1, 2]]),
    "piece_number": t5(pieces=PIECES + [[1, 1]]), "piece_swapped": t5(pieces=PIECES + [[-1.0, "a"]]),
    "piece_score_text": t5(pieces=PIECES + [["a", "-1"]]), "piece_score_null": t5(pieces=PIECES + [["a", None]]),
    "piece_score_nan": raw('{"model":{"vocab":[["<pad>",NaN],["</s>",0],["<unk>",0]]}}'),
    "piece_score_infinite": raw('{"model":{"vocab":[["<pad>",1e999],["</s>",0],["<unk>",0]]}}'),
    "piece_empty": t5(pieces=PIECES + [["", -1]]), "piece_twice": t5(pieces=PIECES + [["▁a", -1]]),
    "piece_long": t5(pieces=PIECES + [["a" * 2000, -1]]),
    "no_pad": t5(pieces=PIECES[1:]), "no_end": t5(pieces=[["<pad>", 0], ["<x>", 0], ["<unk>", 0]]),
    "unk_id_other": t5(model={"unk_id": 0, "vocab": PIECES}), "unk_id_text": t5(model={"unk_id": "2", "vocab": PIECES}),
    "unk_id_past_end": t5(model={"unk_id": 99, "vocab": PIECES}),
    "normalizer_text": t5(normalizer="NFC"), "normalizer_list": t5(normalizer=[]),
    "normalizer_sequence_empty": t5(normalizer={"type": "Sequence"}),
    "normalizer_sequence_object": t5(normalizer={"type": "Sequence", "normalizers": {}}),
    "normalizer_sequence_texts": t5(normalizer={"type": "Sequence", "normalizers": ["Precompiled"]}),
    "charsmap_number": t5(normalizer={"type": "Precompiled", "precompiled_charsmap": 1}),
    "charsmap_empty": t5(charsmap=b""), "charsmap_base64_cut": t5(charsmap="AAA"),
    "charsmap_base64_character": t5(charsmap="AA*A"), "charsmap_three_bytes": t5(charsmap=b"abc"),
    "charsmap_size_only": t5(charsmap=struct.pack("<I", 4096)), "charsmap_size_zero": t5(charsmap=trie(512, {}, length=0)),
    "charsmap_size_odd": t5(charsmap=trie(512, {}, length=2047)),
    "charsmap_size_huge": t5(charsmap=trie(512, {}, length=2**32 - 4)),
    "charsmap_root_out": t5(charsmap=trie(256, {})), "charsmap_root_far": t5(charsmap=trie(512, {0: 0xFFFFFC00})),
    "charsmap_root_shifted_far": t5(charsmap=trie(512, {0: 0xFFFFFE00})),
    "charsmap_child_out": t5(charsmap=trie(512, edge(256, A, 512))),
    "charsmap_cycle_one": t5(charsmap=trie(512, edge(256, A, 256))),
    "charsmap_cycle_two": t5(charsmap=trie(1024, {**edge(256, A, 512), **edge(512, A, 256)})),
    "charsmap_replacement_out": t5(charsmap=trie(512, {**edge(256, A, 257, True), 257: LEAF | 2})),
    "charsmap_replacement_far": t5(charsmap=trie(512, {**edge(256, A, 257, True), 257: 0xFFFFFFFF})),
    "charsmap_replacement_middle": t5(charsmap=trie(512, {**edge(256, A, 257, True), 257: LEAF | 1}, "é".encode())),
    "charsmap_replacements_bad_utf8": t5(charsmap=trie(512, {**edge(256, A, 257, True), 257: LEAF}, b"\xff\0")),
    "charsmap_no_replacements": t5(charsmap=trie(512, {**edge(256, A, 257, True), 257: LEAF}, b"")),
    "added_object": t5(added_tokens={}), "added_texts": t5(added_tokens=["<pad>"]),
    "added_no_id": t5(added_tokens=[{"content": "<pad>"}]), "added_id_text": t5(added_tokens=[{"id": "0", "content": "<pad>"}]),
    "added_id_negative": t5(added_tokens=[{"id": -1, "content": "<pad>"}]),
    "added_id_huge": t5(added_tokens=[{"id": 2**40, "content": "<pad>"}]),
    "added_id_other": t5(added_tokens=[{"id": 1, "content": "<pad>"}]),
    "added_id_twice": t5(added_tokens=[{"id": 0, "content": "<pad>"}, {"id": 0, "content": "</s>"}]),
    "config_list": t5(config=[]), "config_extra_ids_huge": t5(config={"extra_ids": 10**9}),
    "config_extra_ids_negative": t5(config={"extra_ids": -1}), "config_extra_ids_text": t5(config={"extra_ids": "100"}),
    "config_end_unknown": t5(config={"eos_token": "<end>"}), "config_pad_number": t5(config={"pad_token": 0}),
    "config_decoder_other": t5(config=decoder(_3={"content": "<pad>"})),
    "config_left_padding": t5(config={"padding_side": "left"}), "map_list": t5(special=[]),
    "padding_left": t5(padding={"direction": "Left"}), "truncation_left": t5(truncation={"direction": "Left"}),
    "padding_list": t5(padding=[]),
    "map_end_unknown": t5(special={"eos_token": {"content": "<end>"}}),
}


def main():
    for name, files in (("clip_tokenizer", CLIP), ("t5_tokenizer", T5)):
        folder = ROOT / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in files.items():
            (folder / f"{file}.txt").write_bytes(data)
        print(f"{name}: {len(files)} files")


if __name__ == "__main__":
    main()
