"""The scenarios that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

STREAMS = "scenarios.streams.streams"
FEW_SHOT = "scenarios.episodes.few_shot"
TRANSFER = "scenarios.transfer.transfer"
BRIDGES = "scenarios.bridges"

scenarios = Registry(
    "scenario",
    [
        Row("split-digits", "8x8 digits in 5 experiences of 2 classes; embedded, seconds", f"{STREAMS}:Split", {"set": "digits"}),
        Row("split-mnist", "MNIST in 5 experiences of 2 digits", f"{STREAMS}:Split", {"set": "mnist"}),
        Row("split-fashion", "Fashion-MNIST in 5 experiences of 2 classes", f"{STREAMS}:Split", {"set": "fashion"}),
        Row("split-cifar", "short for split-cifar10", f"{STREAMS}:Split", {"set": "cifar10"}, "split-cifar10"),
        Row("split-cifar10", "CIFAR-10 in 5 experiences of 2 classes", f"{STREAMS}:Split", {"set": "cifar10"}),
        Row("split-cifar100", "CIFAR-100 in 10 experiences of 10 classes", f"{STREAMS}:Split", {"set": "cifar100"}),
        Row("split-cifar10-100", "CIFAR-10, then 5 times 10 classes of CIFAR-100", f"{STREAMS}:Cifar10Then100"),
        Row("split-tiny-imagenet", "Tiny-ImageNet in 10 experiences of 20 classes", f"{STREAMS}:Split", {"set": "tiny-imagenet"}),
        Row("split-SET", "the classes of any data set, cut into experiences", f"{STREAMS}:Split"),
        Row("permuted-SET", "any data set, its pixels permuted anew in every experience", f"{STREAMS}:Permuted"),
        Row("rotated-SET", "any data set, rotated by another angle in every experience", f"{STREAMS}:Rotated"),
        Row("instances-SET", "new examples of the same classes in every experience", "scenarios.streams.returning:Instances"),
        Row("corrupted-SET", "the same classes under one image corruption after another", "scenarios.streams.corrupted:Corrupted"),
        Row("superclass-SET", "one class of each superclass an experience (superclass-cifar100)", "scenarios.streams.grouped:Superclass"),
        Row("repetition-SET", "classes that come, and come back: by slots or by sampling", "scenarios.streams.returning:Repetition"),
        Row("fscil-SET", "a base session, then sessions of few examples of new classes", "scenarios.streams.grouped:FewShotIncremental"),
        Row("transfer-split-SET", "half of a set's classes as source, the others as target, then dispose", f"{TRANSFER}:TransferSplit"),
        Row("transfer-SOURCE-TARGET", "one set as source, another as target, then dispose of the source", f"{TRANSFER}:Transfer"),
        Row("omniglot", "episodes of handwritten characters of 50 alphabets, 28x28", f"{FEW_SHOT}:Omniglot"),
        Row("cifar-fs", "episodes of CIFAR-100's classes, divided 64/16/20", f"{FEW_SHOT}:Episodes", {"set": "cifar-fs"}),
        Row("fc100", "episodes of CIFAR-100's classes, divided by superclass", f"{FEW_SHOT}:Episodes", {"set": "fc100"}),
        Row("mini-imagenet", "episodes of mini-ImageNet, 84x84", f"{FEW_SHOT}:Episodes", {"set": "mini-imagenet"}),
        Row("tiered-imagenet", "episodes of tiered-ImageNet, 84x84", f"{FEW_SHOT}:Episodes", {"set": "tiered-imagenet"}),
        Row("cub", "episodes of 200 species of birds, 84x84", f"{FEW_SHOT}:Episodes", {"set": "cub"}),
        Row("glyphs", "episodes of characters of many scripts; embedded, no download", f"{FEW_SHOT}:Episodes", {"set": "glyphs"}),
        Row("digits", "episodes of 8x8 digits, 5 classes to train and 5 to test", f"{FEW_SHOT}:Episodes", {"set": "digits"}),
        Row("avalanche:BENCHMARK", "a benchmark of Avalanche (avalanche:SplitMNIST)", f"{BRIDGES}.avalanche:AvalancheBenchmark"),
        Row("learn2learn:BENCHMARK", "episodes of learn2learn (learn2learn:omniglot)", f"{BRIDGES}.learn2learn:Learn2LearnBenchmark"),
        Row("episodes-SETS", "episodes of one domain after another (episodes-omniglot-cifar-fs)", f"{FEW_SHOT}:Domains"),
        Row("domains-SET", "episodes of one alphabet, script or superclass after another", "scenarios.episodes.domains:Groups"),
        Row("sequence-SETS", "data sets one after another (sequence-mnist-fashion), brought to one shape", f"{STREAMS}:Sequence"),
    ],
)
