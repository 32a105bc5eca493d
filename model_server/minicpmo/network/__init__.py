"""The parts of the network, each with its recipes: how the published tensors become its own."""
