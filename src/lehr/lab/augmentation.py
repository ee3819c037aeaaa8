"""Augmentation of images in memory: the crops and flips that CIFAR is usually trained with."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

MARGIN: Final = 4
"""Pixels of nothing around an image from which crops are taken."""


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by up to four pixels, with zeros where nothing is, and mirrored or not.

    Args:
        images: count, channels, height, width.
        generator: of the random numbers.

    Source: He et al. 2016 (arXiv 1512.03385), section 4.2, after Lee et al. 2015.

    >>> images = torch.ones(2, 3, 8, 8)
    >>> crop_and_flip(images, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 8, 8])
    """
    count, _, height, width = images.shape
    down, right = torch.randint(0, 2 * MARGIN + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    across = torch.arange(width).expand(count, width)
    rows = down + torch.arange(height)
    columns = right + torch.where(mirrored, across.flip(1), across)
    padded = pad(images, (MARGIN,) * 4)
    every = torch.arange(count)[:, None, None]
    return padded[every, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
