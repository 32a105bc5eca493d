"""The engine `minicpmo`: the network behind the engine contract, for many calls at once."""
