"""The data sets that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

sources = Registry(
    "data set",
    [
        Row("digits", "1,797 handwritten digits of 8x8 pixels, shipped with scikit-learn", "scenarios.sources.embedded:Digits"),
        Row("glyphs", "characters of many scripts rendered from the fonts that matplotlib ships", "scenarios.sources.glyphs:Glyphs"),
        Row("generated", "32x32 colour images of 10 classes, made from a seed", "scenarios.sources.generated:Generated", {"classes": 10}),
        Row(
            "generated100",
            "32x32 colour images of 100 classes in 20 groups, made from a seed",
            "scenarios.sources.generated:Generated",
            {"classes": 100},
        ),
        Row("mnist", "handwritten digits, 28x28", "scenarios.sources.grey:Mnist"),
        Row("fashion", "Fashion-MNIST: clothes, 28x28", "scenarios.sources.grey:FashionMnist"),
        Row("kmnist", "KMNIST: cursive Japanese characters, 28x28", "scenarios.sources.grey:Kmnist"),
        Row("emnist-letters", "EMNIST: handwritten letters, 28x28", "scenarios.sources.grey:EmnistLetters"),
        Row("usps", "USPS: digits from envelopes, 16x16", "scenarios.sources.usps:Usps"),
        Row("svhn", "SVHN: house numbers, 32x32 colour", "scenarios.sources.svhn:Svhn"),
        Row("cifar10", "CIFAR-10, 32x32 colour", "scenarios.sources.cifar:Cifar10"),
        Row("cifar100", "CIFAR-100, 32x32 colour, 20 superclasses", "scenarios.sources.cifar:Cifar100"),
        Row("tiny-imagenet", "Tiny-ImageNet: 200 classes, 64x64 colour", "scenarios.sources.tiny_imagenet:TinyImageNet"),
        Row("omniglot", "Omniglot: 1,623 handwritten characters of 50 alphabets", "scenarios.sources.omniglot:Omniglot"),
        Row(
            "mini-imagenet",
            "mini-ImageNet: 100 classes, 84x84 colour, laid out by you",
            "scenarios.sources.few_shot:FewShotImages",
            {"name": "mini-imagenet"},
        ),
        Row(
            "tiered-imagenet",
            "tiered-ImageNet: 608 classes, 84x84 colour, laid out by you",
            "scenarios.sources.few_shot:FewShotImages",
            {"name": "tiered-imagenet"},
        ),
        Row(
            "cub",
            "CUB-200-2011: 200 species of birds, 84x84 colour",
            "scenarios.sources.few_shot:FewShotImages",
            {"name": "cub", "crop": True},
        ),
        Row(
            "folder",
            "images of your own, --data folder:PATH, with PATH/train/CLASS/*.png and PATH/test/CLASS/*.png or PATH/CLASS/*.png"
            " (docs/own-data.md)",
            "scenarios.sources.folders:ImageFolder",
        ),
        Row("npz", "arrays of your own, --data npz:FILE, with x and y (or x_train, y_train, x_test, y_test)", "scenarios.sources.npz:Npz"),
    ],
)
