"""MiniCPM-o 2.6 in plain PyTorch: loads the published checkpoint unchanged and computes the same numbers."""
