"""Experience replay: each batch of the new experience is joined by a batch of remembered examples, and both count alike.

Loss and sampling are those of Chaudhry et al. 2019, *On tiny episodic memories in continual learning* (arXiv 1902.10486), with boundaries
known: the memory takes up an experience when it has been learned, so an experience is not replayed to itself. Which examples are kept is
`strategy.buffer`. Without memory, training is naive fine-tuning bit for bit.
"""

from __future__ import annotations

from strategies.memory.rehearsal import Rehearsal


class Replay(Rehearsal):
    """Fine-tuning on new examples together with remembered ones."""
