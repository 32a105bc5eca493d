"""What can be wrong with a model folder or a session's input. Every message names the limit and what came."""

from __future__ import annotations


class ModelError(ValueError):
    """Base of everything this package refuses."""


class CheckpointError(ModelError):
    """A folder, configuration, tokenizer or weight file that is not the model's, or is damaged."""


class DoesNotFit(ModelError):
    """The model needs more memory than the device has; the message says what would fit."""


class DeviceError(ModelError):
    """A device or number format that is not there, or that cannot do what was asked."""


class InputError(ModelError):
    """A picture, clip, text or setting outside its limits. The session stays as it was."""


class OrderError(ModelError):
    """A call out of turn, such as generate before any prefill. The session stays as it was."""
