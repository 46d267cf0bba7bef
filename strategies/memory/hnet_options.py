"""Options of `hnet-cnet`, and which of them each kind of index reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from scenarios.errors import UserError
from scenarios.options import option
from strategies.networks.generative import Kind
from strategies.networks.packed import Storage

IndexKind = Literal["gan", "softmax", "autoencoder", "oracle"]
Images = Literal["generated", "both"]


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """What an index module goes by, once every option has a value; the defaults are those of the generating modules.

    Attributes:
        index_network: mlp or conv.
        index_width: width of the networks.
        index_pool: pixels that are averaged each way.
        latent: length of the noise, or of the code.
        generator_iterations: steps for a task's generator or autoencoder.
        generator_learning_rate: Adam's step size for generators, their critic and their encoder.
        generator_average: decay of the running mean of the generator's weights.
        generator_reconstruction: weight of the encoder term.
        index_iterations: steps for the classifiers when a task comes.
        index_images: what the classifiers see of the newest task.
        index_noise: noise on the pixels that the classifiers are trained on.
        index_confidence: weight of the C-net's confidence in the scores.
        index_batch_size: images a step.
        index_learning_rate: Adam's step size for classifiers, where a phase begins, and for autoencoders.
        index_storage: how finished networks are kept.
    """

    index_network: Kind = "mlp"
    index_width: int = 128
    index_pool: int = 2
    latent: int = 64
    generator_iterations: int = 1000
    generator_learning_rate: float = 5e-4
    generator_average: float = 0.99
    generator_reconstruction: float = 0.05
    index_iterations: int = 1500
    index_images: Images = "generated"
    index_noise: float = 0.6
    index_confidence: float = 4.0
    index_batch_size: int = 64
    index_learning_rate: float = 2e-3
    index_storage: Storage = "int8"


@dataclass(frozen=True, kw_only=True)
class HnetCnetConfig:
    """Options of `hnet-cnet`. Those of the H-net are refused where the index does not read them; the summary has the values in force.

    Attributes:
        index: how the task of an image is named: gan, softmax, autoencoder, or oracle (by the task label, without an H-net); unless given,
            oracle in setting task and gan in the others.
        shares: for each experience, the share of each layer that it and its predecessors use, for instance 0.5,0.8,1; equal unless given.
        old_rows_read_new_channels: whether a new task also trains weights from its channels to old filters (used by it alone).
        index_network: networks of gan and softmax: mlp (default; quick on a CPU) or conv (after DCGAN).
        index_width: their width, 128 unless given (32 is usual for conv).
        index_pool: the H-net looks at images averaged over so many pixels each way; unless given, 2 where that leaves 8 or more, else 1
            (autoencoder: 1).
        latent: length of a generator's noise, or of an autoencoder's code; 64 unless given.
        generator_iterations: steps in which a generator or autoencoder learns a task; 1000 unless given.
        generator_learning_rate: of gan and softmax, Adam's step size for generators, critic and encoder; 5e-4 unless given.
        generator_average: of gan and softmax, decay of the mean over the steps' weights that is kept as the generator; 0.99 unless given, 0
            keeps the last step's.
        generator_reconstruction: of gan and softmax, weight of an encoder's squared error and divergence beside the GAN's loss; 0.05
            unless given, 0 is a GAN alone.
        index_iterations: of gan and softmax, steps in which the classifiers learn to tell a new task apart; 1500 unless given.
        index_images: of gan and softmax, what the classifiers see of the newest task: generated images alone, as of all others (default),
            or both generated and real ones.
        index_noise: of gan and softmax, standard deviation of the noise on the pixels (in -1..1) that the classifiers are trained on; 0.6
            unless given.
        index_confidence: of gan and softmax, weight of the logarithm of the C-net's greatest probability beside that of the classifier's; 4
            unless given, 0 asks the classifiers alone.
        index_batch_size: images a step, of the H-net; 64 unless given.
        index_learning_rate: Adam's step size for classifiers (falling along half a cosine) and autoencoders; 2e-3 unless given
            (autoencoder: 1e-3).
        index_storage: how what the H-net keeps of a task is stored, in memory and in checkpoints: int8 (default: weights so, with a scale
            for each row, the rest as float16), float16 or float32 (as it was computed); networks are restored whenever they are used.
    """

    index: IndexKind | None = None
    shares: tuple[float, ...] | None = option(None, low=0, high=1)
    old_rows_read_new_channels: bool = True
    index_network: Kind | None = None
    index_width: int | None = option(None, low=1)
    index_pool: int | None = option(None, low=1)
    latent: int | None = option(None, low=1)
    generator_iterations: int | None = option(None, low=1)
    generator_learning_rate: float | None = option(None, low=0)
    generator_average: float | None = option(None, low=0, high=1)
    generator_reconstruction: float | None = option(None, low=0)
    index_iterations: int | None = option(None, low=1)
    index_images: Images | None = None
    index_noise: float | None = option(None, low=0)
    index_confidence: float | None = option(None, low=0)
    index_batch_size: int | None = option(None, low=2)
    index_learning_rate: float | None = option(None, low=0)
    index_storage: Storage | None = None


EVERY = frozenset(each.name for each in fields(IndexOptions))
READS: dict[str, frozenset[str]] = {
    "gan": EVERY,
    "softmax": EVERY,
    "autoencoder": frozenset({"latent", "generator_iterations", "index_pool", "index_batch_size", "index_learning_rate", "index_storage"}),
    "oracle": frozenset(),
}
"""Kind of index to the options of the H-net that it reads."""


def resolve(config: HnetCnetConfig, setting: str, shape: tuple[int, int, int]) -> tuple[IndexKind, IndexOptions]:
    """Say which index it is, give every option its value, and refuse those that the index does not read.

    Args:
        config: what was asked for.
        setting: of the scenario.
        shape: of an image, (C, H, W).

    Returns:
        The kind of index, and what it goes by.

    Raises:
        UserError: an option was given that the index does not read, or images are too small for so much averaging.
    """
    kind: IndexKind = config.index or ("oracle" if setting == "task" else "gan")
    given = {name: value for name, value in asdict(config).items() if name in EVERY and value is not None}
    for name in sorted(given.keys() - READS[kind]):
        readers = ", ".join(other for other in READS if name in READS[other])
        raise UserError(f"strategy.{name} is not read with strategy.index={kind}; leave it out, or choose strategy.index from {readers}")
    smallest = min(shape[1:])
    usual = {"index_pool": 1, "index_learning_rate": 1e-3} if kind == "autoencoder" else {"index_pool": 2 if smallest >= 16 else 1}
    options = IndexOptions(**{**usual, **given})
    if options.index_pool > smallest or (options.index_network == "conv" and smallest < 4 * options.index_pool):
        raise UserError(f"strategy.index_pool={options.index_pool} leaves too little of images of {smallest} pixels; lower it")
    return kind, options


def in_force(kind: str, options: IndexOptions) -> dict[str, Any]:
    """The options that an index reads.

    Args:
        kind: of index.
        options: what it goes by.

    Returns:
        Names to values.
    """
    return {name: value for name, value in asdict(options).items() if name in READS[kind]}
