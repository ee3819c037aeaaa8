"""Data sets: read from small files of the real formats, and from the real ones where they are at hand."""

from __future__ import annotations

import gzip
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from lehr import lab
from lehr.lab import datasets, files


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(files, "SYSTEM", tmp_path / "system")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    raw = header + array.tobytes()
    path.write_bytes(gzip.compress(raw, 1) if path.suffix == ".gz" else raw)


def write_fashion(folder: Path, suffix: str) -> np.ndarray:
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 256, (5_100, 28, 28), dtype=np.uint8)
    for part, count in (("train", 5_100), ("t10k", 50)):
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images[:count])
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8) % 10)
    return images


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_fashion_mnist_from_idx_files(tmp_path: Path, suffix: str) -> None:
    images = write_fashion(tmp_path / "data" / "fashion-mnist", suffix)
    data = datasets.fashion_mnist(str(tmp_path / "data"))
    assert [tuple(part[0].shape) for part in (data.train, data.validation, data.test)] == [
        (100, 1, 28, 28), (5_000, 1, 28, 28), (50, 1, 28, 28),
    ]  # fmt: skip
    assert float(data.test[0][3, 0, 5, 7]) == pytest.approx((images[3, 5, 7] / 255 - 0.286) / 0.353)
    assert data.test[1][:3].tolist() == [0, 1, 2]


def test_a_cut_idx_file_is_named(tmp_path: Path) -> None:
    write_fashion(tmp_path / "data" / "fashion-mnist", "")
    path = tmp_path / "data" / "fashion-mnist" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte is cut short: 984 bytes of 39200"):
        datasets.fashion_mnist(str(tmp_path / "data"))
    path.write_bytes(b"<html>")
    with pytest.raises(ValueError, match="is no IDX file"):
        datasets.fashion_mnist(str(tmp_path / "data"))


def test_cifar10_from_parquet_is_decoded_once(tmp_path: Path) -> None:
    from datasets import Dataset, Features, Image, Value
    from PIL import Image as Picture

    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    pictures = []
    for colour in colours:
        file = io.BytesIO()
        Picture.new("RGB", (32, 32), colour).save(file, "png")
        pictures.append({"bytes": file.getvalue(), "path": None})
    table = Dataset.from_dict(
        {"img": pictures, "label": [3, 5, 7]}, features=Features({"img": Image(), "label": Value("int64")})
    )
    folder = tmp_path / "data" / "cifar10"
    folder.mkdir(parents=True)
    table.to_parquet(folder / "train-00000-of-00001.parquet")
    table.to_parquet(folder / "test-00000-of-00002.parquet")
    with pytest.raises(ValueError, match=r"holds 1 of the 2 files test-\*.parquet; fetch the rest"):
        datasets.cifar10_pixels("test", str(tmp_path / "data"))
    table.to_parquet(folder / "test-00001-of-00002.parquet")
    assert len(datasets.cifar10_pixels("test", str(tmp_path / "data"))[0]) == 6
    images, labels = datasets.cifar10_pixels("train", str(tmp_path / "data"))
    assert images.dtype == torch.uint8
    assert images.shape == (3, 3, 32, 32)
    assert [tuple(image[:, 0, 0].tolist()) for image in images] == colours
    assert labels.tolist() == [3, 5, 7]
    kept = list((tmp_path / "cache" / "decoded").iterdir())
    assert len(kept) == 2
    again, _ = datasets.cifar10_pixels("train", str(tmp_path / "data"))
    assert torch.equal(again, images)


def test_text_is_cut_into_stretches_that_predict_the_next_character(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tinyshakespeare"
    folder.mkdir(parents=True)
    (folder / "input.txt").write_text("".join(chr(97 + i % 26) for i in range(6_401)))
    data = datasets.tinyshakespeare(str(tmp_path / "data"))
    assert [len(part[0]) for part in (data.train, data.validation, data.test)] == [90, 5, 5]
    for inputs, targets in (data.train, data.test):
        assert torch.equal(inputs[:, 1:], targets[:, :-1])


@pytest.mark.parametrize("name", ["cifar10", "fashion-mnist", "tinyshakespeare"])
def test_missing_data_gets_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEHR_DATA", raising=False)
    with pytest.raises(
        ValueError, match=rf"the data of {name} is not on this machine: put .* --data or LEHR_DATA"
    ) as said:
        lab.load_task(name).load()
    assert "\n" not in str(said.value)


@pytest.mark.skipif("LEHR_DATA" not in os.environ, reason="LEHR_DATA names no folder with the real data")
def test_the_real_files() -> None:
    text = datasets.tinyshakespeare()
    assert int(text.train[0].max()) == 64
    images, labels = datasets.cifar10_pixels("test", None)
    assert images.shape == (10_000, 3, 32, 32)
    assert torch.bincount(labels).tolist() == [1_000] * 10
    assert images.float().mean((0, 2, 3)).div(255).tolist() == pytest.approx([0.4942, 0.4851, 0.4504], abs=0.003)


def test_digits_are_embedded() -> None:
    data = datasets.digits()
    assert [len(part[0]) for part in (data.train, data.validation, data.test)] == [997, 300, 500]
    assert float(data.train[0].max()) == 1.0
