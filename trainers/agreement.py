"""What the workers of a run tell each other besides gradients: plain bytes, so that nothing is ever unpickled.

Every function is called by all workers at the same moment. With one worker they cost nothing.
"""

from __future__ import annotations

import torch


def rank_and_count() -> tuple[int, int]:
    """Return this worker's number, from 0, and how many there are."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def all_say(yes: bool) -> bool:
    """Return whether every worker says yes."""
    return all(answer == b"\1" for answer in from_all(b"\1" if yes else b"\0"))


def first_says(yes: bool) -> bool:
    """Return what worker 0 says; the others' word does not count."""
    if rank_and_count()[1] == 1:
        return yes
    answer = _tensor(b"\1" if yes else b"\0")
    torch.distributed.broadcast(answer, src=0)
    return _bytes(answer) == b"\1"


def from_first(message: bytes) -> bytes:
    """Return the message of worker 0, of any length; what the others give is not looked at."""
    if rank_and_count()[1] == 1:
        return message
    length = torch.tensor([len(message)], dtype=torch.int64, device=_device())
    torch.distributed.broadcast(length, src=0)
    content = _tensor(message) if rank_and_count()[0] == 0 else _tensor(bytes(int(length)))
    torch.distributed.broadcast(content, src=0)
    return _bytes(content)


def from_all(message: bytes) -> list[bytes]:
    """Return every worker's message, by its number; all must be of one length."""
    count = rank_and_count()[1]
    if count == 1:
        return [message]
    messages = [_tensor(bytes(len(message))) for _ in range(count)]
    torch.distributed.all_gather(messages, _tensor(message))
    return [_bytes(content) for content in messages]


def _tensor(content: bytes) -> torch.Tensor:
    return torch.tensor(list(content), dtype=torch.uint8, device=_device())


def _bytes(content: torch.Tensor) -> bytes:
    return bytes(content.cpu().tolist())


def _device() -> torch.device:
    """Return where a message must lie to be sent: NCCL sends from GPUs only."""
    on_gpu = torch.distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
