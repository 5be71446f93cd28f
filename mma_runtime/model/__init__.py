"""One model of one provider: budget, gate, retries and journal around each call."""

from mma_runtime.model.model import Model

__all__ = ["Model"]
