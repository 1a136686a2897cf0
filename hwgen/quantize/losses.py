"""What training makes small."""

import torch
from torch import Tensor, nn


class Loss:
    """Cross entropy, with a teacher mixed with the distance to the teacher's softened answers.

    ``(1 - w) * CE(outputs, labels) + w * T^2 * KL(softmax(teacher / T) || softmax(outputs / T))``
    (G. Hinton et al., Distilling the Knowledge in a Neural Network, 2015; T^2 keeps the gradients' size).
    """

    def __init__(self, label_smoothing: float = 0.0, teacher: nn.Module | None = None, weight: float = 0.5,
                 temperature: float = 4.0):
        self.hard = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.teacher = teacher.eval() if teacher is not None else None
        self.weight, self.temperature = weight, temperature

    def __call__(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Mean over the batch: outputs (N, classes), the network's inputs, labels (N,)."""
        hard = self.hard(outputs, labels)
        if self.teacher is None:
            return hard
        with torch.no_grad():
            wanted = (self.teacher(inputs) / self.temperature).log_softmax(1)
        soft = nn.functional.kl_div((outputs / self.temperature).log_softmax(1), wanted, reduction="batchmean",
                                    log_target=True)
        return (1 - self.weight) * hard + self.weight * self.temperature ** 2 * soft
