"""The default engine: a scripted stand-in that hears, sees and speaks on a CPU, with no model to download."""
