"""Choice of the device on which tensors are computed."""

import torch


def resolve_device(device: str) -> str:
    """Turn "auto" into "cuda" where CUDA is present, else "cpu".

    Raises:
        ValueError: The device is unknown, or CUDA is missing.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.split(":")[0] not in ("cpu", "cuda", "mps"):
        raise ValueError(f"unknown device {device!r}. Choose from: auto, cpu, cuda.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: this machine, or this build of torch, has no CUDA. Use auto or cpu.")
    return device
