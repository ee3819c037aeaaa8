"""The families: half of them to develop rules on, half to judge them on."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from lehr.lab.data import Data
from lehr.lab.zoo import networks, problems
from lehr.lab.zoo.family import Family, Member
from lehr.lab.zoo.recipe import draw_recipe

SGD: Final = ("sgd", "momentum", "nesterov")


def _wrong(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(-1) != targets).float().mean()


# -- to develop on -----------------------------------------------------------------------------------------------------


def _mlp(rng: random.Random) -> Member:
    classes, width = rng.choice((2, 10, 50)), rng.choice((32, 64, 128))
    network = partial(networks.mlp, 32, width, rng.choice((1, 2, 3)), classes, rng.choice(("none", "layer", "batch")))
    problem = partial(problems.classes_of_teacher, 32, classes, 30_000, rng.randrange(4))
    recipe = draw_recipe(rng, (*SGD, "adamw"), (16, 32, 64, 128), clips=(None, None, 1.0))
    return Member(network, problem, recipe, cross_entropy, cross_entropy)


def _cnn_norm(rng: random.Random) -> Member:
    network = partial(networks.cnn, 3, rng.choice((6, 8)), 10, norm=True)
    recipe = draw_recipe(rng, ("momentum", "momentum", "nesterov", "adamw"), (16, 32))
    return Member(network, partial(problems.small_images, 8), recipe, cross_entropy, cross_entropy)


def _decoder(rng: random.Random) -> Member:
    network = partial(networks.Transformer, 65, 16, rng.choice((16, 24)), rng.choice((1, 2)), 65, causal=True)
    recipe = draw_recipe(rng, ("adamw", "adamw", "momentum"), (4, 8), clips=(None, 1.0))
    loss = networks.next_symbol_loss
    return Member(network, partial(problems.characters, 16), recipe, loss, loss)


def _autoencoder(rng: random.Random) -> Member:
    network = partial(networks.autoencoder, 64, rng.choice((32, 64, 128)), rng.choice((8, 16)))
    recipe = draw_recipe(rng, (*SGD, "adamw", "adamw"), (16, 32, 64))
    return Member(network, problems.grey_images, recipe, mse_loss, mse_loss)


def _label_noise(rng: random.Random) -> Member:
    noise, classes = rng.choice((0.1, 0.2, 0.4)), rng.choice((5, 10))
    network = partial(networks.mlp, 32, 64, 2, classes, rng.choice(("none", "batch")))
    problem = partial(problems.classes_of_teacher, 32, classes, 30_000, rng.randrange(4), noise)
    recipe = draw_recipe(rng, (*SGD, "adamw"), (16, 32))
    return Member(network, problem, recipe, cross_entropy, _wrong)


def _gru(rng: random.Random) -> Member:
    network = partial(networks.Recurrent, networks.GRUCell, 65, rng.choice((16, 24)))
    recipe = draw_recipe(rng, ("adamw", "sgd", "momentum"), (4, 8), clips=(0.25, 1.0))
    loss = networks.next_symbol_loss
    return Member(network, partial(problems.characters, 16), recipe, loss, loss)


def _regression(rng: random.Random) -> Member:
    network = partial(networks.mlp, 16, rng.choice((32, 64)), 2, 1, rng.choice(("none", "layer")))
    scale = 10.0 ** rng.uniform(-1.0, 1.0)
    problem = partial(_rescaled_teacher, 16, 1, 30_000, rng.randrange(4), scale)
    recipe = draw_recipe(rng, (*SGD, "adamw"), (16, 32, 128), clips=(None, None, 1.0))
    return Member(network, problem, recipe, mse_loss, mse_loss)


def _many_classes(rng: random.Random) -> Member:
    network = partial(networks.mlp, 32, 64, 1, 200, rng.choice(("none", "layer")))
    problem = partial(problems.classes_of_teacher, 32, 200, 30_000, rng.randrange(4))
    recipe = draw_recipe(rng, ("momentum", "adamw"), (32, 64))
    return Member(network, problem, recipe, cross_entropy, cross_entropy)


# -- to judge on, once -------------------------------------------------------------------------------------------------


def _deep(rng: random.Random) -> Member:
    network = partial(networks.mlp, 24, rng.choice((16, 24)), rng.choice((6, 8)), 10, "layer")
    problem = partial(problems.classes_of_teacher, 24, 10, 30_000, 10 + rng.randrange(4))
    recipe = draw_recipe(rng, (*SGD, "adamw"), (32, 64), clips=(None, 1.0))
    return Member(network, problem, recipe, cross_entropy, cross_entropy)


def _residual(rng: random.Random) -> Member:
    network = partial(networks.residual, 24, rng.choice((32, 48)), rng.choice((2, 3)), 1)
    problem = partial(problems.teacher, 24, 1, 30_000, 10 + rng.randrange(4))
    recipe = draw_recipe(rng, ("momentum", "nesterov", "adamw"), (32, 64))
    return Member(network, problem, recipe, mse_loss, mse_loss)


def _lstm(rng: random.Random) -> Member:
    network = partial(networks.Recurrent, networks.LSTMCell, 65, rng.choice((16, 24)))
    recipe = draw_recipe(rng, ("sgd",), (4, 8), clips=(0.25, 1.0))
    loss = networks.next_symbol_loss
    return Member(network, partial(problems.characters, 16), recipe, loss, loss)


def _encoder(rng: random.Random) -> Member:
    network = partial(networks.Transformer, problems.WORDS, problems.LONGEST, 24, 1, 2, causal=False)
    recipe = draw_recipe(rng, ("adamw",), (8, 16), clips=(None, 1.0))
    return Member(network, problems.sentences, recipe, cross_entropy, cross_entropy)


def _cnn(rng: random.Random) -> Member:
    network = partial(networks.cnn, 3, rng.choice((6, 8)), 10, norm=False)
    recipe = draw_recipe(rng, SGD, (16, 32), clips=(0.1, 1.0))
    return Member(network, partial(problems.small_images, 8), recipe, cross_entropy, cross_entropy)


def _small_batches(rng: random.Random) -> Member:
    network = partial(networks.mlp, 192, rng.choice((32, 64)), 1, 10)
    recipe = replace(draw_recipe(rng, (*SGD, "adamw"), (4, 8)), accumulate=1)
    return Member(_flat(network), partial(problems.small_images, 8), recipe, cross_entropy, cross_entropy)


def _fine_tuning(rng: random.Random) -> Member:
    recipe = draw_recipe(rng, ("adamw", "momentum"), (16, 32))
    problem = partial(problems.small_images, 8, (5, 6, 7, 8, 9))
    return Member(_pretrained_cnn, problem, replace(recipe, weight_scales=(1.0,)), cross_entropy, cross_entropy)


def _images(rng: random.Random) -> Member:
    network = partial(networks.mlp, 192, rng.choice((64, 128)), 2, 10, rng.choice(("none", "batch")))
    recipe = draw_recipe(rng, ("momentum", "nesterov", "adamw"), (32, 64))
    return Member(_flat(network), partial(problems.small_images, 8), recipe, cross_entropy, _wrong)


# -- parts -------------------------------------------------------------------------------------------------------------


def _flat(network: partial[nn.Sequential]) -> partial[nn.Sequential]:
    return partial(_flattened, network)


def _flattened(network: partial[nn.Sequential]) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), *network())


def _rescaled_teacher(*numbers: float) -> Data:
    inputs, outputs, examples, seed, scale = numbers
    return problems.rescale(problems.teacher(int(inputs), int(outputs), int(examples), int(seed)), scale)


def _pretrained_cnn() -> nn.Sequential:
    """A network that knows five other classes, with a new head."""
    model = networks.cnn(3, 8, 5, norm=True)
    weights = dict(_pretrained_weights())
    model.load_state_dict({key: weights.get(key, value) for key, value in model.state_dict().items()})
    return model


@lru_cache(maxsize=1)
def _pretrained_weights() -> tuple[tuple[str, Tensor], ...]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = networks.cnn(3, 8, 5, norm=True)
        weights = problems.pretrain(model, problems.small_images(8, (0, 1, 2, 3, 4)))
    return tuple((name, value) for name, value in weights.items() if not name.startswith("10."))


LONGEST_NUMBER: Final = 9
"""Digits of the number of a member."""

FAMILIES: Final[dict[str, Family]] = {
    family.name: family
    for family in (
        Family(
            "mlp", "classes of a random teacher, an MLP with or without a norm", "development", (1_000, 3_000), _mlp
        ),
        Family("cnn-norm", "CIFAR-10 at 8 pixels, a CNN with batch norm", "development", (1_000, 2_000), _cnn_norm),
        Family("decoder", "Tiny Shakespeare, a transformer", "development", (1_000, 2_000), _decoder),
        Family(
            "autoencoder", "grey images said again, a small squared error", "development", (1_000, 3_000), _autoencoder
        ),
        Family("label-noise", "wrong labels of a teacher, an MLP", "development", (1_000, 3_000), _label_noise),
        Family("gru", "Tiny Shakespeare, a clipped GRU", "development", (1_000, 3_000), _gru),
        Family("regression", "squared error of any size, an MLP", "development", (1_500, 5_000), _regression),
        Family("many-classes", "200 classes of a teacher, an MLP", "development", (1_000, 3_000), _many_classes),
        Family("deep", "classes of a teacher, a deep narrow MLP", "unseen", (1_000, 3_000), _deep),
        Family("residual", "a teacher's output, a residual network", "unseen", (1_000, 3_000), _residual),
        Family("lstm", "Tiny Shakespeare, a clipped LSTM under plain SGD", "unseen", (1_000, 3_000), _lstm),
        Family("encoder", "movie reviews, a transformer", "unseen", (500, 1_000), _encoder),
        Family("cnn", "CIFAR-10 at 8 pixels, a clipped CNN without norm", "unseen", (1_000, 2_000), _cnn),
        Family("small-batches", "CIFAR-10 at 8 pixels in batches of 4 or 8", "unseen", (1_500, 5_000), _small_batches),
        Family(
            "fine-tuning", "five more classes of CIFAR-10 for a CNN", "unseen", (500, 1_000), _fine_tuning
        ),
        Family("images", "CIFAR-10 at 8 pixels, an MLP, its error", "unseen", (1_500, 5_000), _images),
    )
}  # fmt: skip
"""The families by name, those to develop on first."""


def find_family(name: str) -> tuple[Family, int] | None:
    """The family and the number that a task's name such as "zoo/gru/3" means; None if it is none of the zoo's.

    Raises:
        ValueError: if there is no such family, or no number.

    >>> family, number = find_family("zoo/mlp/3")
    >>> family.name, number
    ('mlp', 3)
    """
    zoo, _, rest = name.partition("/")
    if zoo != "zoo":
        return None
    family, _, number = rest.partition("/")
    if family not in FAMILIES:
        raise ValueError(f"{name}: the zoo has no family {family!r}; it has {', '.join(FAMILIES)}")
    if not (number.isascii() and number.isdecimal() and len(number) <= LONGEST_NUMBER):
        raise ValueError(f"{name} needs a number of at most {LONGEST_NUMBER} digits, such as zoo/{family}/3")
    return FAMILIES[family], int(number)
