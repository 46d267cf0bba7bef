"""The processes of one run: each learns from its share of a batch, and gradients are averaged before anything looks at them.

Every process makes the whole batch, with the same order and augmentation, and takes its share; its mean loss counts by the share's size, so
that the sum of all gradients is the gradient of the batch's mean. What comes after (penalties, path integrals, the optimiser) is the same
everywhere, and so is everything that is measured between steps. Besides gradients one exchange carries the loss, which answers were right,
and whether somebody was asked to stop: all stop after the same step.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from runs.parallel import launch, norms
from scenarios.errors import UserError
from scenarios.experience import Batch
from strategies.phase import Step

EVERY = 10
"""Steps between two looks at whether to stop, on a device that has to be waited for."""
PATIENCE = 5.0
"""Seconds for which a process waits with its own end for process 0 to tell what happened."""


class LostError(Exception):
    """Another process of the run is gone."""


@dataclass
class Share:
    """Which part of a batch a process learns from.

    Attributes:
        begin: its first example.
        end: one after its last.
        whole: examples in the batch.
        weight: of its mean loss in the batch's.
    """

    begin: int
    end: int
    whole: int
    weight: float


class Ranks:
    """This process among those of the run.

    Args:
        rank: which it is.
        size: how many there are.
        device: where they compute.
        store: a dictionary that all of them have.

    Attributes:
        stop: whether somebody was asked to stop; all learn it after the same step.
    """

    def __init__(self, rank: int, size: int, device: torch.device, store: distributed.Store) -> None:
        self.rank, self.size, self.device = rank, size, device
        self.stop = False
        self._store = store
        self._share = Share(0, 0, 0, 0.0)
        self._steps = 0

    @contextmanager
    def share(self, batch: Batch) -> Iterator[Batch]:
        """While it lasts, a step is made on a share of a batch.

        Args:
            batch: the whole batch, the same in every process.

        Yields:
            This process's part of it; of a batch with fewer examples than there are processes, all of it.
        """
        count = len(batch.y)
        if count < self.size:
            self._share = Share(0, count, count, 1 / self.size)
            yield batch
            return
        begin, end = (count * each // self.size for each in (self.rank, self.rank + 1))
        self._share = Share(begin, end, count, (end - begin) / count)
        with norms.sharing(True):
            yield batch._replace(x=batch.x[begin:end], y=batch.y[begin:end], tasks=batch.tasks[begin:end], origin=None)

    def backward(self, step: Step, optimizer: torch.optim.Optimizer, *, first: bool, stopping: bool) -> Step:
        """Compute the gradients of the whole batch's mean loss.

        Args:
            step: of this process's share.
            optimizer: whose parameters get them; what they had is gone.
            first: whether it is the first step of a pass, before which all make sure that they learn the same parameters.
            stopping: whether this process was asked to stop.

        Returns:
            The step of the whole batch: its loss, its shares, and in place of logits which answers were right.
        """
        share, loss = self._share, step.loss * self._share.weight
        loss.backward()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.grad is not None]
        if first:
            self._check_alike(len(parameters), sum(parameter.numel() for parameter in parameters))
        right = loss.new_zeros(share.whole if step.logits is not None else 0)
        if step.logits is not None and step.targets is not None and (share.end - share.begin < share.whole or self.rank == 0):
            right[share.begin : share.end] = (step.logits.detach().argmax(1) == step.targets).to(right)
        parts = {name: (value.detach().mean() * share.weight).reshape(1).to(right) for name, value in step.parts.items()}
        stop = right.new_tensor([float(stopping)])
        gradients = [parameter.grad for parameter in parameters]
        pieces = [*gradients, right, *parts.values(), loss.detach().reshape(1), stop]
        told = self._sum(torch.cat([piece.reshape(-1) for piece in pieces])).split([piece.numel() for piece in pieces])
        for gradient, whole in zip(gradients, told):
            gradient.copy_(whole.view_as(gradient))
        self._look(told[-1])
        right, *values = told[len(gradients) : -1]
        whole_parts = {name: value.reshape(()) for name, value in zip(parts, values)}
        whole_step = Step(values[-1].reshape(()), parts=whole_parts)
        if step.logits is None:
            return whole_step
        return replace(whole_step, logits=torch.stack([1 - right, right], 1), targets=torch.ones_like(right, dtype=torch.int64))

    def _look(self, stop: Tensor) -> None:
        self._steps += 1
        if self.device.type == "cpu" or self._steps % EVERY == 0:
            self.stop = self.stop or bool(stop > 0)

    def any(self, asked: bool) -> bool:
        """Whether something is so in any process.

        Args:
            asked: whether it is so in this one.

        Returns:
            The same in all.
        """
        return bool(self._sum(torch.tensor([float(asked)], device=self.device)) > 0)

    def _check_alike(self, *numbers: int) -> None:
        everybody = torch.zeros(self.size, len(numbers), dtype=torch.int64, device=self.device)
        everybody[self.rank] = torch.tensor(numbers)
        found = {tuple(row) for row in self._sum(everybody).tolist()}
        if len(found) > 1:
            raise UserError("shares of a batch move different parameters, which cannot be averaged; start it without torchrun")

    def check_together(self, network: torch.nn.Module) -> None:
        """Make sure that all processes still have the same network.

        Args:
            network: that has been learned with.

        Raises:
            UserError: they have not.
        """
        everybody = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        everybody[self.rank] = sum(parameter.detach().double().square().sum() for parameter in network.parameters())
        norms_ = self._sum(everybody).tolist()
        if any(abs(each - norms_[0]) > 1e-6 * abs(norms_[0]) for each in norms_):
            raise UserError(f"the processes of this run have drifted apart (squared weights {norms_}); start it without torchrun")

    def from_first(self, state: Any) -> Any:
        """Hand something round.

        Args:
            state: nested dictionaries and lists of tensors and plain values, in process 0; what the others give does not count.

        Returns:
            That of process 0.
        """
        written = io.BytesIO()
        torch.save(state, written)
        length = torch.tensor([written.tell() if self.rank == 0 else 0], device=self.device)
        size = int(self._sum(length))
        content = torch.zeros(size, dtype=torch.uint8, device=self.device)
        if self.rank == 0:
            content = torch.frombuffer(bytearray(written.getvalue()), dtype=torch.uint8).to(self.device)
        with _told():
            distributed.broadcast(content, 0)
        if self.rank == 0:
            return state
        return torch.load(io.BytesIO(content.cpu().numpy().tobytes()), map_location="cpu", weights_only=True)

    def leave(self, *, well: bool) -> None:
        """End together: torchrun ends all others when one has failed, and process 0 shall have told the user why.

        Args:
            well: whether the run is over.
        """
        try:
            if self.rank == 0:
                self._store.set("over", "")
            elif not well:
                self._store.wait(["over"], timedelta(seconds=PATIENCE))
            if well:
                distributed.destroy_process_group()
        except (RuntimeError, OSError):
            # The others are gone already.
            return

    def _sum(self, value: Tensor) -> Tensor:
        with _told():
            distributed.all_reduce(value)
        return value


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostError("another process of the run is gone") from error


_joined: Ranks | None = None


def leave(*, well: bool) -> None:
    """End together with the other processes, where there are any.

    Args:
        well: whether the run is over.
    """
    if _joined is not None:
        _joined.leave(well=well)


def join(device: torch.device) -> Ranks | None:
    """Find the other processes of this run.

    Args:
        device: where they compute; each on a GPU of its own.

    Returns:
        This process among them; None where torchrun started none.

    Raises:
        UserError: there are fewer GPUs than processes.
    """
    global _joined
    if launch.size() == 1 or _joined is not None:
        return _joined
    from torch.distributed.rendezvous import rendezvous

    if device.type == "cuda":
        if launch.local() >= torch.cuda.device_count():
            raise UserError(f"there are {torch.cuda.device_count()} GPUs here, fewer than processes; lower torchrun's --nproc_per_node")
        torch.cuda.set_device(launch.local())
    store, rank, size = next(rendezvous("env://"))
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=size)
    _joined = Ranks(rank, size, device, distributed.PrefixStore("palimpsest", store))
    return _joined
