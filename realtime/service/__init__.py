"""The process: settings, ports, the model server's child, logs and metrics."""
