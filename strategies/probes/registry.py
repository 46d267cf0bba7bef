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
        Row("none", "no probe", "strategies.probes.probe:NoProbe"),
    ],
)
