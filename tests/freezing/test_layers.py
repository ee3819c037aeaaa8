"""A model's layers, in the order in which they run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

import lehr
from lehr import lab

NUMBERS = torch.zeros(1, 5, dtype=torch.long)
SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64,
}  # fmt: skip


def names(layers: lehr.freezing.Layers) -> list[str]:
    return [layer.name for layer in layers]


def test_a_sequential_of_blocks_has_one_layer_a_child() -> None:
    blocks = [nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(5)]
    model = nn.Sequential(*blocks, nn.Linear(4, 2))
    assert names(lehr.layers_of(model)) == list("012345")
    assert names(lehr.layers_of(model, torch.zeros(1, 4))) == list("012345")


def test_every_parameter_is_in_one_layer() -> None:
    for task in ("digits", "cifar10", "cifar10-quick", "cifar10-resnet"):
        model = lab.load_task(task).model()
        layers = lehr.layers_of(model)
        assert [p for layer in layers for p in layer.parameters] == list(model.parameters())


def test_norms_and_what_has_no_weights_belong_to_the_layer_before() -> None:
    model = nn.Sequential(
        nn.Dropout(), nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(8, 2),
    )  # fmt: skip
    layers = lehr.layers_of(model, torch.zeros(1, 3, 5, 5))
    assert names(layers) == ["1+2+3", "4", "7"]
    assert [len(layer.modules) for layer in layers] == [4, 3, 1]
    assert names(lehr.layers_of(model)) == names(layers)


class Encoder(nn.Module):
    """Runs in another order than it is built in, with a class token of its own and a final norm."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 2)
        self.norm = nn.LayerNorm(8)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2))
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.embedding = nn.Embedding(10, 8)
        self.unused = nn.Linear(3, 3)

    def forward(self, numbers: Tensor) -> Tensor:
        x = self.embedding(numbers)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.norm(x)[:, 0])
        return out


def test_order_is_that_of_running() -> None:
    model = Encoder()
    layers = lehr.layers_of(model, NUMBERS)
    assert names(layers) == ["embedding", "blocks.0", "blocks.1", "norm+head"]
    assert any(p is model.token for p in layers[0].parameters)
    assert any(p is model.unused.weight for p in layers[-1].parameters)  # never trains, so never freezes


def test_what_the_example_does_not_reach_is_in_the_last_layer() -> None:
    class WithHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.norm, self.end = nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 4)
            self.auxiliary = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

        def forward(self, x: Tensor) -> Any:
            x = self.norm(self.body(x))
            return (self.end(x), self.auxiliary(x)) if self.training else self.end(x)

    model = WithHead()
    first, last = lehr.layers_of(model, torch.zeros(2, 4))
    assert model.auxiliary[1] in last.modules
    assert len(last.parameters) == 6
    assert model.norm in first.modules
    first, last = lehr.layers_of(model, torch.zeros(2, 4), layers=["body", "end"])
    assert model.norm in first.modules


def test_another_network_with_a_new_head_is_looked_into() -> None:
    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = (nn.Linear(32, 32) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.three(self.two(self.one(x)))
            return out

    class Tuned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = Backbone(), nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.backbone(x))
            return out

    assert names(lehr.layers_of(Tuned(), torch.zeros(1, 32))) == [
        "backbone.one", "backbone.two", "backbone.three", "head",
    ]  # fmt: skip
    model = nn.Sequential(Encoder(), nn.Linear(2, 2))
    assert len(lehr.layers_of(model, NUMBERS)) == 5
    assert names(lehr.layers_of(nn.Sequential(Backbone(), nn.Linear(32, 2)))) == ["0", "1"]  # a block is a block


def test_a_single_block_and_a_norm() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.LayerNorm(4))
    assert names(lehr.layers_of(model)) == ["0", "1"]


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(36, 2))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(0)
    lehr.layers_of(model, torch.randn(2, 3, 5, 5))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


class Tied(nn.Module):
    """The output uses the embedding's weights: through a module, or without one."""

    def __init__(self, *, through_a_module: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(2))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 10, bias=False) if through_a_module else None
        if self.head is not None:
            self.head.weight = self.embedding.weight

    def forward(self, numbers: Tensor) -> Tensor:
        x = self.embedding(numbers)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x) if self.head is not None else x @ self.embedding.weight.T  # type: ignore[no-any-return]


@pytest.mark.parametrize("through_a_module", [True, False])
def test_tied_weights_freeze_with_their_last_user(through_a_module: bool) -> None:
    model = Tied(through_a_module=through_a_module)
    layers = lehr.layers_of(model, NUMBERS)
    assert [any(p is model.embedding.weight for p in layer.parameters) for layer in layers] == [False, False, True]


