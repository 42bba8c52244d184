"""A simulator with a budget, as sbibm's run scripts use it."""

from typing import ClassVar, Protocol, final

from jaxtyping import Float
from torch import Tensor


class BenchmarkTask(Protocol):
    """The parts of a task of sbibm that a simulator needs."""

    name: ClassVar[str]

    @property
    def dim_parameters(self) -> int: ...
    @property
    def dim_data(self) -> int: ...
    def simulator(self, theta: Float[Tensor, "batch theta"]) -> Tensor: ...
    def flatten_data(self, data: Tensor) -> Float[Tensor, "batch number"]: ...
    def unflatten_data(self, data: Tensor) -> Tensor: ...


@final
class CountingSimulator:
    """The simulator of a task, which counts its simulations.

    Attributes:
        max_calls: Largest number of simulations; None for any number.
        num_simulations: Number of simulations so far.
        name, dim_parameters, dim_data, flatten_data, unflatten_data: Those of the task.
    """

    def __init__(self, task: BenchmarkTask, max_calls: int | None = None) -> None:
        self._task, self.max_calls, self.num_simulations = task, max_calls, 0
        self.name, self.dim_parameters, self.dim_data = task.name, task.dim_parameters, task.dim_data
        self.flatten_data, self.unflatten_data = task.flatten_data, task.unflatten_data

    def __call__(self, parameters: Float[Tensor, "*batch theta"]) -> Float[Tensor, "batch number"]:
        """Simulate one observation for each row of parameters, or for one set of them.

        Raises:
            ValueError: The parameters have another shape.
            RuntimeError: The budget would be exceeded; nothing is simulated.
        """
        rows = parameters.reshape(1, -1) if parameters.ndim == 1 else parameters
        if rows.ndim != 2 or rows.shape[1] != self.dim_parameters:
            raise ValueError(
                f"{self.name}: parameters must be (batch, {self.dim_parameters}), found {tuple(parameters.shape)}."
            )
        if self.max_calls is not None and self.num_simulations + len(rows) > self.max_calls:
            raise RuntimeError(
                f"{self.name}: {len(rows)} simulations after {self.num_simulations} exceed the budget of "
                f"{self.max_calls}."
            )
        data = self._task.simulator(rows)
        self.num_simulations += len(rows)
        return self.flatten_data(data)
