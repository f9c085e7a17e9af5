"""A GGUF file of ours against the safetensors file of the same model in bf16, read by the gguf package.

usage: check_gguf.py MODEL.gguf MODEL.safetensors KIND
"""
import json
import sys

import gguf
import numpy as np

# The largest root mean square error of a matrix, as a part of its own root mean square. Twice to thrice what
# uniform weights give.
LIMITS = {"q8_0": 0.01, "q6_k": 0.03, "q5_k": 0.06, "q5_0": 0.07, "q5_1": 0.06, "q4_k": 0.12, "q4_0": 0.13,
          "q4_1": 0.12, "q3_k": 0.25, "q2_k": 0.5}


def read_safetensors(path):
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = data[begin:end]
        if entry["dtype"] == "BF16":
            wide = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            wide = np.frombuffer(raw, np.float32)
        tensors[name] = wide.reshape(entry["shape"])
    return tensors


def main():
    path, reference, kind = sys.argv[1:]
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.architecture"].contents() == "flux"
    assert reader.fields["general.quantization_version"].contents() == 2
    assert "transformer" in json.loads(reader.fields["darkroom.config"].contents())
    wanted = read_safetensors(reference)
    names = {tensor.name for tensor in reader.tensors}
    assert names == set(wanted), names ^ set(wanted)
    quantised = 0
    for tensor in reader.tensors:
        got = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(wanted[tensor.name].shape)
        want = wanted[tensor.name]
        if tensor.tensor_type.name.lower() != kind:
            assert np.array_equal(got.astype(np.float32), want), tensor.name
            continue
        quantised += 1
        error = np.sqrt(np.mean((got - want) ** 2)) / np.sqrt(np.mean(want**2))
        assert error < LIMITS[kind], (tensor.name, error)
    assert quantised > 0, "nothing is quantised"


main()
