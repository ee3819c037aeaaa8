"""Frozen modules that must not simply be in evaluation mode: recurrent networks, and encoders with a padding mask."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lehr

PAD = torch.zeros(4, 5, dtype=torch.bool)
PAD[1:, 3:] = True
TOKENS = torch.randint(0, 20, (4, 5), generator=torch.Generator().manual_seed(0))
CAUSAL = nn.Transformer.generate_square_subsequent_mask(5).isinf()


def train(model: nn.Module, example: Any, *, layers: Any = None, steps: int = 20) -> lehr.FreezeOut:
    plan = lehr.FreezeOut(lehr.layers_of(model, example, layers=layers), t0=0.3, how="linear")
    scheduler = lehr.Scheduler(torch.optim.AdamW(plan.param_groups(lr=1e-3)), plan, lehr.Budget(steps=steps))
    while not scheduler.finished:
        model.train()
        scheduler.optimizer.zero_grad()
        model(*example).square().mean().backward()
        assert sum(all(p.grad is None for p in layer.parameters) for layer in plan.layers) == plan.frozen
        scheduler.optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            assert model(*example).isfinite().all()
    assert plan.frozen == len(plan.layers) - 1
    return plan


class Encoder(nn.Module):
    """Embedding, `nn.TransformerEncoder`, head."""

    def __init__(self, *, nested: bool, masked: bool = False, inside: bool = False, pre_norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=pre_norm)
        self.embed = nn.Embedding(20, 8)
        encoder = nn.TransformerEncoder(block, 3, enable_nested_tensor=nested)
        self.enc: Any = nn.ModuleDict({"body": encoder}) if inside else encoder
        self.masked = masked
        self.head = nn.Linear(8, 2)

    def forward(self, tokens: Tensor, pad: Tensor) -> Tensor:
        encoder = self.enc["body"] if isinstance(self.enc, nn.ModuleDict) else self.enc
        mask = {"mask": CAUSAL, "is_causal": True} if self.masked else {}
        out: Tensor = self.head(encoder(self.embed(tokens), src_key_padding_mask=pad, **mask).mean(1))
        return out


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("layers", [None, ["embed", "enc", "head"], ["embed", ["enc"], "head"]])
@pytest.mark.parametrize("kind", [{}, {"masked": True}, {"inside": True}, {"pre_norm": True}])
def test_encoders_with_a_padding_mask(nested: bool, layers: Any, kind: dict[str, bool]) -> None:
    model = Encoder(nested=nested, **kind)
    plan = train(model, (TOKENS, PAD), layers=layers)
    # what evaluation gives afterwards is what a model that never froze gives with these weights
    fresh = Encoder(nested=nested, **kind).eval()
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.allclose(model(TOKENS, PAD), fresh(TOKENS, PAD), atol=1e-5)
    plan.unfreeze()
    assert all(module.training for module in model.train().modules())


def test_a_frozen_block_gives_what_it_gave() -> None:
    """The same function as before the freeze, dropout aside, also at padded places."""
    model = Encoder(nested=True)
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.MultiheadAttention):
            (module.p, module.dropout) = (0.0, 0.0)
    plan = lehr.FreezeOut(lehr.layers_of(model, (TOKENS, PAD)), t0=0.3)
    plan.bind(torch.optim.SGD(plan.param_groups(lr=0.1)))
    before = model(TOKENS, PAD)
    plan.arrive(0.999, [0.0] * (len(plan.layers) - 1) + [1.0])
    assert plan.frozen == len(plan.layers) - 1
    assert torch.allclose(model(TOKENS, PAD), before, atol=1e-5)


class Blocks(nn.Module):
    """Blocks of a kind, one after the other, each called with the padding mask under its own name for it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        make = {
            "encoder layer": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            "attention": lambda: nn.MultiheadAttention(8, 2, batch_first=True, dropout=0.1),
            "decoder layer": lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True),
        }[kind]
        self.embed = nn.Embedding(20, 8)
        self.blocks = nn.ModuleList(make() for _ in range(3))
        self.head = nn.Linear(8, 2)

    def forward(self, tokens: Tensor, pad: Tensor) -> Tensor:
        x = memory = self.embed(tokens)
        for block in self.blocks:
            if isinstance(block, nn.MultiheadAttention):
                x = x + block(x, x, x, key_padding_mask=pad, need_weights=False)[0]
            elif isinstance(block, nn.TransformerDecoderLayer):
                x = block(x, memory, tgt_key_padding_mask=pad, memory_key_padding_mask=pad)
            else:
                x = block(x, src_key_padding_mask=pad)
        out: Tensor = self.head(x.mean(1))
        return out


@pytest.mark.parametrize("kind", ["encoder layer", "attention", "decoder layer"])
def test_single_blocks(kind: str) -> None:
    train(Blocks(kind), (TOKENS, PAD))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
def test_a_whole_transformer() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 8)
            self.transformer = nn.Transformer(8, 2, 2, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 2)

        def forward(self, tokens: Tensor, pad: Tensor) -> Tensor:
            x = self.embed(tokens)
            y = self.transformer(x, x, src_key_padding_mask=pad, memory_key_padding_mask=pad, tgt_key_padding_mask=pad)
            out: Tensor = self.head(y.mean(1))
            return out

    plan = train(Model(), (TOKENS, PAD))
    assert len(plan.layers) >= 5


