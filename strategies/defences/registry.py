"""The defences that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

defences = Registry(
    "defence",
    [
        Row(
            "replay-guard", "each step also follows the loss on a few trusted old examples", "strategies.defences.replay_guard:ReplayGuard"
        ),
        Row("agem", "A-GEM: no step against the gradient of trusted examples", "strategies.defences.agem:Agem"),
        Row("reweight", "examples count by how much they help trusted ones (Ren et al. 2018)", "strategies.defences.reweight:Reweight"),
        Row(
            "gradient-filter",
            "drops examples whose gradients point against trusted ones",
            "strategies.defences.gradient_filter:GradientFilter",
        ),
        Row("epic", "EPIC: drops examples alone in gradient space", "strategies.defences.epic:Epic", label="reference design"),
        Row(
            "gradient-shaping",
            "clips each example's gradient and adds noise",
            "strategies.defences.gradient_shaping:GradientShaping",
        ),
        Row("quantise", "few grey levels, at training and at test", "strategies.defences.preprocessing:Quantise"),
        Row("smooth", "a median or Gaussian filter, at training and at test", "strategies.defences.preprocessing:Smooth"),
        Row("noise", "Gaussian noise on the training images", "strategies.defences.noise:Noise"),
        Row("outlier", "drops outliers in feature space: deep k-NN or spectral signatures", "strategies.defences.outlier:Outlier"),
        Row(
            "rollback",
            "takes back what an experience did, as far as trusted examples suffer",
            "strategies.defences.rollback:Rollback",
            label="reference design",
        ),
        Row("importance-clip", "bounds a penalty's importances from below and above", "strategies.defences.importance_clip:ImportanceClip"),
    ],
)
