"""Images in folders, one a class, as ImageNet lies: read when they are needed, cropped and flipped as is usual."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import lehr
from lehr.lab import files
from lehr.lab.data import Pairs
from lehr.lab.networks import network
from lehr.lab.training_task import TrainingTask

MEAN: Final = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
DEVIATION: Final = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
"""Of ImageNet's pixels, by which others are taken too."""

HELD_OUT: Final = 10_000
"""The most images that are held out of the training set for validation; a twentieth of it otherwise."""

TRIES: Final = 10
"""How often a crop is drawn before the whole image is taken."""


def image_folder(
    data: str | None, chosen: str = "resnet18", *, size: int = 224, batch_size: int = 256, workers: int = 4
) -> TrainingTask:
    """Images in `train/<class>/` and `val/<class>/`, and `test/<class>/` if there is one.

    Without a `test`, that is `val`, and validation is a part of `train` held out, as is right for ImageNet.

    Args:
        data: the folder that has `train`, if not one of the usual ones.
        chosen: a network's name.
        size: pixels a side of a crop.
        batch_size: images an update.
        workers: processes that read images; results depend on how many, since each has random numbers of its own.

    Source: crops as Szegedy et al. 2015 (arXiv 1409.4842), rate and decay as He et al. 2016 (arXiv 1512.03385).
    """

    def make_training(seed: int) -> lehr.Training:
        parts = _parts(data)
        model = network(chosen, 3, size, len(parts.classes))()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        loader = DataLoader(
            parts.train.with_transform(partial(_each, partial(random_crop, size=size))), batch_size, shuffle=True,
            num_workers=workers, drop_last=True, generator=torch.Generator().manual_seed(seed), collate_fn=_collated,
        )  # fmt: skip
        return lehr.Training(model, optimizer, loader, _loss)

    def score(training: lehr.Training, name: str) -> Mapping[str, float]:
        part = getattr(_parts(data), name).with_transform(partial(_each, partial(central_crop, size=size)))
        right, loss, count = 0, 0.0, 0
        for images, labels in DataLoader(part, batch_size, num_workers=workers, collate_fn=_collated):
            outputs = training.modules[0](images.to(training.device)).float()
            answers = labels.to(training.device)
            right += int((outputs.argmax(-1) == answers).sum())
            loss += float(cross_entropy(outputs, answers, reduction="sum"))
            count += len(labels)
        return {"accuracy": right / count, "loss": loss / count}

    return TrainingTask(
        about=f"images in folders, a class each, {chosen}",
        make_training=make_training,
        validate=partial(score, name="validation"),
        test=partial(score, name="test"),
        budget="90ep",
        example=torch.zeros(2, 3, size, size),
    )


def random_crop(image: Any, size: int) -> Tensor:
    """A crop of 8 to 100 % of the area at 3:4 to 4:3, mirrored or not.

    Args:
        image: by pillow.
        size: pixels a side of the result.
    """
    wide, high = image.size
    left, top, right, bottom = 0, 0, wide, high
    for _ in range(TRIES):
        area = wide * high * float(torch.empty(()).uniform_(0.08, 1.0))
        ratio = math.exp(float(torch.empty(()).uniform_(math.log(3 / 4), math.log(4 / 3))))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= wide and 0 < height <= high:
            left, top = int(torch.randint(wide - width + 1, ())), int(torch.randint(high - height + 1, ()))
            right, bottom = left + width, top + height
            break
    pixels = _pixels(image.resize((size, size), box=(left, top, right, bottom), resample=_bilinear()))
    return pixels.flip(-1) if float(torch.rand(())) < 0.5 else pixels


def central_crop(image: Any, size: int) -> Tensor:
    """The middle of the image, 7/8 of its shorter side.

    Args:
        image: by pillow.
        size: pixels a side of the result.
    """
    wide, high = image.size
    side = min(wide, high) * 7 / 8
    left, top = (wide - side) / 2, (high - side) / 2
    return _pixels(image.resize((size, size), box=(left, top, left + side, top + side), resample=_bilinear()))


def _bilinear() -> Any:
    from PIL import Image

    return Image.Resampling.BILINEAR


def _pixels(image: Any) -> Tensor:
    import numpy as np

    return (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255 - MEAN) / DEVIATION


class _Parts:
    """The three parts, and the names of the classes.

    Args:
        root: the folder that has `train`.
    """

    def __init__(self, root: str) -> None:
        train, validation, test = (_table(root, names) for names in (("train",), ("val", "validation"), ("test",)))
        if train is None or validation is None:
            raise ValueError(f"{root} must hold the folders train and val, each with a folder for each class")
        if test is None:
            count = max(1, min(HELD_OUT, len(train) // 20))
            halves = train.train_test_split(test_size=count, seed=0)
            train, validation, test = halves["train"], halves["test"], validation
        self.train, self.validation, self.test = train, validation, test
        self.classes: Sequence[str] = train.features["label"].names
        for part in (validation, test):
            if part.features["label"].names != self.classes:
                raise ValueError(f"{root} has other classes in val or test than in train")


def _table(root: str, names: Sequence[str]) -> Any:
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    found = files.find_in(root, names)
    if found is None:
        return None
    return load_dataset(  # every file, whatever its name: "val" in it would else make a part of its own
        "imagefolder", data_dir=str(found), data_files="**", split="train", drop_labels=False,
        cache_dir=str(files.cache() / "huggingface"),
    )  # fmt: skip


@cache
def _parts(data: str | None) -> _Parts:
    found = files.find(("train/*/",), data) or files.find(("*imagenet*/train/*/",), data)
    if not found:
        looked = ", ".join(str(folder) for folder in files.folders(data))
        raise ValueError(
            "the data of image-folder is not on this machine: name a folder that has train/<class>/ and val/<class>/ "
            f"with --data or LEHR_DATA (looked in {looked})"
        )
    return _Parts(str(found[0].parents[1]))


def _each(crop: Callable[[Any], Tensor], rows: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"image": [crop(image.convert("RGB")) for image in rows["image"]], "label": rows["label"]}


def _collated(rows: Sequence[Mapping[str, Any]]) -> Pairs:
    return torch.stack([row["image"] for row in rows]), torch.tensor([row["label"] for row in rows])


def _loss(model: Any, batch: Pairs) -> Tensor:
    images, labels = batch
    return cross_entropy(model(images), labels)
