"""A call's session at a model server, which survives lost sockets and dead servers."""
