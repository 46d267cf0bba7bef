"""The probes that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

probes = Registry(
    "probe",
    [
        Row(
            "piggyback",
            "retrains copies on a subset of the source: what a thief gets back (PL accuracy)",
            "strategies.probes.piggyback:Piggyback",
            label="reconstruction",
        ),
        Row(
            "features",
            "linear probes and CKA by experience: is the knowledge gone, or only the head?",
            "strategies.probes.features:Features",
        ),
        Row(
            "few-shot",
            "few-shot accuracy of the frozen features on classes never seen",
            "strategies.probes.few_shot:FewShot",
        ),
        Row("none", "no probe", "strategies.probes.probe:NoProbe"),
    ],
)
