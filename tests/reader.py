"""Recomputes log p(x) of a realnvp model from its file alone, with nothing but Python, and compares.

    reader.py MODEL.safetensors ROWS.csv LOGP.npy TOLERANCE

In double whatever the model is in.  What the file says is all that is used: safetensors (8 bytes of length, JSON,
arrays), in its metadata "diffeo" the layers; standardise, actnorm, affine coupling with a ReLU net, a normal base."""
import array
import ast
import json
import math
import struct
import sys


def model(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    about = json.loads(header.pop("__metadata__")["diffeo"])
    arrays = {}
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        values = array.array({"F32": "f", "F64": "d"}[entry["dtype"]], data[first:end]).tolist()
        wide = entry["shape"][-1]
        arrays[name] = values if len(entry["shape"]) == 1 else [values[i:i + wide] for i in range(0, len(values), wide)]
    return about["architecture"], arrays


def logs(path):
    with open(path, "rb") as file:
        assert file.read(8) == b"\x93NUMPY\x01\x00"
        header = ast.literal_eval(file.read(struct.unpack("<H", file.read(2))[0]).decode())
        return array.array({"<f4": "f", "<f8": "d"}[header["descr"]], file.read()).tolist()


def net(layer, arrays, name, x):
    last = len(layer["hidden"])
    for i in range(last + 1):
        w, b = arrays[f"{name}w{i}"], arrays[f"{name}b{i}"]
        x = [sum(a * c for a, c in zip(row, x)) + s for row, s in zip(w, b)]
        x = x if i == last else [max(v, 0.0) for v in x]
    return x


def coupling(layer, arrays, name, x):
    d, swapped = len(x), layer["mask"] == "half-swapped"
    assert layer["mask"] in ("half", "half-swapped") and layer["scale"] == "tanh"
    passes = [j for j in range(d) if (j < d // 2) != swapped]
    moved = [j for j in range(d) if j not in passes]
    given = net(layer["net"], arrays, name + "net.", [x[j] for j in passes])
    most, z, logdet = layer["scale_max"], list(x), 0.0
    for i, j in enumerate(moved):
        s = most * math.tanh(given[i] / most)
        z[j] = x[j] * math.exp(s) + given[len(moved) + i]
        logdet += s
    return z, logdet


def log_prob(architecture, arrays, x):
    total = 0.0
    assert architecture["base"]["type"] == "normal" and not architecture["base"]["learned"]
    for k, layer in enumerate(architecture["bijector"]["layers"]):
        name = f"flow.bijector.{k}."
        if layer["type"] == "standardise":
            mean, std = arrays[name + "mean"], arrays[name + "std"]
            x = [(v - m) / s for v, m, s in zip(x, mean, std)]
            total -= sum(math.log(s) for s in std)
        elif layer["type"] == "actnorm":
            scale, shift = arrays[name + "log_scale"], arrays[name + "shift"]
            x = [math.exp(s) * v + b for v, s, b in zip(x, scale, shift)]
            total += sum(scale)
        else:
            assert layer["type"] == "affine-coupling", layer["type"]
            x, logdet = coupling(layer, arrays, name, x)
            total += logdet
    return total - sum(v * v + math.log(2 * math.pi) for v in x) / 2


def main():
    architecture, arrays = model(sys.argv[1])
    with open(sys.argv[2], encoding="ascii") as file:
        rows = [[float(v) for v in line.split(",")] for line in file if line[0] not in "abcdef\n"]
    given = logs(sys.argv[3])
    assert len(rows) == len(given) > 0, f"{len(rows)} rows, {len(given)} figures"
    differences = [abs(log_prob(architecture, arrays, x) - y) for x, y in zip(rows, given)]
    print(f"{len(rows)} rows, largest difference {max(differences):.3g}")
    return not all(e <= float(sys.argv[4]) for e in differences)


sys.exit(main())
