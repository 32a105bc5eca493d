"""One call: its core without I/O, and the shell that owns sockets, tasks and time."""
