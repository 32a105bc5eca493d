"""The HTTP side: routes, who may call, the table of calls and the waiting line."""
