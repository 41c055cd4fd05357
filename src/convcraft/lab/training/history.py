"""The record of a training run."""

from dataclasses import dataclass, field

from convcraft.lab.training.budget import is_flat


@dataclass(frozen=True)
class Epoch:
    """What was measured after an epoch, or whenever `evaluate_at` says.

    Training numbers are means over the batches since the last measurement, while the weights were changing; `updates`
    counts from the start.
    """

    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    updates: int = 0


@dataclass
class History:
    """The measurements of a run, oldest first; by default one per epoch.

    `stopped` is "completed", "patience", "flat", "interrupted" or "diverged". Each quantity is a list
    over the measurements; `best_epoch` (from 1; 0 before the first) is the one with the lowest validation loss.
    Chapter: Convolutional networks.

    >>> history = History([Epoch(2.0, 0.3, 1.9, 0.4, 0.1), Epoch(1.0, 0.6, 1.1, 0.7, 0.1)])
    >>> history.validation_accuracy, history.epochs, history.best_epoch
    ([0.4, 0.7], 2, 2)
    """

    rows: list[Epoch] = field(default_factory=list)
    stopped: str = "completed"
    seconds: float = 0.0

    train_loss = property(lambda self: [row.train_loss for row in self.rows])
    train_accuracy = property(lambda self: [row.train_accuracy for row in self.rows])
    validation_loss = property(lambda self: [row.validation_loss for row in self.rows])
    validation_accuracy = property(lambda self: [row.validation_accuracy for row in self.rows])
    learning_rate = property(lambda self: [row.learning_rate for row in self.rows])
    updates = property(lambda self: [row.updates for row in self.rows])

    @property
    def falling(self) -> bool:
        """Whether the validation loss still fell by more than 1 % within the last quarter of the updates.

        True for fewer than eight measurements, which are too few to tell.
        """
        return not is_flat(self.validation_loss, self.updates)

    @property
    def epochs(self) -> int:
        return len(self.rows)

    @property
    def best_epoch(self) -> int:
        losses = self.validation_loss
        return 1 + losses.index(min(losses)) if losses else 0

    def __repr__(self) -> str:
        if not self.rows:
            return f"History({self.stopped} before the first epoch ended)"
        last = self.rows[-1]
        return (
            f"History({self.epochs} epochs, {self.stopped}; validation loss {last.validation_loss:.4f}, "
            f"accuracy {last.validation_accuracy:.4f}; best epoch {self.best_epoch})"
        )