class Wrapped(nn.Module):
    """A user's own module with a recurrent network inside."""

    def __init__(self, inner: nn.RNNBase) -> None:
        super().__init__()
        self.inner = inner
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.norm(self.inner(x)[0].transpose(1, 2)).transpose(1, 2), None


class LanguageModel(nn.Module):
    """Recurrent blocks between tied embeddings, which never freeze: gradients flow all the way down."""

    def __init__(self, kind: Any, *, wrapped: bool, dropout: float = 0.25) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(20, 8)
        made = [kind(8, 8, 2, batch_first=True, dropout=dropout) for _ in range(3)]
        self.blocks = nn.ModuleList(Wrapped(one) if wrapped else one for one in made)
        self.refusals = 0
        for one in made:
            one.register_forward_pre_hook(self._as_cudnn)

    def _as_cudnn(self, module: nn.Module, inputs: Any) -> None:
        """Count what cuDNN would refuse: gradients through a recurrent network in evaluation mode."""
        self.refusals += torch.is_grad_enabled() and inputs[0].requires_grad and not module.training

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)[0]
        return x @ self.embed.weight.T


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("wrapped", [True, False])
def test_recurrent_layers_hand_gradients_on(kind: Any, wrapped: bool) -> None:
    model = LanguageModel(kind, wrapped=wrapped)
    example = (TOKENS,)
    layers = lehr.layers_of(model, example)
    model.refusals = 0  # the look at the order was in evaluation mode
    plan = lehr.FreezeOut(layers, t0=0.3, how="linear")
    scheduler = lehr.Scheduler(torch.optim.SGD(plan.param_groups(lr=0.1)), plan, lehr.Budget(steps=10))
    recurrent = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    while not scheduler.finished:
        model.train()
        model(TOKENS).square().mean().backward()
        scheduler.optimizer.step()
        scheduler.step()
        scheduler.optimizer.zero_grad()
        assert [module.dropout for module in recurrent] == [0.0] * plan.frozen + [0.25] * (3 - plan.frozen)
        model.eval()
        assert not any(module.training for module in model.modules())
    assert model.refusals == 0
    assert plan.frozen == 2
    model.train()
    first = model.blocks[0]
    x = torch.randn(4, 5, 8)
    with torch.no_grad():
        assert torch.equal(first(x)[0], first(x)[0])  # nothing is dropped out, and no statistics learned
    plan.unfreeze()
    assert [type(module.dropout) for module in recurrent] == [float] * 3
    assert all(module.dropout == 0.25 for module in recurrent)
    assert all(module.training for module in model.modules())


def test_copies_have_their_dropout_again() -> None:
    model = LanguageModel(nn.LSTM, wrapped=True)
    plan = lehr.FreezeOut(lehr.layers_of(model, TOKENS), t0=0.3, how="linear")
    plan.bind(torch.optim.SGD(plan.param_groups(lr=0.1)))
    plan.arrive(0.99, [0.0] * 3)
    assert plan.frozen
    for module in model.modules():  # bound methods do not pickle
        module._forward_pre_hooks.clear()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for copied in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert [type(part.dropout) for part in copied.modules() if isinstance(part, nn.RNNBase)] == [float] * 3
        assert [part.dropout for part in copied.modules() if isinstance(part, nn.RNNBase)] == [0.25] * 3
        assert all(part.training for part in copied.train().modules())


@pytest.mark.parametrize("stop", [2, 4, 7])
def test_resuming_is_exact(stop: int) -> None:
    def made() -> tuple[LanguageModel, lehr.Scheduler]:
        model = LanguageModel(nn.LSTM, wrapped=True)
        plan = lehr.FreezeOut(lehr.layers_of(model, TOKENS), t0=0.3, how="linear")
        return model, lehr.Scheduler(torch.optim.AdamW(plan.param_groups(lr=0.01)), plan, lehr.Budget(steps=10))

    def run(model: nn.Module, scheduler: lehr.Scheduler, first: int, last: int) -> None:
        for index in range(first, last):
            torch.manual_seed(index)
            scheduler.optimizer.zero_grad()
            model(TOKENS).square().mean().backward()
            scheduler.optimizer.step()
            scheduler.step()

    whole, one, two = made(), made(), made()
    run(*whole, 0, 10)
    run(*one, 0, stop)
    for part, own in zip((two[0], two[1].optimizer, two[1]), (one[0], one[1].optimizer, one[1]), strict=True):
        part.load_state_dict(copy.deepcopy(own.state_dict()))  # type: ignore[arg-type]
    run(*two, stop, 10)
    assert all(torch.equal(value, two[0].state_dict()[key]) for key, value in whole[0].state_dict().items())


def test_what_was_in_evaluation_mode_stays_there_recurrent_or_not() -> None:
    model = LanguageModel(nn.LSTM, wrapped=True)
    plan = lehr.FreezeOut(lehr.layers_of(model, TOKENS), t0=0.3, how="linear")
    plan.bind(torch.optim.SGD(plan.param_groups(lr=0.1)))
    inner: Any = model.blocks[0].inner
    inner.eval()
    plan.arrive(0.99, [0.0] * 3)
    model.train()
    assert not inner.training
    plan.unfreeze()
    assert not inner.training
    assert inner.dropout == 0.25
