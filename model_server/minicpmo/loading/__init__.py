"""From a model folder to the network on its devices: checks, tensors, number formats, quantising, memory."""
