"""The data sets that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

TORCHVISION = "scenarios.sources.torchvision_sets"

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
        Row("mnist", "handwritten digits, 28x28; 12 MB, CC BY-SA 3.0", "scenarios.sources.grey:Mnist"),
        Row("fashion", "Fashion-MNIST: clothes, 28x28; 31 MB, MIT", "scenarios.sources.grey:FashionMnist"),
        Row("kmnist", "KMNIST: cursive Japanese characters, 28x28; 21 MB, CC BY-SA 4.0", "scenarios.sources.grey:Kmnist"),
        Row("emnist-letters", "EMNIST: handwritten letters, 28x28; 562 MB, no licence stated", "scenarios.sources.grey:EmnistLetters"),
        Row("usps", "USPS: digits from envelopes, 16x16; 8 MB, no licence stated", "scenarios.sources.usps:Usps"),
        Row("svhn", "SVHN: house numbers, 32x32 colour; 246 MB, for non-commercial use", "scenarios.sources.svhn:Svhn"),
        Row("cifar10", "CIFAR-10, 32x32 colour; 170 MB, no licence stated", "scenarios.sources.cifar:Cifar10"),
        Row("cifar100", "CIFAR-100, 32x32 colour, 20 superclasses; 169 MB, no licence stated", "scenarios.sources.cifar:Cifar100"),
        Row(
            "tiny-imagenet",
            "Tiny-ImageNet: 200 classes, 64x64 colour; 248 MB, on ImageNet's terms (research, non-commercial)",
            "scenarios.sources.tiny_imagenet:TinyImageNet",
        ),
        Row("omniglot", "Omniglot: 1,623 handwritten characters of 50 alphabets; 16 MB, MIT", "scenarios.sources.omniglot:Omniglot"),
        Row(
            "mini-imagenet",
            "mini-ImageNet: 100 classes, 84x84 colour, laid out by you; on ImageNet's terms",
            "scenarios.sources.few_shot:FewShotImages",
            {"name": "mini-imagenet"},
        ),
        Row(
            "tiered-imagenet",
            "tiered-ImageNet: 608 classes, 84x84 colour, laid out by you; on ImageNet's terms",
            "scenarios.sources.few_shot:FewShotImages",
            {"name": "tiered-imagenet"},
        ),
        Row(
            "cub",
            "CUB-200-2011 divided by classes, 84x84 colour; 1.2 GB, laid out by you, for non-commercial research",
            "scenarios.sources.few_shot:FewShotImages",
            {"name": "cub", "crop": True},
        ),
        Row(
            "stl10",
            "STL-10: 10 classes, 96x96 colour; 2.6 GB, on ImageNet's terms (research, non-commercial)",
            "scenarios.sources.stl10:Stl10",
        ),
        Row("eurosat", "EuroSAT: 10 land uses from space, 64x64 colour; 94 MB, MIT", f"{TORCHVISION}:EuroSat"),
        Row("flowers102", "Flowers-102: 102 kinds of flowers, to 64x64; 345 MB, no licence stated", f"{TORCHVISION}:Flowers102"),
        Row("pets", "Oxford-IIIT Pet: 37 breeds of cats and dogs, to 64x64; 811 MB, CC BY-SA 4.0", f"{TORCHVISION}:Pets"),
        Row("dtd", "DTD: 47 textures, to 64x64; 625 MB, for research", f"{TORCHVISION}:Dtd"),
        Row("food101", "Food-101: 101 dishes, to 64x64; 5.0 GB, scientific fair use of other people's pictures", f"{TORCHVISION}:Food101"),
        Row("gtsrb", "GTSRB: 43 German traffic signs, to 32x32; 276 MB, no licence stated", f"{TORCHVISION}:Gtsrb"),
        Row(
            "cub200",
            "CUB-200-2011 with its own test images, to 84x84; 1.2 GB, laid out by you, for non-commercial research",
            "scenarios.sources.cub:Cub200",
        ),
        Row("core50", "CORe50: 50 objects in 11 sessions, 128x128; 4 GB, laid out by you, CC BY 4.0", "scenarios.sources.core50:Core50"),
        Row(
            "folder",
            "images of your own, --data folder:PATH, with PATH/train/CLASS/*.png and PATH/test/CLASS/*.png or PATH/CLASS/*.png"
            " (docs/own-data.md)",
            "scenarios.sources.folders:ImageFolder",
        ),
        Row(
            "npz",
            "arrays of your own, images or features, --data npz:FILE, with x and y (or x_train, y_train, x_test, y_test)",
            "scenarios.sources.npz:Npz",
        ),
    ],
)