def test_parameters_that_do_not_train_are_in_no_layer() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    assert names(lehr.layers_of(model, torch.zeros(1, 2))) == ["1", "2"]


def test_two_branches_and_a_block_that_runs_twice() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.shared, self.right, self.left = (nn.Linear(4, 4) for _ in range(4))

        def forward(self, one: Tensor, two: Tensor) -> Tensor:
            both = self.shared(self.left(one)) + self.shared(self.right(two))
            out: Tensor = self.head(both)
            return out

    layers = lehr.layers_of(Model(), (torch.zeros(1, 4), torch.zeros(1, 4)))
    assert names(layers) == ["left", "right", "shared", "head"]


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        (["blocks.0", "blocks.1", ["norm", "head"]], ["blocks.0", "blocks.1", "norm+head"]),
        (["blocks", "head"], ["blocks", "head"]),
    ],
)
def test_layers_by_name(layers: list[Any], found: list[str]) -> None:
    model = Encoder()
    made = lehr.layers_of(model, NUMBERS, layers=layers)
    assert names(made) == found
    assert any(p is model.embedding.weight for p in made[0].parameters)  # what runs before the first joins it
    assert sum(layer.size for layer in made) == sum(p.numel() for p in model.parameters())


def test_layers_as_modules_and_the_norm_outside_them() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    layers = lehr.layers_of(model, torch.zeros(1, 3, 5, 5), layers=[model[0], model[2], model[4]])
    assert model[1] in layers[0].modules


def test_layers_by_depth() -> None:
    assert names(lehr.layers_of(Encoder(), NUMBERS, depth=1)) == ["embedding", "blocks", "norm+head"]


@pytest.mark.parametrize(
    ("model", "example", "found"),
    [
        (
            lambda: BertForSequenceClassification(BertConfig(**SMALL, vocab_size=50)),
            {"input_ids": NUMBERS, "labels": torch.zeros(1, dtype=torch.long)},
            ["bert.embeddings", *(f"bert.encoder.layer.{i}" for i in range(3)), "bert.pooler", "classifier"],
        ),
        (
            lambda: GPT2LMHeadModel(
                GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=9, n_positions=9, bos_token_id=0, eos_token_id=0)
            ),
            {"input_ids": NUMBERS},
            ["transformer.wpe", "transformer.h.0", "transformer.h.1", "transformer.ln_f+lm_head"],
        ),
        (
            lambda: ViTForImageClassification(ViTConfig(**SMALL, image_size=16, patch_size=8)),
            torch.zeros(1, 3, 16, 16),
            ["vit.embeddings", *(f"vit.layers.{i}" for i in range(3)), "vit.layernorm+classifier"],
        ),
        (
            lambda: T5ForConditionalGeneration(
                T5Config(d_model=32, d_kv=16, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=2, vocab_size=50)
            ),
            {"input_ids": NUMBERS, "decoder_input_ids": NUMBERS},
            ["encoder.block.0", "encoder.block.1+encoder.final_layer_norm", "decoder.block.0", "decoder.block.1",
             "decoder.final_layer_norm+lm_head"],
        ),
    ],
    ids=["BERT", "GPT-2", "ViT", "T5"],
)  # fmt: skip
def test_hugging_face_models(model: Any, example: Any, found: list[str]) -> None:
    assert names(lehr.layers_of(model(), example)) == found


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: lehr.layers_of(Encoder()), "give example_input"),
        (lambda: lehr.layers_of(nn.Linear(2, 2), torch.zeros(1, 2)), "at least two layers"),
        (lambda: lehr.layers_of(nn.Sequential(nn.Linear(2, 2))), "at least two layers"),
        (lambda: lehr.layers_of(Encoder(), NUMBERS, layers=["block"]), "'block', which is no module"),
        (lambda: lehr.layers_of(Encoder(), NUMBERS, layers=["blocks", "blocks.0"]), "one inside another"),
        (lambda: lehr.layers_of(Encoder(), NUMBERS, depth=0), "depth must be"),
        (lambda: lehr.layers_of(Encoder(), NUMBERS, layers=["head"], depth=1), "not both"),
        (lambda: lehr.layers_of(Encoder().requires_grad_(False), NUMBERS), "no output of the model depends"),
    ],
)
def test_errors_name_what_to_change(call: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()


def test_a_compiled_model_is_looked_into() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    compiled = torch.compile(model, backend="eager")
    assert lehr.layers_of(compiled, torch.zeros(1, 2)).model is model  # type: ignore[arg-type]


def test_a_list_of_blocks_may_be_a_module() -> None:
    """As in `layers=model.blocks`."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    assert [layer.name for layer in lehr.layers_of(model, torch.zeros(1, 2), layers=model)] == ["0", "1", "2"]
